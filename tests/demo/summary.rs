//! The end of the demo: times of each phase per node, calls made, what is left. Pure.

use std::collections::BTreeMap;

use azslurm_test_cluster::{Calls, Resource};

use crate::look::{KINDS, Moment, Picture, is_of_node};
use crate::table::left;

/// What only slurmctld knows and keeps no record of: seen by looking, so up to 0.3 s late.
#[derive(Debug)]
pub struct Seen {
    /// When sbatch was done.
    submitted: Moment,
    /// When each node was first up.
    registered: BTreeMap<String, Moment>,
    /// When the job was first seen running.
    job_started: Option<Moment>,
}

impl Seen {
    /// Nothing yet but the submission of the job.
    pub fn new(submitted: Moment) -> Seen {
        Seen { submitted, registered: BTreeMap::new(), job_started: None }
    }

    /// Notes what a picture shows for the first time.
    pub fn note(&mut self, picture: &Picture) {
        for node in picture.asked().filter(|node| picture.is_registered(node)) {
            self.registered.entry(node.clone()).or_insert(picture.at);
        }
        if ["RUNNING", "COMPLETING", "COMPLETED"].contains(&picture.job.as_str()) {
            self.job_started.get_or_insert(picture.at);
        }
    }
}

/// A phase's name and its moment for a node.
type Step = (&'static str, fn(&Source<'_>, &str) -> Option<Moment>);

struct Source<'a> {
    picture: &'a Picture,
    seen: &'a Seen,
}

const STEPS: [Step; 8] = [
    ("job submitted", |from, _| Some(from.seen.submitted)),
    ("asked for", |from, node| from.picture.ledger.get(node)?.intended_at),
    ("VM accepted by Azure", |from, node| from.picture.ledger.get(node)?.accepted_at),
    ("VM runs", |from, node| from.happened(node, "running")),
    ("registered in Slurm", |from, node| from.seen.registered.get(node).copied()),
    ("job started", |from, _| from.seen.job_started),
    ("suspended", |from, node| from.picture.ledger.get(node)?.delete_intended_at),
    ("VM gone", |from, node| Moment::from_text(from.vm(node)?.deleted_at.as_deref()?)),
];

impl Source<'_> {
    /// The newest VM of the node.
    fn vm(&self, node: &str) -> Option<&Resource> {
        let mut made = self.picture.azure.iter();
        made.rfind(|seen| seen.is_a("virtualMachines") && is_of_node(seen, node))
    }

    fn happened(&self, node: &str, what: &str) -> Option<Moment> {
        let mut events = self.vm(node)?.history.iter();
        Moment::from_text(&events.find(|event| event.event == what)?.at)
    }
}

/// When each node came to each phase, from the demo's start on.
pub fn times(picture: &Picture, seen: &Seen, start: Moment) -> String {
    let from = Source { picture, seen };
    let nodes: Vec<&String> = picture.asked().collect();
    let mut text = format!("{:24}", "times from the start");
    text.extend(nodes.iter().map(|node| format!("{node:>10}")));
    text += "\n";
    for (name, moment_of) in STEPS {
        text += &format!("  {name:22}");
        for node in &nodes {
            let moment = moment_of(&from, node).map(|moment| moment.after(start));
            text += &format!("{:>10}", moment.unwrap_or_else(|| "?".to_owned()));
        }
        text += "\n";
    }
    text
}

/// Calls by kind, the most frequent first.
pub fn calls(calls: &Calls) -> String {
    let mut by: Vec<(u64, String)> = calls
        .by
        .iter()
        .map(|call| {
            let route = call.route.trim_start_matches("…/");
            (call.count, format!("{} {route} ({})", call.method, call.status))
        })
        .collect();
    by.sort_by(|one, two| two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)));
    let lines = by.iter().map(|(count, what)| format!("  {count:6}  {what}\n"));
    format!("API calls: {}\n{}", calls.total, lines.collect::<String>())
}

/// What there was and what is left.
pub fn resources(picture: &Picture) -> String {
    let made = KINDS.map(|(kind, name)| {
        format!("{name} {}", picture.azure.iter().filter(|seen| seen.is_a(kind)).count())
    });
    let nothing = if picture.is_azure_empty() { "nothing: " } else { "" };
    format!("made in Azure: {}\nleft in Azure: {nothing}{}\n", made.join(", "), left(picture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Attempt;
    use crate::look::tests::{picture, resource};

    #[test]
    fn each_phase_of_a_node_has_its_time() {
        let start = Moment::from_text("2026-11-21T05:00:00.000Z").unwrap();
        let mut picture = picture(&[("hpc-001", "ALLOCATED+CLOUD")]);
        picture.at = Moment(start.0 + 5_000);
        picture.job = "CONFIGURING".to_owned();
        let attempt = Attempt { intended_at: Some(Moment(start.0 + 1_000)), ..Attempt::default() };
        picture.ledger = [("hpc-001".to_owned(), attempt)].into();
        picture.azure =
            vec![resource("virtualMachines", "hpc-001-0a", Some("2026-11-21T05:01:00.000Z"))];
        let mut seen = Seen::new(Moment(start.0 + 500));
        seen.note(&picture);
        picture.at = Moment(start.0 + 9_000);
        seen.note(&picture);
        let text = times(&picture, &seen, start);
        let words: Vec<String> =
            text.lines().skip(1).map(|line| line[24..].trim().to_owned()).collect();
        assert_eq!(words, ["0.5 s", "1.0 s", "?", "2.5 s", "5.0 s", "?", "?", "60.0 s"]);
    }

    #[test]
    fn calls_are_told_by_kind_and_what_is_left_by_number() {
        let json = serde_json::json!({"total": 4, "by": [
            {"method": "GET", "route": "/token", "status": 200, "count": 1},
            {"method": "PUT", "route": "…/virtualMachines/{name}", "status": 201, "count": 3},
        ]});
        let text = calls(&serde_json::from_value(json).unwrap());
        assert!(text.starts_with("API calls: 4\n       3  PUT virtualMachines/{name} (201)\n"));
        let mut picture = picture(&[]);
        assert!(resources(&picture).contains("left in Azure: nothing: VMs 0, NICs 0, disks 0"));
        picture.azure = vec![resource("disks", "hpc-001-0a-os", None)];
        assert!(resources(&picture).contains("left in Azure: VMs 0, NICs 0, disks 1"));
    }
}
