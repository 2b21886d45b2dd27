//! What Azure said of sizes and quotas, kept in the ledger for all programs. Asking Azure is not
//! done here.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::Timestamp;
use azslurm_core::config::{Region, Sku};
use azslurm_core::facts::{Facts, Ground, SkuFacts, Usage, Usages};
use azslurm_ledger::{Fact, LedgerError, Reader, Writer};

/// How long a quota's numbers may refuse something. Others use the subscription too, so that they
/// are asked again after minutes, and always before anything is refused for them.
pub const USAGES_TRUSTED: Duration = Duration::from_secs(3 * 60);
/// Numbers that are as young as this are not asked again before something is refused for them.
pub const USAGES_FRESH: Duration = Duration::from_secs(10);
/// Sizes do not change; whether they are offered to a subscription does, seldom.
const SKUS_TRUSTED: Duration = Duration::from_secs(7 * 24 * 3600);
/// A list of sizes that could not be had (it is 20 MB long) is not asked for again before this.
const SKUS_TRY_AGAIN: Duration = Duration::from_secs(10 * 60);

const OK: &str = "\"ok\"";
const FAILED: &str = "\"failed\"";

/// All facts. What cannot be read (a newer azslurm wrote it) is not known.
pub fn read(reader: &Reader) -> Result<Facts, LedgerError> {
    let mut facts = Facts::default();
    for Fact { key, text, at } in reader.facts()? {
        let mut parts = key.split('/');
        let (kind, subscription) = (parts.next(), parts.next().unwrap_or_default());
        let Some(region) = parts.next().and_then(Region::new) else { continue };
        let ground = Ground::new(subscription, &region);
        match kind {
            Some("sku") => {
                let sku = parts.next().and_then(Sku::new);
                if let (Some(sku), Ok(said)) = (sku, serde_json::from_str::<SkuFacts>(&text)) {
                    facts.skus.insert((ground, sku), said);
                }
            }
            Some("usages") => {
                if let Ok(rows) = serde_json::from_str::<BTreeMap<String, Usage>>(&text) {
                    facts.usages.insert(ground, Usages { at, rows });
                }
            }
            Some(_) | None => {}
        }
    }
    Ok(facts)
}

fn key(kind: &str, ground: &Ground) -> String {
    format!("{kind}/{}/{}", ground.subscription, ground.region)
}

/// Keeps what Azure said of quotas at a time.
pub fn keep_usages(
    writer: &mut Writer<'_>,
    ground: &Ground,
    (usages, at): (&[Usage], Timestamp),
) -> Result<(), LedgerError> {
    let rows: BTreeMap<String, &Usage> =
        usages.iter().map(|usage| (usage.name.to_ascii_lowercase(), usage)).collect();
    let text = serde_json::to_string(&rows).expect("names and numbers are JSON");
    writer.set_fact(&Fact { key: key("usages", ground), text, at })
}

/// Keeps what Azure said of the sizes `wanted`, or that the list could not be had.
pub fn keep_skus(
    writer: &mut Writer<'_>,
    ground: &Ground,
    (list, wanted, at): (Option<&BTreeMap<Sku, SkuFacts>>, &[&Sku], Timestamp),
) -> Result<(), LedgerError> {
    let text = if list.is_some() { OK } else { FAILED }.to_owned();
    writer.set_fact(&Fact { key: key("sku-list", ground), text, at })?;
    for sku in wanted {
        // Azure spells its sizes in one way, and takes them in any.
        let is_it = |of: &&Sku| of.as_str().eq_ignore_ascii_case(sku.as_str());
        let mut known = list.into_iter().flatten();
        let Some((_, facts)) = known.find(|(of, _)| is_it(of)) else { continue };
        let text = serde_json::to_string(facts).expect("names and numbers are JSON");
        let key = format!("{}/{sku}", key("sku", ground));
        writer.set_fact(&Fact { key, text, at })?;
    }
    Ok(())
}

/// Whether the list of sizes of a region is to be asked for: `sku` is not known, or for long.
pub fn is_sku_list_due(
    reader: &Reader,
    ground: &Ground,
    (sku, now): (&Sku, Timestamp),
) -> Result<bool, LedgerError> {
    let facts = reader.facts()?;
    let of = |key: &str| facts.iter().find(|fact| fact.key == key);
    let Some(list) = of(&key("sku-list", ground)) else { return Ok(true) };
    let age = now.since(list.at);
    let is_known = of(&format!("{}/{sku}", key("sku", ground))).is_some();
    Ok(if list.text == OK && is_known { age > SKUS_TRUSTED } else { age > SKUS_TRY_AGAIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_and_are_due_when_they_are_old_or_missing() {
        let mut ledger = azslurm_ledger::Ledger::in_memory().unwrap();
        let ground = Ground::new("S-1", &Region::new("westeurope").unwrap());
        let sku = Sku::new("Standard_HB120rs_v3").unwrap();
        let said = SkuFacts {
            family: "standardHBv3Family".into(),
            vcpus: 120,
            is_rdma: true,
            is_offered: true,
        };
        let at = |seconds: u64| Timestamp::from_millis(0).plus(Duration::from_secs(seconds));
        let due = |ledger: &azslurm_ledger::Ledger, seconds| {
            is_sku_list_due(ledger, &ground, (&sku, at(seconds))).unwrap()
        };
        assert!(due(&ledger, 0));
        let list = BTreeMap::from([(sku.clone(), said.clone())]);
        let usage = Usage { name: "standardHBv3Family".into(), used: 1, limit: 2 };
        let kept: Result<(), LedgerError> = ledger.write(|writer| {
            keep_skus(writer, &ground, (None, &[&sku], at(1)))?;
            Ok(())
        });
        kept.unwrap();
        assert!(!due(&ledger, 2) && due(&ledger, 700));
        let kept: Result<(), LedgerError> = ledger.write(|writer| {
            keep_usages(writer, &ground, (std::slice::from_ref(&usage), at(5)))?;
            keep_skus(writer, &ground, (Some(&list), &[&sku], at(2)))
        });
        kept.unwrap();
        assert!(!due(&ledger, 700) && due(&ledger, 8 * 24 * 3600));
        let facts = read(&ledger).unwrap();
        assert_eq!(facts.sku(&ground, &sku), Some(&said));
        assert_eq!(facts.usages[&ground].of("STANDARDhbv3family"), Some(&usage));
        assert_eq!(facts.usages[&ground].at, at(5));
    }
}
