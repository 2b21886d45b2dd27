//! What jobs have written of themselves. Pure.

use std::collections::BTreeMap;

use crate::diary::Seconds;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The job's script has begun.
    Began,
    /// A node of the job is there.
    Member,
    /// The script has come to its end.
    Done,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it says.
    pub what: What,
    /// The job.
    pub job: u32,
    /// How often it was requeued before.
    pub restart: u32,
    /// The node.
    pub node: String,
    /// The VM on which it says so.
    pub vm: String,
    /// When.
    pub at: Seconds,
}

/// One try of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    /// The job.
    pub job: u32,
    /// Which try.
    pub restart: u32,
    /// The VM of its script.
    pub vm: String,
    /// When it began.
    pub began: Seconds,
    /// Whether it came to its end.
    pub is_done: bool,
    /// All VMs that have shown themselves.
    pub vms: Vec<String>,
}

/// The lines of the file, in their order; one that was cut off is left out.
pub fn lines(text: &str) -> Vec<Line> {
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let what = match words.next()? {
        "began" => What::Began,
        "member" => What::Member,
        "done" => What::Done,
        _ => return None,
    };
    let (job, restart) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (node, vm) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Line { what, job, restart, node, vm, at: words.next()?.parse().ok()? })
}

/// The tries of all jobs.
pub fn tries(lines: &[Line]) -> Vec<Try> {
    let mut tries: BTreeMap<(u32, u32, usize), Try> = BTreeMap::new();
    // A slurmctld that was killed forgets that a job ran, and counts its next try as the same.
    let mut begins: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for line in lines {
        let count = begins.entry((line.job, line.restart)).or_default();
        *count += usize::from(line.what == What::Began);
        let key = (line.job, line.restart, *count);
        let of = tries.entry(key).or_insert_with(|| Try {
            job: line.job,
            restart: line.restart,
            vm: line.vm.clone(),
            began: line.at,
            is_done: false,
            vms: Vec::new(),
        });
        of.is_done |= line.what == What::Done;
        if !of.vms.contains(&line.vm) {
            of.vms.push(line.vm.clone());
        }
    }
    tries.into_values().collect()
}

/// Uses of an older VM of a node after a newer one was used. Attempts of a node increase with
/// time, and with them the names of its VMs.
pub fn used_after_its_successor(lines: &[Line]) -> Vec<String> {
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines {
        let last = newest.entry(&line.node).or_insert(&line.vm);
        if *line.vm < **last {
            found.push(format!("{} was used by job {} after {last}", line.vm, line.job));
        } else {
            *last = &line.vm;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "began 1 0 n1 n1-0a 10.5\nmember 1 0 n2 n2-0a 11\ndone 1 0 n1 n1-0a 12\n\
        began 2 1 n1 n1-0b 20\nbegan 3 0 n1 n1-0a 21\nbegan 4";

    #[test]
    fn tries_are_told_apart_and_a_cut_line_is_none() {
        let lines = lines(TEXT);
        assert_eq!(lines.len(), 5);
        let tries = tries(&lines);
        assert_eq!(tries.len(), 3);
        assert!(tries[0].is_done && tries[0].vms == ["n1-0a", "n2-0a"]);
        assert!(!tries[1].is_done && tries[1].restart == 1);
        let again = super::lines("began 1 0 n1 n1-0a 1\ndone 1 0 n1 n1-0a 2\nbegan 1 0 n2 n2-0a 3");
        assert_eq!(super::tries(&again).len(), 2, "slurmctld has forgotten the first");
    }

    #[test]
    fn an_older_vm_that_is_used_after_a_newer_one_is_told() {
        assert_eq!(used_after_its_successor(&lines(TEXT)), ["n1-0a was used by job 3 after n1-0b"]);
    }
}
