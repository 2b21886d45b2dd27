//! Runs the simulation with one mutation after the other.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::list::{List, Mutation};

/// How a mutation is looked for.
#[derive(Debug)]
pub struct Search<'a> {
    /// The simulation with all mutations built in.
    pub program: &'a Path,
    /// So many schedules at most.
    pub schedules: u64,
    /// The first seed.
    pub seed: u64,
    /// Threads.
    pub threads: u64,
}

/// What became of a mutation.
enum Fate {
    /// A law is broken: seed and law.
    Caught(String),
    /// It panics, which says nothing about the laws.
    Panicked(String),
    /// The law is broken without the mutation too, which says nothing about it.
    Broken(String),
    /// Every schedule ended well.
    Missed,
}

/// Looks for each mutation; whether all that must be were caught.
pub fn hunt(list: &List, only: &[String], search: &Search<'_>) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let is_wanted = |one: &&Mutation| only.is_empty() || only.contains(&one.name);
    let wanted: Vec<&Mutation> = list.mutation.iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no mutation is called so");
    let wanted: Vec<&Mutation> =
        wanted.into_iter().filter(|one| one.equivalent.is_none()).collect();
    let mut missed = Vec::new();
    for one in &wanted {
        let since = Instant::now();
        let fate = fate_of(one, search)?;
        let seconds = since.elapsed().as_secs_f64();
        let (word, text) = match &fate {
            Fate::Caught(law) => ("caught", law.as_str()),
            Fate::Panicked(text) => ("PANICKED", text.as_str()),
            Fate::Broken(text) => ("WITHOUT IT", text.as_str()),
            Fate::Missed => ("NOT CAUGHT", one.breaks.as_str()),
        };
        println!("{word:10} {:32} {seconds:5.1} s  {text}", one.name);
        if !matches!(fate, Fate::Caught(_)) {
            missed.push(one.name.as_str());
        }
    }
    println!(
        "mutations: {} of {} caught in {:.0} s{}",
        wanted.len() - missed.len(),
        wanted.len(),
        begun.elapsed().as_secs_f64(),
        if missed.is_empty() { String::new() } else { format!("; not: {}", missed.join(", ")) }
    );
    Ok(missed.is_empty())
}

fn fate_of(mutation: &Mutation, search: &Search<'_>) -> anyhow::Result<Fate> {
    let mut other = Fate::Missed;
    let hints = mutation.seeds.iter().map(|seed| (*seed, 1, 1));
    for run in hints.chain([(search.seed, search.schedules, search.threads)]) {
        match once(mutation, (search.program, true), run)? {
            Fate::Missed => {}
            Fate::Caught(line) => {
                match once(mutation, (search.program, false), (seed_of(&line)?, 1, 1))? {
                    Fate::Missed => return Ok(Fate::Caught(line)),
                    Fate::Caught(_) | Fate::Panicked(_) | Fate::Broken(_) => {
                        other = Fate::Broken(line)
                    }
                }
            }
            none @ (Fate::Panicked(_) | Fate::Broken(_)) => other = none,
        }
    }
    Ok(other)
}

/// The seed of "seed 7: what is broken".
fn seed_of(line: &str) -> anyhow::Result<u64> {
    let number = line.strip_prefix("seed ").and_then(|rest| rest.split(':').next());
    Ok(number.context("no seed is named")?.parse()?)
}

fn once(
    mutation: &Mutation,
    (program, is_on): (&Path, bool),
    (seed, schedules, threads): (u64, u64, u64),
) -> anyhow::Result<Fate> {
    let ran = Command::new(program)
        .env("AZSLURM_MUTANT", if is_on { mutation.name.as_str() } else { "" })
        .args(["--first", "--seed", &seed.to_string()])
        .args(["--schedules", &schedules.to_string(), "--threads", &threads.to_string()])
        .args(mutation.focus.iter().map(|kind| format!("--focus={kind}")))
        .output();
    let ran = ran.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    let broken = said.lines().find(|line| line.starts_with("seed "));
    match (ran.status.code(), broken) {
        (Some(0), None) => Ok(Fate::Missed),
        (Some(1), Some(line)) if line.contains(": a panic: ") => {
            Ok(Fate::Panicked(line.to_owned()))
        }
        (Some(1), Some(line)) => Ok(Fate::Caught(line.to_owned())),
        (code, _) => anyhow::bail!(
            "{} ended with {code:?} for mutation {}: {said}{}",
            program.display(),
            mutation.name,
            String::from_utf8_lossy(&ran.stderr)
        ),
    }
}
