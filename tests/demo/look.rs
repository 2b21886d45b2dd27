//! One look at the cluster: what slurmctld, azslurm's ledger and Azure each say at one moment. Only
//! reads: the ledger is opened read-only, Azure is asked by the emulator's control API, which
//! counts no calls.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, JobId, Resource};
use rusqlite::{Connection, OpenFlags, Row};

/// What azslurm makes: the VM, and what Azure makes and deletes with it.
pub const KINDS: [(&str, &str); 3] =
    [("virtualMachines", "VMs"), ("networkInterfaces", "NICs"), ("disks", "disks")];

/// What everybody says at one moment.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The moment.
    pub at: Moment,
    /// `JobState`; empty before the job is there.
    pub job: String,
    /// slurmctld's `State` by node.
    pub slurm: BTreeMap<String, String>,
    /// The newest attempt of each node, as the ledger has it.
    pub ledger: BTreeMap<String, Attempt>,
    /// Everything of [`KINDS`] that Azure ever had.
    pub azure: Vec<Resource>,
}

/// Milliseconds since 1970, as the ledger counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub i64);

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment(jiff::Timestamp::now().as_millisecond())
    }

    /// From the emulator's RFC 3339; `None` if it is something else.
    pub fn from_text(text: &str) -> Option<Moment> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Moment(at.as_millisecond()))
    }

    /// Seconds after `start`, for people: `12.3 s`.
    pub fn after(self, start: Moment) -> String {
        format!("{:.1} s", (self.0 - start.0) as f64 / 1000.0)
    }
}

/// A line of the ledger's `attempts`.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// Its state's word.
    pub state: String,
    /// When azslurm-resume wrote down that it would make the VM.
    pub intended_at: Option<Moment>,
    /// When Azure had taken the PUT.
    pub accepted_at: Option<Moment>,
    /// When azslurm-suspend wrote down that it would delete the VM.
    pub delete_intended_at: Option<Moment>,
    /// When the attempt ended: its VM is confirmed gone.
    pub ended_at: Option<Moment>,
}

impl Picture {
    /// Takes one.
    pub fn take(cluster: &Cluster, job: Option<JobId>) -> Result<Picture> {
        let job = job.map(|job| cluster.job_state(job)).transpose().context("ask for the job")?;
        let mut azure = cluster.emulator().resources().context("ask the emulator")?;
        azure.retain(|resource| KINDS.iter().any(|(kind, _)| resource.is_a(kind)));
        Ok(Picture {
            at: Moment::now(),
            job: job.unwrap_or_default(),
            slurm: cluster.node_states().context("ask slurmctld")?,
            ledger: read_ledger(&cluster.ledger_path()).context("read the ledger")?,
            azure,
        })
    }

    /// What Azure has now of a type: all, or only of one node. Names begin with the node's.
    pub fn alive<'a>(
        &'a self,
        kind: &'a str,
        node: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Resource> {
        let is_of = move |resource: &Resource| {
            node.is_none_or(|node| is_of_node(resource, node)) && resource.is_a(kind)
        };
        self.azure.iter().filter(move |resource| resource.deleted_at.is_none() && is_of(resource))
    }

    /// Whether Azure has nothing any more of what azslurm makes.
    pub fn is_azure_empty(&self) -> bool {
        self.azure.iter().all(|resource| resource.deleted_at.is_some())
    }

    /// Whether every node is idle and powered down, and nothing else: it can be resumed again.
    pub fn are_all_off(&self) -> bool {
        let harmless = ["IDLE", "CLOUD", "POWERED_DOWN", "NOT_RESPONDING"];
        self.slurm.values().all(|state| {
            state.starts_with("IDLE")
                && state.contains("POWERED_DOWN")
                && state.split('+').all(|word| harmless.contains(&word))
        })
    }

    /// The nodes that azslurm was asked for.
    pub fn asked(&self) -> impl Iterator<Item = &String> {
        self.ledger.keys()
    }

    /// Whether a node has registered: slurmctld has it on and waits for nothing.
    pub fn is_registered(&self, node: &str) -> bool {
        self.slurm.get(node).is_some_and(|state| !state.contains("POWER"))
    }
}

/// Whether a resource belongs to the node: `hpc-001-15vsitpv-os`.
pub fn is_of_node(resource: &Resource, node: &str) -> bool {
    let name = resource.name.to_ascii_lowercase();
    name.strip_prefix(node).is_some_and(|rest| rest.starts_with('-'))
}

fn read_ledger(path: &Path) -> Result<BTreeMap<String, Attempt>> {
    // The first azslurm-resume makes it; SQLite has nothing to say of an empty file.
    if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Ok(BTreeMap::new());
    }
    let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = ledger.prepare(
        "SELECT node, state, intended_at, accepted_at, delete_intended_at, ended_at \
         FROM attempts ORDER BY attempt",
    )?;
    let rows = statement.query_map([], attempt)?;
    // A later attempt takes the place of an earlier one.
    Ok(rows.collect::<Result<_, _>>()?)
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<(String, Attempt)> {
    let moment = |column: usize| row.get(column).map(|at: Option<i64>| at.map(Moment));
    let attempt = Attempt {
        state: row.get(1)?,
        intended_at: moment(2)?,
        accepted_at: moment(3)?,
        delete_intended_at: moment(4)?,
        ended_at: moment(5)?,
    };
    Ok((row.get(0)?, attempt))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A resource of the emulator's.
    pub fn resource(kind: &str, name: &str, deleted_at: Option<&str>) -> Resource {
        serde_json::from_value(serde_json::json!({
            "id": name, "type": format!("Microsoft.Compute/{kind}"), "name": name,
            "created_at": "2026-11-21T05:00:00.000Z", "deleted_at": deleted_at,
            "provisioning_state": "Succeeded", "power_state": "PowerState/running",
            "history": [{"at": "2026-11-21T05:00:02.500Z", "event": "running"}],
        }))
        .unwrap()
    }

    /// A picture with these states of slurmctld's.
    pub fn picture(slurm: &[(&str, &str)]) -> Picture {
        let pair = |(node, state): &(&str, &str)| ((*node).to_owned(), (*state).to_owned());
        Picture { slurm: slurm.iter().map(pair).collect(), ..Picture::default() }
    }

    #[test]
    fn resources_are_a_nodes_by_their_name() {
        let disk = resource("disks", "HPC-001-15vs-os", None);
        assert!(is_of_node(&disk, "hpc-001"));
        assert!(!is_of_node(&disk, "hpc-00"));
        let mut picture = picture(&[]);
        picture.azure =
            vec![disk, resource("disks", "hpc-002-15vs-os", Some("2026-11-21T05:01:00Z"))];
        assert_eq!(picture.alive("disks", None).count(), 1);
        assert_eq!(picture.alive("disks", Some("hpc-002")).count(), 0);
        assert!(!picture.is_azure_empty());
    }

    #[test]
    fn a_node_that_still_powers_down_is_not_off() {
        assert!(picture(&[("a", "IDLE+CLOUD+POWERED_DOWN")]).are_all_off());
        assert!(!picture(&[("a", "IDLE+CLOUD+POWERING_DOWN")]).are_all_off());
        assert!(!picture(&[("a", "DOWN+CLOUD+POWERED_DOWN")]).are_all_off());
        assert!(picture(&[("a", "ALLOCATED+CLOUD")]).is_registered("a"));
        assert!(!picture(&[("a", "ALLOCATED+CLOUD+POWERING_UP")]).is_registered("a"));
    }

    #[test]
    fn moments_are_told_from_the_start() {
        let start = Moment::from_text("2026-11-21T05:00:00.000Z").unwrap();
        let later = Moment::from_text("2026-11-21T05:00:12.340Z").unwrap();
        assert_eq!(later.after(start), "12.3 s");
        assert_eq!(Moment::from_text("soon"), None);
    }
}
