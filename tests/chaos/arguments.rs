//! The command line, for people and for the wrappers that the run puts before the programs.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

/// What `--help` says.
pub const HELP: &str = "\
azslurm-chaos [--minutes N] [--seed N]

Disturbs a real Slurm cluster with azslurm on an emulated Azure for N minutes (10), waits until all
is at rest, and audits what became of jobs and VMs. Needs root. The seed chooses jobs, troubles and
where programs are killed; what happens between the processes of a real machine is not repeated by
it. Exit code 0: the audit is clean; 1: it found something, and says what, and where the logs are.

  make chaos MINUTES=10 SEED=1
";

/// Long enough that every trouble comes several times.
const MINUTES: u64 = 10;

/// A run that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How long troubles go on.
    pub lasts: Duration,
    /// What chance begins with.
    pub seed: u64,
}

/// A program that is started by its wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Under {
    /// The killer's folder.
    pub state: PathBuf,
    /// `azslurm-resume` …
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A tracer of such a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The killer's folder.
    pub state: PathBuf,
    /// The program, and its verb if it has some.
    pub role: String,
    /// The process that is about to become it.
    pub pid: i32,
    /// Which run of a program this is.
    pub number: u64,
}

/// What it is started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `--help`.
    Help,
    /// A run.
    Run(Wish),
    /// `within WISH…`, by itself: the run, where its mounts are nobody else's.
    Within(Wish),
    /// `under STATE PROGRAM ARGUMENTS…`, by a wrapper.
    Under(Under),
    /// `trace STATE ROLE PID NUMBER`, by `under`.
    Trace(Trace),
}

/// What the words after the program's name mean.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Word> {
    let mut is_within = false;
    let mut wish = Wish { lasts: Duration::from_secs(MINUTES * 60), seed: fresh_seed() };
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(Word::Help),
            "within" => is_within = true,
            "--minutes" => wish.lasts = minutes(&value()?)?,
            "--seed" => wish.seed = value()?.parse().context("--seed is a number")?,
            "under" => {
                let (state, program) = (value()?.into(), value()?);
                return Ok(Word::Under(Under { state, program, arguments: words.collect() }));
            }
            "trace" => {
                let (state, role) = (value()?.into(), value()?);
                let (pid, number) = (value()?.parse()?, value()?.parse()?);
                return Ok(Word::Trace(Trace { state, role, pid, number }));
            }
            other => bail!("{other} is not known; --help says what is"),
        }
    }
    Ok(if is_within { Word::Within(wish) } else { Word::Run(wish) })
}

/// A part of a minute is enough for a look at the thing itself.
fn minutes(text: &str) -> Result<Duration> {
    let minutes: f64 = text.parse().context("--minutes is a number")?;
    let lasts = Duration::try_from_secs_f64(minutes * 60.0);
    lasts.with_context(|| format!("--minutes {text} is no time to run for"))
}

/// Another one each time: who wants the same gives it.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Word> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_run_has_its_minutes_and_its_seed() {
        let wish = Wish { lasts: Duration::from_secs(90), seed: 7 };
        assert_eq!(parsed("--minutes 1.5 --seed 7").unwrap(), Word::Run(wish.clone()));
        assert_eq!(parsed("within --minutes 1.5 --seed 7").unwrap(), Word::Within(wish));
        assert_eq!(parsed("--help").unwrap(), Word::Help);
        for wrong in ["--minutes", "--minutes -1", "--seed x", "faster"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrapper_hands_its_arguments_on() {
        let under = Under {
            state: "/tmp/k".into(),
            program: "azslurm-sync".to_owned(),
            arguments: ["--json", "pass", "--help"].map(str::to_owned).to_vec(),
        };
        assert_eq!(
            parsed("under /tmp/k azslurm-sync --json pass --help").unwrap(),
            Word::Under(under)
        );
    }
}
