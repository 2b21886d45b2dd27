//! `azslurm-sync vms`: VMs as the ledger knows them, and with `--azure` as Azure lists them, with
//! what differs.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_azure::{VmPower, VmRow};
use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::decide::SlurmView;
use azslurm_core::listing::LISTED_AFTER;
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_program::Session;
use azslurm_program::exit::Stop;
use clap::Args;
use serde::Serialize;

use crate::cli::only;
use crate::listing::{Listed, Listing};
use crate::nodes::state_of;
use crate::observe::Observation;
use crate::sources::{self, Source};
use crate::table::{age, cell, table};

/// Which VMs.
#[derive(Debug, Args)]
pub struct VmsOf {
    /// Only VMs of these nodes, as a Slurm host list
    #[arg(value_name = "HOSTLIST")]
    nodes: Option<String>,
    /// Those too that have ended
    #[arg(long)]
    all: bool,
    /// Ask Azure too, and say what differs
    #[arg(long)]
    azure: bool,
}

/// How what Azure lists differs from what the ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The ledger does not know it, or takes it for ended: a pass adopts or deletes it.
    OnlyInAzure,
    /// Azure does not list it: a pass asks for it by name.
    OnlyInLedger,
    /// It should run, and Azure has released it: a pass asks for it by name.
    Deallocated,
}

impl Difference {
    fn words(self) -> &'static str {
        match self {
            Difference::OnlyInAzure => "only in Azure",
            Difference::OnlyInLedger => "only in the ledger",
            Difference::Deallocated => "deallocated in Azure",
        }
    }
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The VM's name.
    pub vm: String,
    /// Its node.
    pub node: Option<NodeName>,
    /// The ledger's state; `None` if only Azure has it.
    pub state: Option<&'static str>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// For how long.
    pub state_seconds: Option<u64>,
    /// Seconds since it was asked for.
    pub age_seconds: Option<u64>,
    /// Site.
    pub site: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Zone.
    pub zone: Option<String>,
    /// Size.
    pub sku: Option<String>,
    /// Whether it is a Spot VM.
    pub is_spot: Option<bool>,
    /// The life of a block that it is part of.
    pub block: Option<String>,
    /// slurmctld's state of the node, if it is known.
    pub slurm: Option<String>,
    /// Whether Slurm uses its node, or waits for it; `None` if that is not known or it has ended.
    /// One that is not in use costs money for nobody.
    pub is_in_use: Option<bool>,
    /// Azure's state; `None` if it does not list it or was not asked.
    pub azure: Option<String>,
    /// How Azure and ledger differ.
    pub difference: Option<Difference>,
    /// Azure's last words, or why it ends.
    pub why: Option<String>,
}

/// All VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vms {
    /// When they were looked at, RFC 3339.
    pub at: String,
    /// Who was asked, and what is not known.
    pub sources: Vec<Source>,
    /// By node and age.
    pub rows: Vec<Row>,
}

/// Looks at VMs.
pub async fn vms(session: &mut Session, of: &VmsOf) -> Result<Vms, Stop> {
    let only = only(of.nodes.as_deref())?;
    let (listing, listed) = sources::list(session, of.azure).await;
    let (seen, mut sources) = sources::look(session).await?;
    let asked = listed.is_some().then_some(&listing);
    sources.extend(listed);
    let mut attempts = match of.all {
        true => session.ledger.attempts_all().map_err(Stop::failed)?,
        false => session.ledger.attempts_unfinished().map_err(Stop::failed)?,
    };
    attempts.retain(|one| only.as_ref().is_none_or(|only| only.contains(&one.is.node)));
    let mut rows: Vec<Row> = attempts.iter().map(|one| row_of(one, &seen, asked)).collect();
    rows.extend(strangers(&seen, &listing, only.as_ref()));
    rows.sort_by(|a, b| (&a.node, &a.vm).cmp(&(&b.node, &b.vm)));
    Ok(Vms { at: seen.at.to_string(), sources, rows })
}

/// Whether Slurm uses a node in this state, or waits for it.
pub(crate) fn is_in_use(slurm: SlurmView) -> Option<bool> {
    match slurm {
        SlurmView::Unknown => None,
        SlurmView::Up | SlurmView::Booting | SlurmView::AboutToBoot => Some(true),
        SlurmView::Absent
        | SlurmView::Off
        | SlurmView::BootingRefused
        | SlurmView::BootingByPerson
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting
        | SlurmView::OffByPerson
        | SlurmView::Down
        | SlurmView::Dead => Some(false),
    }
}

/// What differs about a VM that the ledger knows. A list that is not whole says nothing of what it
/// lacks, and neither does one of what has just changed.
fn difference(
    attempt: &Attempt,
    (listing, found): (&Listing, Option<&VmRow>),
    now: Timestamp,
) -> Option<Difference> {
    let is_released = found.is_some_and(|row| row.power == Some(VmPower::Deallocated));
    let is_settled = now >= attempt.changed_at.plus(LISTED_AFTER);
    match attempt.state {
        AttemptState::Running if is_released => Some(Difference::Deallocated),
        AttemptState::Accepted | AttemptState::Running => {
            (listing.says(attempt) == Listed::Lacking).then_some(Difference::OnlyInLedger)
        }
        // It may or may not be there.
        AttemptState::Intended | AttemptState::DeleteIntended | AttemptState::Deleting => None,
        AttemptState::Refused | AttemptState::Gone => {
            (found.is_some() && is_settled).then_some(Difference::OnlyInAzure)
        }
    }
}

fn row_of(attempt: &Attempt, seen: &Observation, listing: Option<&Listing>) -> Row {
    let is = &attempt.is;
    let key = is.vm.as_str().to_ascii_lowercase();
    let found = listing.and_then(|listing| listing.row(&key));
    let says = attempt.says.as_ref().map(|says| format!("{}: {}", says.code, says.text));
    let is_ended = attempt.state.is_ended();
    Row {
        vm: is.vm.to_string(),
        node: Some(is.node.clone()),
        state: Some(attempt.state.word()),
        since: Some(attempt.changed_at.to_string()),
        state_seconds: Some(seen.at.since(attempt.changed_at).as_secs()),
        age_seconds: Some(seen.at.since(attempt.intended_at).as_secs()),
        site: Some(is.place.site.to_string()),
        region: Some(is.place.region.to_string()),
        zone: is.place.zone.as_ref().map(ToString::to_string),
        sku: Some(is.sku.to_string()),
        is_spot: Some(is.is_spot),
        block: is.place.block.as_ref().map(ToString::to_string),
        slurm: slurm_of(seen, &is.node),
        is_in_use: is_in_use(seen.slurm_view(&is.node)).filter(|_| !is_ended),
        azure: found.map(state_of),
        difference: listing.and_then(|listing| difference(attempt, (listing, found), seen.at)),
        why: says.or(attempt.why.map(|why| why.word().to_owned())),
    }
}

fn slurm_of(seen: &Observation, node: &NodeName) -> Option<String> {
    let nodes = seen.slurm.as_ref().ok()?;
    nodes.get(node).map(|node| node.state.to_string())
}

/// VMs that Azure lists and the ledger never knew.
fn strangers(seen: &Observation, listing: &Listing, only: Option<&BTreeSet<NodeName>>) -> Vec<Row> {
    let attempts = seen.attempts.iter();
    let known: BTreeMap<String, ()> =
        attempts.map(|one| (one.is.vm.as_str().to_ascii_lowercase(), ())).collect();
    let is_wanted = |row: &VmRow| {
        only.is_none_or(|only| row.node.as_ref().is_some_and(|node| only.contains(node)))
    };
    let rows = listing.rows().map(|(_, row)| row);
    let is_strange =
        |row: &&VmRow| !known.contains_key(&row.name.to_ascii_lowercase()) && is_wanted(row);
    rows.filter(is_strange).map(|row| stranger(seen, row)).collect()
}

fn stranger(seen: &Observation, row: &VmRow) -> Row {
    let vm: Option<VmName> = row.name.parse().ok();
    let began_at = vm.and_then(|vm| vm.split()).map(|(_, attempt)| attempt.began_at());
    let view = row.node.as_ref().map_or(SlurmView::Unknown, |node| seen.slurm_view(node));
    Row {
        vm: row.name.clone(),
        node: row.node.clone(),
        state: None,
        since: None,
        state_seconds: None,
        age_seconds: began_at.map(|began| seen.at.since(began).as_secs()),
        site: None,
        region: row.location.clone(),
        zone: row.zones.first().cloned(),
        sku: row.sku.clone(),
        is_spot: None,
        block: None,
        slurm: row.node.as_ref().and_then(|node| slurm_of(seen, node)),
        is_in_use: is_in_use(view),
        azure: Some(state_of(row)),
        difference: Some(Difference::OnlyInAzure),
        why: None,
    }
}

impl Row {
    fn note(&self) -> String {
        let mut notes: Vec<String> = Vec::new();
        notes.extend(self.difference.map(|difference| difference.words().to_owned()));
        if self.is_in_use == Some(false) {
            notes.push("Slurm does not use it".to_owned());
        }
        notes.extend(self.why.clone());
        notes.join("; ")
    }
}

impl Vms {
    /// As a table for people.
    pub fn text(&self) -> String {
        let mut lines = sources::complaints(&self.sources);
        if self.rows.is_empty() {
            lines.push("no VMs".to_owned());
            return lines.join("\n");
        }
        let rows = self.rows.iter().map(|row| {
            let zone = row.zone.as_ref().map(|zone| format!("/{zone}")).unwrap_or_default();
            let place = row.site.as_ref().or(row.region.as_ref());
            vec![
                row.vm.clone(),
                cell(row.state),
                row.state_seconds.map_or_else(|| cell(None), age),
                row.age_seconds.map_or_else(|| cell(None), age),
                place.map_or_else(|| cell(None), |place| format!("{place}{zone}")),
                cell(row.sku.as_deref()),
                cell(row.block.as_deref()),
                cell(row.slurm.as_deref()),
                cell(row.azure.as_deref()),
                row.note(),
            ]
        });
        let headings =
            ["VM", "STATE", "FOR", "AGE", "PLACE", "SKU", "BLOCK", "SLURM", "AZURE", "NOTE"];
        lines.push(table(&headings, rows));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use azslurm_ledger::{Holder, LeaseAsk, Ledger, LedgerError, Take};
    use serde_json::json;

    use azslurm_core::listing::{Extent, Way};

    use super::*;
    use crate::listing::Source as OfAzure;

    const VM: &str = "n1-0abcdefg";

    /// An attempt as the ledger gives it.
    fn attempt(at: Timestamp) -> Attempt {
        let mut ledger = Ledger::in_memory().unwrap();
        let vm: VmName = VM.parse().unwrap();
        let (node, attempt) = vm.split().unwrap();
        let place = azslurm_core::attempt::AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: azslurm_core::config::Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        };
        let new = azslurm_core::attempt::NewAttempt {
            vm,
            node: node.clone(),
            attempt,
            nodeset: "n".parse().unwrap(),
            place,
            sku: azslurm_core::config::Sku::new("Standard_D4s_v5").unwrap(),
            image: "p:o:s:v".to_owned(),
            is_spot: false,
            body_hash: String::new(),
            jobs: Vec::new(),
        };
        let holder = Holder::new("test", at, 1);
        let ask = LeaseAsk { holder: &holder, take: Take::IfFree, now: at, until: at.plus(DAY) };
        let done: Result<(), LedgerError> = ledger.write(|writer| {
            let lease = writer.lease(&node, &ask)?.granted().unwrap();
            let _done = writer.intend(&lease, &new, at, at)?;
            Ok(())
        });
        done.unwrap();
        ledger.attempts_all().unwrap().remove(0)
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn row(power: &str) -> VmRow {
        let id = format!("/subscriptions/s/resourceGroups/g/providers/m/virtualMachines/{VM}");
        let row = json!({ "id": id, "name": VM, "tags": {}, "zones": [],
            "provisioning_state": "Succeeded", "power": power });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn a_vm_differs_only_where_the_list_may_be_believed() {
        let at = Timestamp::from_millis(1_795_225_985_000);
        let later = at.plus(LISTED_AFTER);
        let (whole, part) = (Extent::Whole, Extent::Part("HTTP 503".to_owned()));
        let of = |state: AttemptState, extent: &Extent, (found, now): (Option<&str>, Timestamp)| {
            let listed_at = now.plus(Duration::from_millis(1));
            let (sites, extent) = (vec!["west".parse().unwrap()], extent.clone());
            let row = found.map(row);
            let vms = row.iter().map(|row| (VM.to_owned(), row.clone())).collect();
            let way = Way::Graph;
            let source = OfAzure { sites, way, at: listed_at, extent, graph_out: None, vms };
            let listing = Listing { sources: vec![source] };
            difference(&Attempt { state, ..attempt(at) }, (&listing, row.as_ref()), now)
        };
        use AttemptState as S;
        use Difference as D;
        let (running, off) = (Some("running"), Some("deallocated"));
        assert_eq!(of(S::Running, &whole, (running, later)), None);
        assert_eq!(of(S::Running, &whole, (off, at)), Some(D::Deallocated));
        assert_eq!(of(S::Running, &whole, (None, later)), Some(D::OnlyInLedger));
        assert_eq!(of(S::Running, &whole, (None, at)), None, "the list lags");
        assert_eq!(of(S::Running, &part, (None, later)), None, "the list is not whole");
        assert_eq!(of(S::Gone, &whole, (running, later)), Some(D::OnlyInAzure));
        assert_eq!(of(S::Gone, &whole, (running, at)), None, "the list lags");
        assert_eq!(of(S::Gone, &whole, (None, later)), None);
        for state in [S::Intended, S::DeleteIntended, S::Deleting] {
            assert_eq!(of(state, &whole, (None, later)), None);
            assert_eq!(of(state, &whole, (running, later)), None);
        }
    }

    #[test]
    fn a_node_that_slurm_does_not_run_and_does_not_wait_for_is_not_in_use() {
        for view in SlurmView::ALL {
            let used = [SlurmView::Up, SlurmView::Booting, SlurmView::AboutToBoot];
            let expected = (view != SlurmView::Unknown).then_some(used.contains(&view));
            assert_eq!(is_in_use(view), expected, "{view:?}");
        }
    }
}
