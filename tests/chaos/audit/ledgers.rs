//! The ledgers of the run: the last one, and those that were taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use crate::bed::Bed;
use crate::evidence::{self, Line};

/// What they say.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// When each VM and each block was intended first, by its name in lower case: milliseconds.
    pub intents: BTreeMap<String, i64>,
    /// The names of them that the last ledger knows.
    pub last: BTreeSet<String>,
    /// The life of the block that each VM was made for, by the VM's name.
    pub blocks: BTreeMap<String, String>,
    /// What is wrong with them.
    pub findings: Vec<String>,
}

/// Reads all of them.
pub fn read(bed: &Bed) -> Result<Ledgers> {
    let mut ledgers = Ledgers::default();
    let last = bed.cluster.ledger_path();
    read_one(&last, &mut ledgers).with_context(|| last.display().to_string())?;
    ledgers.last = ledgers.intents.keys().cloned().collect();
    for path in taken(&bed.disk())? {
        // One that was taken before its first table was made has nothing to say.
        if let Err(error) = read_one(&path, &mut ledgers) {
            let is_empty = error.to_string().contains("no such table");
            if !is_empty {
                let path = path.display();
                ledgers.findings.push(format!("a ledger that was taken away, {path}: {error:#}"));
            }
        }
    }
    Ok(ledgers)
}

fn taken(disk: &Path) -> Result<Vec<PathBuf>> {
    let folders = fs::read_dir(disk)?.flatten().map(|entry| entry.path());
    let ledgers = folders
        .filter(|path| path.to_string_lossy().contains("/gone-"))
        .map(|path| path.join("ledger.db"));
    Ok(ledgers.filter(|path| path.exists()).collect())
}

fn read_one(path: &Path, ledgers: &mut Ledgers) -> Result<()> {
    let ledger = Connection::open(path)?;
    let check: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if check != "ok" {
        ledgers.findings.push(format!("{} does not pass its check: {check}", path.display()));
    }
    let sql = "SELECT lower(vm), intended_at FROM attempts
               UNION ALL SELECT lower(name), intended_at FROM blocks";
    let mut statement = ledger.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        let (name, at): (String, i64) = row?;
        let earliest = ledgers.intents.entry(name).or_insert(at);
        *earliest = (*earliest).min(at);
    }
    let sql = "SELECT vm, block || ' ' || incarnation FROM attempts WHERE block IS NOT NULL";
    let mut statement = ledger.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        let (vm, block): (String, String) = row?;
        ledgers.blocks.insert(vm, block);
    }
    Ok(())
}

/// Jobs whose VMs were made for different lives of blocks.
pub fn scattered(ledgers: &Ledgers, lines: &[Line]) -> Vec<String> {
    let tries = evidence::tries(lines);
    let of = |vms: &[String]| -> BTreeSet<String> {
        vms.iter().filter_map(|vm| ledgers.blocks.get(vm).cloned()).collect()
    };
    let over = tries.iter().filter(|of_job| of(&of_job.vms).len() > 1);
    over.map(|of_job| {
        let (job, restart, vms) = (of_job.job, of_job.restart, of_job.vms.join(" "));
        format!("job {job} (try {restart}) ran on VMs of different blocks: {vms}")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_over_two_lives_of_blocks_is_a_finding() {
        let lines = evidence::lines("began 1 0 n1 n1-0a 10\nmember 1 0 n2 n2-0a 11");
        let of = |blocks: [&str; 2]| {
            let vms = ["n1-0a", "n2-0a"].map(str::to_owned);
            let blocks = vms.into_iter().zip(blocks.map(str::to_owned)).collect();
            scattered(&Ledgers { blocks, ..Ledgers::default() }, &lines).len()
        };
        assert_eq!(of(["n-b1 7", "n-b1 7"]), 0);
        assert_eq!(of(["n-b1 7", "n-b1 8"]), 1);
    }
}
