//! After the story: nothing is left in Azure, and nothing was ever made that the ledger had not
//! announced.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags};

use crate::cluster::Cluster;
use crate::emulator::Resource;
use crate::heads::Head;

/// What azslurm makes, and what Azure makes for it. Networks, groups and images are the operator's.
pub const MADE: [&str; 6] = [
    "virtualMachines",
    "networkInterfaces",
    "disks",
    "publicIPAddresses",
    "availabilitySets",
    "proximityPlacementGroups",
];

impl Cluster {
    /// Checks that every resource that was ever made is gone, and that each was made after a line
    /// of the ledger (`attempts.intended_at`) that names its VM. When it is so, the cluster counts
    /// as a success.
    pub fn audit(&self) -> Result<()> {
        let mut made = self.emulator().resources()?;
        made.retain(|resource| MADE.iter().any(|kind| resource.is_a(kind)));
        let left: Vec<&str> = made
            .iter()
            .filter(|resource| resource.deleted_at.is_none())
            .map(|resource| resource.id.as_str())
            .collect();
        if !left.is_empty() {
            bail!("left in Azure after the story: {}", left.join(" "));
        }
        let mut intents = self.intents()?;
        intents.extend(self.block_intents()?);
        // With a clock of its own the emulator's times cannot be compared with ours.
        let is_real_time = !self.spec().emulator_args.iter().any(|word| word.starts_with("--time"));
        let strays: Vec<String> = made
            .iter()
            .filter(|resource| !is_announced(resource, &intents, is_real_time))
            .map(|resource| format!("{} at {}", resource.id, resource.created_at))
            .collect();
        if !strays.is_empty() {
            bail!("made without an earlier line in the ledger: {}", strays.join(", "));
        }
        self.has_passed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// `blocks.intended_at` by the name of placement group and availability set, as
    /// [`Cluster::intents`].
    fn block_intents(&self) -> Result<BTreeMap<String, String>> {
        self.times(
            "SELECT lower(name), strftime('%Y-%m-%dT%H:%M:%S', intended_at / 1000, 'unixepoch') \
             || printf('.%03d', intended_at % 1000) FROM blocks",
        )
    }

    /// `attempts.intended_at` by VM name in lower case: RFC 3339 in UTC with milliseconds.
    fn intents(&self) -> Result<BTreeMap<String, String>> {
        // SQLite writes the time, so that text is compared with text.
        self.times(
            "SELECT lower(vm), strftime('%Y-%m-%dT%H:%M:%S', intended_at / 1000, 'unixepoch') \
             || printf('.%03d', intended_at % 1000) FROM attempts",
        )
    }

    /// From the ledgers of all heads: the earliest time of each name.
    fn times(&self, sql: &str) -> Result<BTreeMap<String, String>> {
        let mut times: BTreeMap<String, String> = BTreeMap::new();
        for head in if self.spec().has_two_heads { &Head::ALL[..] } else { &[Head::One] } {
            let path = self.ledger_path().with_file_name(head.ledger());
            let ledger = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                .with_context(|| path.display().to_string())?;
            let mut statement = ledger.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                let (name, at): (String, String) = row?;
                let earliest = times.get(&name).map_or(&at, |other| other.min(&at)).clone();
                times.insert(name, earliest);
            }
        }
        Ok(times)
    }
}

/// NICs and disks carry the name of their VM in front of their own.
fn is_announced(
    resource: &Resource,
    intents: &BTreeMap<String, String>,
    is_real_time: bool,
) -> bool {
    let name = resource.name.to_ascii_lowercase();
    let created_at = resource.created_at.trim_end_matches('Z');
    intents.iter().any(|(vm, intended_at)| {
        name.starts_with(vm.as_str()) && (!is_real_time || intended_at.as_str() <= created_at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, created_at: &str) -> Resource {
        serde_json::from_value(serde_json::json!({
            "id": name, "type": "Microsoft.Compute/disks", "name": name, "created_at": created_at,
        }))
        .unwrap()
    }

    #[test]
    fn a_resource_is_announced_by_an_earlier_intent_for_its_vm() {
        let intents = [("hpc-001-0a".to_owned(), "2026-11-21T01:53:05.468".to_owned())].into();
        let is = |name, at, real| is_announced(&resource(name, at), &intents, real);
        assert!(is("HPC-001-0a", "2026-11-21T01:53:05.468Z", true));
        assert!(is("hpc-001-0a-nic", "2026-11-21T01:53:06.000Z", true));
        assert!(!is("hpc-001-0a", "2026-11-21T01:53:05.467Z", true), "made before");
        assert!(is("hpc-001-0a", "2026-11-21T01:53:05.467Z", false));
        assert!(!is("hpc-001-0b", "2026-11-21T01:53:06.000Z", true), "another VM");
    }
}
