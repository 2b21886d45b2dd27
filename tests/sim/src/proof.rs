//! Many schedules, their sum, and the story of the first that fails: the program azslurm-prove.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cells::{self, AttemptCell, NodeCell};
use crate::ledgers::Yard;
use crate::run::{Outcome, Wish};
use crate::script::Taste;
use crate::{schedule, script_of, shrink};
use clap::Parser;

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// So many failing seeds are kept.
const FAILURES_MAX: usize = 20;

/// Runs azslurm's own logic through simulated clusters with crashes, lies and losses.
#[derive(Debug, Parser)]
#[command(name = "azslurm-prove")]
pub struct Arguments {
    /// How many schedules
    #[arg(long, default_value_t = 1000)]
    schedules: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
    #[command(flatten)]
    taste: Taste,
    /// Run one seed, and tell its story
    #[arg(long)]
    replay: Option<u64>,
    /// Do not make a failing script shorter before it is told
    #[arg(long)]
    whole: bool,
    /// End with the first that fails, without a story
    #[arg(long)]
    first: bool,
    /// Where ledgers are made: a file system in memory
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// Let passes follow each other closely, note which cells of the decision matrices they meet,
    /// and write to this file which ones they do not meet
    #[arg(long)]
    cells: Option<PathBuf>,
    /// With --cells: a file of seeds, one in a line, that are run before the others. Afterwards it
    /// holds those that met a cell which none before them had met
    #[arg(long, requires = "cells")]
    corpus: Option<PathBuf>,
}

#[derive(Default)]
struct Sum {
    failed: Vec<(u64, String)>,
    attempts: BTreeSet<AttemptCell>,
    nodes: BTreeSet<NodeCell>,
    processes: usize,
    /// Seeds that met a cell which none before them had met.
    first_met: Vec<u64>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.processes += outcome.processes;
        let before = self.attempts.len() + self.nodes.len();
        self.attempts.extend(outcome.seen.attempts.into_inner());
        self.nodes.extend(outcome.seen.nodes.into_inner());
        if self.attempts.len() + self.nodes.len() > before {
            self.first_met.push(seed);
        }
        if let Some(what) = outcome.broken.into_iter().next() {
            eprintln!("seed {seed}: {what}");
            self.failed.push((seed, what));
        }
    }
}

/// Runs what was asked for; the exit code says whether no law was broken.
pub fn prove(arguments: &Arguments) -> ExitCode {
    // A panic is a broken law like any other, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = arguments.replay {
        return tell(seed, arguments);
    }
    let corpus = match arguments.corpus.as_deref().map(read_corpus).transpose() {
        Ok(corpus) => corpus.unwrap_or_default(),
        Err(error) => {
            eprintln!("cannot read the corpus: {error}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let all = corpus.len() as u64 + arguments.schedules;
    let (done, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for thread in 0..arguments.threads {
            let (done, is_over, sum, corpus) = (&done, &is_over, &sum, corpus.as_slice());
            scope.spawn(move || work(thread, (arguments, corpus), (done, is_over, sum)));
        }
        scope.spawn(|| say(&done, &is_over, (begun, all)));
    });
    let sum = sum.into_inner().expect("whoever panics with it ends the run");
    let (schedules, seconds) = (done.into_inner(), begun.elapsed().as_secs_f64());
    println!(
        "{schedules} schedules from seed {} in {seconds:.0} s, {} processes, {} violations",
        arguments.seed,
        sum.processes,
        sum.failed.len(),
    );
    if let Some(path) = &arguments.cells {
        tell_cells(path, &sum);
    }
    if let Some(path) = arguments.corpus.as_ref().filter(|_| sum.failed.is_empty()) {
        let text: String = sum.first_met.iter().map(|seed| format!("{seed}\n")).collect();
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
    for (seed, what) in &sum.failed {
        println!("seed {seed}: {what}");
    }
    match sum.failed.first() {
        None => ExitCode::SUCCESS,
        Some(_) if arguments.first => ExitCode::FAILURE,
        Some((seed, _)) => tell(*seed, arguments),
    }
}

fn work(
    thread: u64,
    (arguments, corpus): (&Arguments, &[u64]),
    (done, is_over, sum): (&AtomicU64, &AtomicBool, &Mutex<Sum>),
) {
    let wish = Wish { is_told: false, is_looked_at: arguments.cells.is_some() };
    let mut yard = Yard::new(&arguments.folder);
    let seeds = arguments.seed..arguments.seed + arguments.schedules;
    let all = corpus.iter().copied().chain(seeds);
    for seed in all.skip(thread as usize).step_by(arguments.threads as usize) {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let outcome = schedule(seed, &script_of(seed, &arguments.taste), wish, &mut yard);
        let mut sum = sum.lock().expect("whoever panics with it ends the run");
        sum.add(seed, outcome);
        let is_enough = sum.failed.len() >= if arguments.first { 1 } else { FAILURES_MAX };
        drop(sum);
        done.fetch_add(1, Ordering::Relaxed);
        if is_enough {
            is_over.store(true, Ordering::Relaxed);
        }
    }
}

fn say(done: &AtomicU64, is_over: &AtomicBool, (begun, of): (Instant, u64)) {
    let mut said = Instant::now();
    while done.load(Ordering::Relaxed) < of && !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let count = done.load(Ordering::Relaxed);
            eprintln!("{count} of {of} schedules after {} s", begun.elapsed().as_secs());
        }
    }
}

/// Tells the story of a seed, as short as it can be made.
fn tell(seed: u64, arguments: &Arguments) -> ExitCode {
    let mut yard = Yard::new(&arguments.folder);
    let told = Wish { is_told: true, is_looked_at: arguments.cells.is_some() };
    let whole = script_of(seed, &arguments.taste);
    let first = schedule(seed, &whole, told, &mut yard);
    let is_short = !arguments.whole && !first.broken.is_empty();
    let steps = match is_short {
        true => shrink::shrink(seed, &whole, told, &mut yard),
        false => whole.clone(),
    };
    let outcome = schedule(seed, &steps, told, &mut yard);
    println!("\nseed {seed}, {} of its {} steps:", steps.len(), whole.len());
    for step in &steps {
        println!("  {:7.1} s  {:?}", step.at as f64 / 1000.0, step.what);
    }
    println!("\nwhat happened:");
    outcome.story.iter().for_each(|line| println!("{line}"));
    println!("\nbroken:");
    outcome.broken.iter().for_each(|what| println!("  {what}"));
    match outcome.broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What was met of the matrices; what was not goes to a file.
fn tell_cells(path: &Path, sum: &Sum) {
    let mut text = String::new();
    for (of, sum) in
        [("attempts", cells::attempts(&sum.attempts)), ("nodes", cells::nodes(&sum.nodes))]
    {
        println!(
            "matrix of {of}: {} of {} answers given; {} of {} cells met",
            sum.given, sum.answers, sum.met, sum.cells
        );
        for missing in &sum.missing {
            text.push_str(&format!("{of}: {missing} was not met\n"));
        }
    }
    if let Err(error) = std::fs::write(path, text) {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

fn read_corpus(path: &Path) -> std::io::Result<Vec<u64>> {
    let text = std::fs::read_to_string(path)?;
    let seed = |line: &str| line.trim().parse().map_err(std::io::Error::other);
    text.lines().filter(|line| !line.is_empty()).map(seed).collect()
}
