//! What the demo may be asked: another folder of programs, and commands in the middle of the story,
//! so that a package can be shown by it (`tests/dist.sh`). Pure.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: azslurm-demo [--programs FOLDER] [--while-creating COMMAND] \
    [--while-running COMMAND]";

/// All of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Where the programs are, in place of the built ones.
    pub programs: Option<PathBuf>,
    /// For the shell, when VMs are being made: a resume is in flight.
    pub while_creating: Option<String>,
    /// For the shell, when the job runs.
    pub while_running: Option<String>,
}

/// Reads what stands behind the program's name.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value; {USAGE}"));
        match word.as_str() {
            "--programs" => arguments.programs = Some(value()?.into()),
            "--while-creating" => arguments.while_creating = Some(value()?),
            "--while-running" => arguments.while_running = Some(value()?),
            other => bail!("{other} is not known here; {USAGE}"),
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments> {
        parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn each_option_has_its_value_and_a_word_that_is_not_known_is_refused() {
        let arguments = parsed(&["--programs", "/usr/sbin", "--while-running", "true"]).unwrap();
        assert_eq!(arguments.programs, Some(PathBuf::from("/usr/sbin")));
        assert_eq!(arguments.while_running.as_deref(), Some("true"));
        assert_eq!(arguments.while_creating, None);
        assert!(parsed(&["--programs"]).is_err());
        assert!(parsed(&["now"]).is_err());
        assert_eq!(parsed(&[]).unwrap(), Arguments::default());
    }
}
