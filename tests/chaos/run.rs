//! A run from its seed to its verdict.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use azslurm_test_cluster::interrupted;

use crate::arguments::Wish;
use crate::audit;
use crate::bed::Bed;
use crate::chance::Chance;
use crate::diary::Diary;
use crate::followers::Followers;
use crate::jobs::{self, Jobs};
use crate::killer::Kills;
use crate::quiet;
use crate::trouble::Troubles;

/// Between two looks of the run.
const TICK: Duration = Duration::from_millis(250);
/// Between two lines for who watches.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// So many of a thousand runs of programs are followed, most of them to their end.
const ENDANGERED: u64 = 900;

/// So many make passes by hand, at once and beside the daemon.
const PEOPLE: u64 = 3;

/// The whole run; an error tells what the audit found.
pub fn run(wish: &Wish) -> Result<()> {
    let minutes = wish.lasts.as_secs_f64() / 60.0;
    println!("chaos: seed {}, {minutes:.1} minutes of trouble", wish.seed);
    let bed = Bed::start(wish)?;
    println!("chaos: the cluster is in {}", bed.cluster.dir().display());
    let mut diary = Diary::begin(bed.cluster.dir())?;
    diary.say(&format!("seed {}", wish.seed));
    let told = tell(&bed, wish, &mut diary);
    if interrupted() {
        return bed.cluster.finish();
    }
    match told {
        Ok(findings) if findings.is_empty() => {
            println!("chaos: the audit is clean (seed {})", wish.seed);
            bed.cluster.finish()
        }
        Ok(findings) => {
            keep(&bed);
            let text = findings.join("\n  - ");
            bail!("seed {}: the audit found {}:\n  - {text}", wish.seed, findings.len())
        }
        Err(error) => {
            keep(&bed);
            Err(error).with_context(|| format!("seed {}: the run could not go on", wish.seed))
        }
    }
}

fn tell(bed: &Bed, wish: &Wish, diary: &mut Diary) -> Result<Vec<String>> {
    let followers = Followers::default();
    let mut jobs = Jobs::new(wish.seed);
    let disturbed = thread::scope(|scope| {
        scope.spawn(|| followers.keep_daemon(bed, wish.seed));
        for people in 0..PEOPLE {
            let chance = Chance::of(wish.seed, 10 + people);
            scope.spawn(|| followers.make_passes(bed, chance));
        }
        bed.killer.endanger(ENDANGERED)?;
        let disturbed = disturb(bed, wish, (&mut jobs, diary), &followers);
        // Also after an error: the scope waits for both.
        followers.end();
        bed.killer.spare_all().and(disturbed)
    });
    disturbed.context("while it was disturbed")?;
    report(&bed.killer.kills(), diary, &followers);
    let rest = quiet::wait(bed, diary)?;
    let mut findings = followers.findings();
    findings.extend(rest.findings());
    findings.extend(audit::audit(bed, &jobs, diary)?);
    Ok(findings)
}

fn disturb(
    bed: &Bed,
    wish: &Wish,
    (jobs, diary): (&mut Jobs, &mut Diary),
    followers: &Followers,
) -> Result<()> {
    let began = Instant::now();
    let mut troubles = Troubles::new(wish.seed);
    let mut line_at = began + LINE_EVERY;
    while began.elapsed() < wish.lasts && !interrupted() {
        troubles.tick(bed, diary)?;
        if troubles.controller_answers() {
            jobs.tick(bed, diary);
        }
        if Instant::now() >= line_at {
            line_at = Instant::now() + LINE_EVERY;
            line(bed, began, &troubles, followers);
        }
        thread::sleep(TICK);
    }
    bed.killer.spare_all()?;
    troubles.end_all(bed, diary)
}

/// A line for who watches.
fn line(bed: &Bed, began: Instant, troubles: &Troubles, followers: &Followers) {
    let jobs = if troubles.controller_answers() { jobs::states(bed).ok() } else { None };
    let count = |of: &dyn Fn(&str) -> bool| {
        let jobs = jobs.as_ref()?;
        Some(jobs.iter().filter(|(_, _, state)| of(state)).count().to_string())
    };
    let or = |count: Option<String>| count.unwrap_or_else(|| "?".to_owned());
    let kills = bed.killer.kills();
    let vms = bed.cluster.emulator().vms().map(|vms| vms.len().to_string());
    println!(
        "chaos: {:>4} s  jobs {} of {} ended, {} run  VMs {}  kills {} at {} points of {} kinds  \
         daemons {}, passes {}  {}",
        began.elapsed().as_secs(),
        or(count(&jobs::is_ended)),
        or(count(&|_| true)),
        or(count(&|state| state == "RUNNING")),
        vms.unwrap_or_else(|_| "?".to_owned()),
        kills.kills,
        kills.points,
        kills.kinds.len(),
        followers.daemons.load(Ordering::SeqCst),
        followers.passes.load(Ordering::SeqCst),
        troubles.names().join(", "),
    );
}

/// What the disturbance was.
fn report(kills: &Kills, diary: &mut Diary, followers: &Followers) {
    let troubles: Vec<String> =
        diary.troubles.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("chaos: troubles: {}", troubles.join(", "));
    println!(
        "chaos: {} starts of programs (daemon {}, passes {}), {} of them killed at {} distinct \
         points of {} (program, call) boundaries; at {} more boundaries nobody was killed",
        kills.starts,
        followers.daemons.load(Ordering::SeqCst),
        followers.passes.load(Ordering::SeqCst),
        kills.kills,
        kills.points,
        kills.kinds.len(),
        kills.spared.len(),
    );
    for (program, (hit, seen)) in kills.by_program() {
        println!("chaos:   {program}: killed at {hit} of {seen} boundaries that it has shown");
    }
    for kind in &kills.kinds {
        diary.say(&format!("killed at: {kind}"));
    }
    for kind in &kills.spared {
        diary.say(&format!("never killed at: {kind}"));
    }
    for text in &diary.could_not {
        println!("chaos: the run could not: {text}");
    }
}

/// Ledgers and kills go where the logs of a failure are kept.
fn keep(bed: &Bed) {
    let log = bed.cluster.dir().join("log");
    for (from, to) in [(bed.disk(), "ledgers"), (bed.killer.folder().to_owned(), "killer")] {
        if let Err(error) = copy(&from, &log.join(to)) {
            eprintln!("chaos: {} is not kept: {error:#}", from.display());
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
