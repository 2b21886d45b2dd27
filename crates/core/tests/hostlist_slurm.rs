//! Agreement with the answers of three versions of the real `scontrol` (`testdata/hostlist`,
//! written by running every expression through `scontrol show hostnames`, `hostlist` and
//! `hostlistsorted`), and the table of the differences that we want.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::hostlist::{expand, fold, fold_sorted};

/// Which of Slurm's versions a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// 22.05.8, 24.11.5 and 26.05.5.
    All,
    /// 22.05.8 alone: the newer ones answer differently.
    Only2205,
    /// 22.05.8 and 24.11.5.
    Before2605,
    /// 24.11.5 and 26.05.5.
    Since2411,
}

/// Every expression that we answer differently from `scontrol` on purpose, with the reason.
const DIFFERENCES: &[(Versions, &str, &[&str])] = &[
    (
        Versions::All,
        "no node can have such a name, and it could break out of a URL, a query or a file name",
        &[
            "n1;n2",
            "n1:n2",
            "n(1-3)",
            "n*",
            "n?",
            "n1*2",
            "n<1-3>",
            "^n1",
            "./n1",
            ".hidden",
            "fe80::1",
            "n1@host",
            "n1%2",
            "n1#2",
            "n1=2",
            "n\"1\"",
            "n'1'",
            "n\\1",
            "$n",
            "n1&n2",
            "n1|n2",
            "é[1-2]",
            "日本[1-2]",
            "(null)",
        ],
    ),
    (
        Versions::Since2411,
        "no node can have such a name (22.05 refuses text after the bracket)",
        &["n[1-3]*2", "n[1-3](x2)", "n[1-3]!n2"],
    ),
    (
        Versions::Before2605,
        "no node can have such a name, and 26.05 takes braces as functions",
        &["n{1-3}", "{n1,n2}"],
    ),
    (Versions::All, "scontrol reads the file: a list must not open one", &["/etc/hostname"]),
    (Versions::All, "a name that begins with '-' would be an option elsewhere", &["n[1-5],-n3"]),
    (Versions::All, "brackets that do not match are a mistake", &["n1]", "n[[1]", "n1-2]", "]"]),
    (
        Versions::Since2411,
        "brackets that do not match or are nested are a mistake (22.05 refuses them too)",
        &["n[1]]", "n[[1-2]]", "n[1-2]]", "a[b[1-2]c]", "a[1-2,b[3-4]]"],
    ),
    (
        Versions::Only2205,
        "22.05 makes up a name for an unclosed bracket; 24.11 refuses it",
        &["n[1", "n[1-2", "n]1[", "n[1-2],m[1", "[1", "[", "n[1-2],n[3", "n[1-2]["],
    ),
    (Versions::All, "a range without its end is a mistake; scontrol takes n1", &["n[1-]"]),
    (
        Versions::All,
        "a blank or a sign counts as width: n02, n01 was not meant",
        &["n[1, 2]", "n[+1]"],
    ),
    (
        Versions::All,
        "the number does not fit in 64 bits and scontrol takes another one",
        &["n[18446744073709551616]", "n18446744073709551616", "n99999999999999999999"],
    ),
    (
        Versions::Only2205,
        "text after the last bracket is allowed from 23.02.5 on",
        &[
            "n[1-2]-ib",
            "n[1-2].example.com",
            "n[1-2]a,n[3-4]a",
            "n[1-2]x",
            "a[1-2]b[3-4]c",
            "n[1-5]-n3",
            "[10-12].0.0.1",
            "n-[1-2]-",
            "n[0-1]0",
            "n[0-1]00",
            "n[1-2]m[1-2],n[1-2]m3",
        ],
    ),
    (
        Versions::Only2205,
        "22.05 takes a newline as part of a name; 23.02 separates at it",
        &["n1\\nn2", "n[1-2]\\n"],
    ),
    (Versions::All, "a carriage return is part of no name", &["n1\\r\\nn2"]),
    (
        Versions::All,
        "the same nodes: scontrol keeps the brackets of the expression, we fold names",
        &["a[1-2][3-4]", "a[1-2][03-04]", "n0[1-2]", "n00[1-2]", "n0[01-02]"],
    ),
    (
        Versions::Since2411,
        "the same nodes: scontrol keeps the brackets of the expression, we fold names",
        &["n[0-1]0", "n[0-1]00", "n[1-2]m[1-2],n[1-2]m3"],
    ),
    (
        Versions::All,
        "the same nodes: scontrol sorts whole ranges, we sort names",
        &["n[9-10],n[09-10]"],
    ),
];

/// The reasons under which both lists must name the same nodes, as often.
const SAME_NODES: &str = "the same nodes:";

const ANSWERS: [(&str, &str, &str); 3] = [
    (
        "22.05.8",
        include_str!("../testdata/hostlist/hostlist-cases.tsv"),
        include_str!("../testdata/hostlist/hostlist-cases.stderr.tsv"),
    ),
    (
        "24.11.5",
        include_str!("../testdata/hostlist/hostlist-cases-24.11.5.tsv"),
        include_str!("../testdata/hostlist/hostlist-cases-24.11.5.stderr.tsv"),
    ),
    (
        "26.05.5",
        include_str!("../testdata/hostlist/hostlist-cases-26.05.5.tsv"),
        include_str!("../testdata/hostlist/hostlist-cases-26.05.5.stderr.tsv"),
    ),
];

impl Versions {
    fn include(self, version: &str) -> bool {
        match self {
            Versions::All => true,
            Versions::Only2205 => version == "22.05.8",
            Versions::Before2605 => version != "26.05.5",
            Versions::Since2411 => version != "22.05.8",
        }
    }
}

/// What one run of `scontrol` was asked and answered; `None`: it refused.
struct Case {
    verb: &'static str,
    written: &'static str,
    slurm: Option<&'static str>,
}

fn cases(answers: &'static str, complaints: &'static str) -> Vec<Case> {
    let complained: BTreeSet<(&str, &str)> = complaints
        .split('\n')
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?))
        })
        .collect();
    let lines = answers.split('\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [verb, written, exit, output] = columns[..] else { panic!("columns: {line:?}") };
            let refused = exit != "0" || complained.contains(&(verb, written));
            Case { verb, written, slurm: (!refused).then_some(output) }
        })
        .collect()
}

/// Our answer in the form of the file; `None`: refused.
fn ours(verb: &str, written: &str) -> Option<String> {
    let expression = written.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r");
    let names = expand(&expression).ok()?;
    Some(match verb {
        "hostnames" => words(&names).join(" "),
        "hostlist" => fold(&names),
        "hostlistsorted" => fold_sorted(&names),
        "hostnames-count" => {
            let (first, last) = (names.first()?, names.last()?);
            format!("{} {first} {last}", names.len())
        }
        other => panic!("verb {other}"),
    })
}

fn words(names: &[NodeName]) -> Vec<&str> {
    names.iter().map(NodeName::as_str).collect()
}

fn sorted(list: &str) -> Vec<NodeName> {
    let mut names = expand(list).expect("both lists are ones that we read");
    names.sort();
    names
}

/// Which rows of the table explained which expression, in which versions.
type Used = BTreeMap<(usize, &'static str), BTreeSet<&'static str>>;

/// What is wrong with one answer that is not ours; `None`: the table explains it.
fn unexplained(version: &'static str, case: &Case, used: &mut Used) -> Option<String> {
    let ours = ours(case.verb, case.written);
    let listed = DIFFERENCES.iter().position(|(versions, _, written)| {
        versions.include(version) && written.contains(&case.written)
    });
    let Some(row) = listed else {
        let Case { verb, written, slurm } = case;
        return Some(format!("{version} {verb} {written:?}: scontrol {slurm:?}, ours {ours:?}"));
    };
    if DIFFERENCES[row].1.starts_with(SAME_NODES) {
        let (ours, slurms) = (ours.as_deref(), case.slurm);
        assert_eq!(ours.map(sorted), slurms.map(sorted), "{}", case.written);
    }
    used.entry((row, case.written)).or_default().insert(version);
    None
}

/// The rows that explain nothing.
fn unused_rows(used: &Used) -> Vec<String> {
    let mut unused = Vec::new();
    for (row, (versions, reason, written)) in DIFFERENCES.iter().enumerate() {
        let wanted: BTreeSet<&str> = ANSWERS
            .iter()
            .map(|(version, ..)| *version)
            .filter(|version| versions.include(version))
            .collect();
        let is_unused = |text: &&&str| used.get(&(row, **text)) != Some(&wanted);
        unused.extend(written.iter().filter(is_unused).map(|text| format!("{text:?}: {reason}")));
    }
    unused
}

#[test]
fn every_answer_of_scontrol_is_agreed_with_or_a_difference_that_is_listed() {
    let mut used = Used::new();
    let mut failures = Vec::new();
    for (version, answers, complaints) in ANSWERS {
        let cases = cases(answers, complaints);
        assert!(cases.len() > 700, "{version}: only {} cases", cases.len());
        let differing =
            cases.iter().filter(|case| ours(case.verb, case.written).as_deref() != case.slurm);
        failures.extend(differing.filter_map(|case| unexplained(version, case, &mut used)));
    }
    failures.extend(unused_rows(&used).into_iter().map(|row| format!("unused row: {row}")));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
