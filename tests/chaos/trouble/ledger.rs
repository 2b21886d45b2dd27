//! The ledger's troubles: its file system is full or read-only, or it is taken away; and what the
//! run cannot wait for: that time passes.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::bed::{Bed, bind, unmount};

/// What is written at once.
const BLOCK: [u8; 4096] = [0; 4096];

fn filler(bed: &Bed) -> PathBuf {
    bed.disk().join("filler")
}

/// Not a byte more fits.
pub fn fill(bed: &Bed) -> Result<()> {
    let mut file = File::create(filler(bed))?;
    loop {
        match file.write_all(&BLOCK) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("fill the ledger's disk"),
        }
    }
}

/// There is room again.
pub fn free(bed: &Bed) -> Result<()> {
    Ok(fs::remove_file(filler(bed))?)
}

/// Nothing can be opened for writing any more. By another mount on top: a remount is refused while
/// anybody writes, and a kernel that gives up a disk does not ask.
pub fn make_read_only(bed: &Bed) -> Result<()> {
    bind(&bed.read_only_disk(), &bed.disk())
}

/// It can again.
pub fn make_writable(bed: &Bed) -> Result<()> {
    unmount(&bed.disk())
}

/// The ledger's folder is exchanged for an empty one in one step: who has it open keeps it, and the
/// audit finds it. `is_whole`: the proofs of living holders go with it.
pub fn take(bed: &Bed, number: u32, is_whole: bool) -> Result<()> {
    let (now, gone) = (bed.disk().join("ledger"), bed.disk().join(format!("gone-{number}")));
    fs::create_dir(&gone)?;
    renameat2(AT_FDCWD, &now, AT_FDCWD, &gone, RenameFlags::RENAME_EXCHANGE)?;
    let holders = "ledger.db.holders";
    if is_whole || !gone.join(holders).exists() {
        return Ok(());
    }
    // Somebody may have made another one already; then it is as with the whole folder.
    let _back = fs::rename(gone.join(holders), now.join(holders));
    Ok(())
}

fn change(bed: &Bed, sql: &str) -> Result<()> {
    let path = bed.cluster.ledger_path();
    if !path.exists() {
        return Ok(());
    }
    let ledger = rusqlite::Connection::open(&path)?;
    ledger.busy_timeout(Duration::from_secs(30))?;
    Ok(ledger.execute_batch(sql)?)
}

/// The time of all holds passes.
pub fn holds_end(bed: &Bed) -> Result<()> {
    change(bed, "UPDATE holds SET until = min(until, unixepoch() * 1000 - 1000)")
}

/// The time passes in which a PUT that nobody saw the answer of may still arrive. Only when nobody
/// is at work.
pub fn puts_settle(bed: &Bed) -> Result<()> {
    change(bed, "UPDATE attempts SET settles_at = min(settles_at, unixepoch() * 1000 - 1000)")
}

/// An hour passes for what a pass looks for once in an hour.
pub fn things_grow_old(bed: &Bed) -> Result<()> {
    change(
        bed,
        "DELETE FROM facts WHERE key = 'leftovers-looked';
         UPDATE attempts SET ended_at = ended_at - 3600000 WHERE ended_at IS NOT NULL;",
    )
}
