//! A slurmctld of files: what `scontrol` and `squeue` say, and a log of what they were asked. It
//! costs a program the start of a process and no more.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

const CLIENTS: [&str; 2] = ["scontrol", "squeue"];
const LOG: &str = "log";

/// Whether we were started under the name of one of Slurm's clients.
pub fn is_client(name: &Path) -> bool {
    name.file_name().is_some_and(|name| CLIENTS.iter().any(|client| name == *client))
}

/// Says what the files beside it say; another exit status than 0 if there are none.
pub fn answer(name: &Path, words: &[String]) -> ExitCode {
    let folder = name.parent().map(Path::to_owned).unwrap_or_default();
    let words = words.join(" ");
    let said = say(&folder, &words);
    let logged = log(&folder, &words);
    if said.and(logged).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(folder: &Path, words: &str) -> io::Result<()> {
    let file = match words {
        words if words.contains("show nodes") => "nodes",
        words if words.contains("show config") => "config",
        _ => return Ok(()),
    };
    let text = fs::read(folder.join(file))?;
    io::stdout().write_all(&text)
}

/// One line for each run: what it has cost, and what was asked.
fn log(folder: &Path, words: &str) -> io::Result<()> {
    let cost = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = cost.user_time().num_microseconds() + cost.system_time().num_microseconds();
    let line = format!("{micros} {}\n", words.replace('\n', " "));
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join(LOG))?;
    file.write_all(line.as_bytes())
}

/// Installs the clients in a folder, with what they say of nodes.
pub fn install(folder: &Path, nodes: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("nodes"), nodes)?;
    let config = "BOOT_TIME               = 2026-01-01T00:00:00\n";
    fs::write(folder.join("config"), config)?;
    let me: PathBuf = std::env::current_exe()?;
    for client in CLIENTS {
        let path = folder.join(client);
        if !path.exists() {
            std::os::unix::fs::symlink(&me, path).context("the stand-in for scontrol")?;
        }
    }
    Ok(())
}

/// How often clients were run, and what they have cost in microseconds; the log begins anew.
pub fn take_log(folder: &Path) -> (u64, f64) {
    let text = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    // It may not be there: no client was run.
    let _none = fs::remove_file(folder.join(LOG));
    let costs = text.lines().filter_map(|line| line.split(' ').next()?.parse::<f64>().ok());
    (text.lines().count() as u64, costs.sum())
}
