//! The installed `scontrol` as the oracle of host lists: what it answers to generated lists, our
//! own code answers too. It needs a slurm.conf of five lines and no daemon.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use azslurm_core::NodeName;
use azslurm_core::hostlist::{expand, fold};

/// Where the packages put it. The tests do not trust PATH: slurmctld gives its programs none
/// either.
const SCONTROL: &str = "/usr/bin/scontrol";

/// Enough for every rule to meet every other a few times; two calls of 4 ms each.
const LISTS: u64 = 400;

/// A folder with the least slurm.conf that `scontrol show` reads.
struct Oracle {
    folder: tempfile::TempDir,
}

impl Oracle {
    fn new() -> Self {
        assert!(
            Path::new(SCONTROL).exists(),
            "{SCONTROL} is not there: run `make deps` (Debian: slurm-client)"
        );
        let folder = tempfile::tempdir().expect("a scratch folder");
        let conf = "ClusterName=x\nSlurmctldHost=localhost\nAuthType=auth/none\nNodeName=n1\n\
                    PartitionName=p Nodes=n1\n";
        std::fs::write(folder.path().join("slurm.conf"), conf).expect("slurm.conf");
        Self { folder }
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    /// `None`: refused. `show hostnames` ends with 0 then too, with a message and without an
    /// answer.
    fn show(&self, verb: &str, list: &str) -> Option<Vec<String>> {
        let output = Command::new(SCONTROL)
            .args(["show", verb, list])
            .env("SLURM_CONF", self.conf())
            .output()
            .expect("scontrol starts");
        let stdout = String::from_utf8(output.stdout).expect("scontrol answers in UTF-8");
        let refused = !output.status.success() || !output.stderr.is_empty();
        (!refused).then(|| stdout.lines().map(str::to_owned).collect())
    }
}

/// A small generator with a seed (xorshift64*): the same lists on every machine, and more of them
/// by another seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = self.below(words.len() as u64);
        words[usize::try_from(index).expect("small")]
    }
}

/// One to four tokens with up to three brackets. Nothing after the last bracket: 22.05 refuses
/// that. Some ranges run downwards or are otherwise wrong, and must be refused by both.
fn expression(dice: &mut Dice) -> String {
    let mut list = String::new();
    for token in 0..=dice.below(4) {
        if token > 0 {
            list.push_str(dice.one_of(&[",", " ", ",,", ", "]));
        }
        let brackets = [0, 1, 1, 1, 2, 2, 3][usize::try_from(dice.below(7)).expect("small")];
        list.push_str(dice.one_of(&["n", "gpu-", "r1n", "hpc-pg0-", "a_b", "x.y", "n0"]));
        if brackets == 0 {
            let width = usize::try_from(dice.below(4)).expect("small");
            let _infallible = write!(list, "{:0width$}", dice.below(120));
        }
        for bracket in 0..brackets {
            if bracket > 0 {
                list.push_str(dice.one_of(&["n", "-", "c0-", ""]));
            }
            list.push_str(&bracket_text(dice));
        }
    }
    list
}

fn bracket_text(dice: &mut Dice) -> String {
    let ranges: Vec<String> = (0..=dice.below(3))
        .map(|_| {
            let width = usize::try_from(dice.below(5)).expect("small");
            let (lo, more) = (dice.below(120), dice.below(9));
            match dice.below(40) {
                0 => format!("{}-{lo}", lo + more + 1),
                1 => dice.one_of(&["", "a", "1-2-3", "-4", "1.5"]).to_owned(),
                2..=15 => format!("{lo:0width$}"),
                _ => format!("{lo:0width$}-{}", lo + more),
            }
        })
        .collect();
    format!("[{}]", ranges.join(","))
}

#[test]
fn generated_lists_expand_as_the_installed_scontrol_expands_them() {
    let oracle = Oracle::new();
    let mut dice = Dice(0x5eed);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..LISTS {
        let list = expression(&mut dice);
        let slurms = oracle.show("hostnames", &list);
        let ours = expand(&list).ok().map(|names| texts(&names));
        assert_eq!(ours, slurms, "{list:?}");
        *if ours.is_some() { &mut taken } else { &mut refused } += 1;
    }
    assert!(taken > 200 && refused > 20, "one-sided: {taken} taken, {refused} refused");
}

#[test]
fn generated_names_fold_as_the_installed_scontrol_folds_them() {
    let oracle = Oracle::new();
    let mut dice = Dice(0xf01d);
    for _ in 0..LISTS {
        let names: Vec<NodeName> = (0..=dice.below(3))
            .flat_map(|_| some_names(&mut dice))
            .map(|name| name.parse().expect("a node name"))
            .collect();
        let list = texts(&names).join(",");
        assert_eq!(oracle.show("hostlist", &list), Some(vec![fold(&names)]), "{list}");
        assert_eq!(oracle.show("hostnames", &fold(&names)), Some(texts(&names)), "{list}");
    }
}

/// A stretch of neighbours, forwards or with gaps, around the places where widths change.
fn some_names(dice: &mut Dice) -> Vec<String> {
    let prefix = dice.one_of(&["n", "n", "gpu-", "r1n", "m0x", ""]);
    let width = usize::try_from(dice.below(5)).expect("small");
    let begin = [0, 1, 5, 8, 95, 98, 995][usize::try_from(dice.below(7)).expect("small")];
    let step = 1 + dice.below(6) / 5;
    let text = |number: u64| format!("{prefix}{number:0width$}");
    (0..=dice.below(8)).map(|index| text(begin + index * step)).collect()
}

fn texts(names: &[NodeName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
