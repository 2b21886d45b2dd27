//! Which files change, in which order they are written so that slurmctld could be started between
//! any two of them, and which of ours a person has changed since.
//!
//! ```text
//! azslurm-power.conf   first if it brings GresTypes, which the nodes need; else after them
//! azslurm-nodes.conf   the new nodes; names that go are kept as spares meanwhile: what else names
//!                      them is still right
//! azslurm-gres.conf, azslurm-topology.conf
//! azslurm-nodes.conf   without those names, from 23.11 on
//! topology.conf, gres.conf, slurm.conf: a line that includes ours, once all is there
//! ```

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::hostlist::{self, fold_set};
use azslurm_slurm::{Conf, SlurmVersion};
use std::path::Path;

use crate::render::{GRES, INCLUDED_BY, NODES, POWER, TAKES_NEW_NAMES, TOPOLOGY};

/// What stands in Slurm's folder.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// Texts of our files and of those that include them, by name, where they are there.
    pub texts: BTreeMap<String, String>,
    /// For slurm.conf, gres.conf and topology.conf: names of the files that each includes.
    pub includes: BTreeMap<String, BTreeSet<String>>,
    /// What was written the last times, by name: the texts that are ours.
    pub written: BTreeMap<String, Vec<String>>,
}

/// One file that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name in Slurm's folder.
    pub name: String,
    /// What it says then.
    pub text: String,
}

/// Everything that is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// In this order.
    pub steps: Vec<Step>,
    /// What stands there in the end, of every file that changes.
    pub after: BTreeMap<String, String>,
    /// Files of ours that a person has changed since they were written.
    pub edited: Vec<String>,
    /// Files of ours of which nobody has noted how they were written.
    pub unnoted: Vec<String>,
}

/// From what is there and what is rendered to what is written. `is_stopped`: slurmctld will be
/// started with it, so that no name needs to stay.
pub fn files(
    before: &Before,
    rendered: &BTreeMap<&'static str, String>,
    version: SlurmVersion,
    is_stopped: bool,
) -> Files {
    let mut texts: BTreeMap<&str, String> =
        rendered.iter().map(|(name, text)| (*name, text.clone())).collect();
    for (name, by) in INCLUDED_BY {
        // A file that is included and no longer needed stays, empty: Slurm would miss it.
        if before.texts.contains_key(name) && !texts.contains_key(name) {
            texts.insert(name, nothing(name, by));
        }
    }
    let old_nodes = before.texts.get(NODES).map_or("", String::as_str);
    let new_nodes = texts.get(NODES).cloned().unwrap_or_default();
    let kept = format!("{new_nodes}{}", left_over(old_nodes, &new_nodes));
    if version < TAKES_NEW_NAMES && !is_stopped {
        texts.insert(NODES, kept.clone());
    }
    let mut files = Files::default();
    let needs_gres = |text: &str| Conf::of_text(Path::new(POWER), text).last("GresTypes").is_some();
    let had_gres = before.texts.get(POWER).is_some_and(|text| needs_gres(text));
    let is_power_first = !had_gres && texts.get(POWER).is_some_and(|text| needs_gres(text));
    let mut order = vec![(NODES, kept)];
    let rest = [POWER, GRES, TOPOLOGY, NODES];
    order.extend(rest.iter().filter_map(|name| Some((*name, texts.get(name)?.clone()))));
    if is_power_first {
        order.insert(0, (POWER, texts[POWER].clone()));
    }
    for (name, text) in order {
        files.step(before, name, text);
    }
    for by in ["topology.conf", "gres.conf", "slurm.conf"] {
        if let Some(text) = with_includes(before, by, &texts) {
            files.step(before, by, text);
        }
    }
    let changed = before.texts.iter().filter(|(name, text)| texts.get(&***name) != Some(text));
    for (name, text) in changed.filter(|(name, _)| is_ours(name)) {
        match before.written.get(name) {
            None => files.unnoted.push(name.clone()),
            Some(written) if !written.contains(text) => files.edited.push(name.clone()),
            Some(_) => {}
        }
    }
    files
}

impl Files {
    /// A step, unless the file says so already by then.
    fn step(&mut self, before: &Before, name: &str, text: String) {
        let stands = self.after.get(name).or_else(|| before.texts.get(name));
        if stands == Some(&text) {
            return;
        }
        self.after.insert(name.to_owned(), text.clone());
        self.steps.push(Step { name: name.to_owned(), text });
        // Written there and back: nothing changes.
        self.after.retain(|name, text| before.texts.get(name) != Some(text));
    }
}

fn is_ours(name: &str) -> bool {
    INCLUDED_BY.iter().any(|(ours, _)| *ours == name)
}

fn nothing(name: &str, by: &str) -> String {
    format!(
        "# {name}: written by azslurm-conf. The config needs nothing here now; {by} includes it, \
         so it stays.\n"
    )
}

/// The file that includes ours, with the lines that it lacks at its end; `None`: it lacks none. All
/// else in it stays byte for byte.
fn with_includes(before: &Before, by: &str, texts: &BTreeMap<&str, String>) -> Option<String> {
    let nothing = BTreeSet::new();
    let included = before.includes.get(by).unwrap_or(&nothing);
    let wanted = INCLUDED_BY.iter().filter(|(name, at)| *at == by && texts.contains_key(name));
    let missing: Vec<&str> =
        wanted.map(|(name, _)| *name).filter(|name| !included.contains(*name)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut text = before.texts.get(by).cloned().unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if text.trim_end_matches('\n').ends_with('\\') {
        // The last line goes on: an empty one ends it.
        text.push('\n');
    }
    for name in missing {
        text.push_str(&format!("include {name}\n"));
    }
    Some(text)
}

/// Lines that keep the names of `old` that are not in `new`, as spares with the values that they
/// have.
fn left_over(old: &str, new: &str) -> String {
    let names = |line: &str| hostlist::expand(line).unwrap_or_default();
    let new = Conf::of_text(Path::new(NODES), new);
    let kept: BTreeSet<NodeName> =
        new.all("NodeName").flat_map(|line| names(&line.value)).collect();
    let old = Conf::of_text(Path::new(NODES), old);
    let mut lines = Vec::new();
    for line in old.all("NodeName") {
        let left: Vec<NodeName> =
            names(&line.value).into_iter().filter(|name| !kept.contains(name)).collect();
        if left.is_empty() {
            continue;
        }
        let stays = |key: &str| {
            !["state", "reason", "nodeaddr", "nodehostname", "port"].contains(&&*key.to_lowercase())
        };
        let pairs = line.more.iter().filter(|(key, _)| stays(key));
        let pairs: String = pairs.map(|(key, value)| format!(" {key}={}", quoted(value))).collect();
        lines.push(format!("NodeName={}{pairs} State=FUTURE\n", fold_set(&left)));
    }
    if lines.is_empty() { String::new() } else { format!("{LEFT_OVER}{}", lines.concat()) }
}

/// Above the names that are kept.
const LEFT_OVER: &str = "
# Names that have left the config, and that slurmctld knows until its next start: before 23.11 a
# reconfigure without them would end it. In no partition, they get no jobs.
";

fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: SlurmVersion = SlurmVersion::new(22, 5, 8);
    const NEW: SlurmVersion = SlurmVersion::new(24, 11, 5);

    fn before(texts: &[(&str, &str)]) -> Before {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Before { texts: texts.collect(), ..Before::default() }
    }

    fn rendered(texts: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
        texts.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()
    }

    fn steps(files: &Files) -> Vec<(&str, &str)> {
        files.steps.iter().map(|step| (&*step.name, &*step.text)).collect()
    }

    #[test]
    fn missing_includes_are_appended_once_everything_is_there() {
        let before = before(&[
            ("slurm.conf", "ClusterName=x\nMailProg=/bin/a \\"),
            ("topology.conf", "SwitchName=mine Nodes=a1"),
        ]);
        let new = rendered(&[(NODES, "n\n"), (POWER, "p\n"), (TOPOLOGY, "t\n")]);
        let files = files(&before, &new, NEW, false);
        assert_eq!(
            steps(&files),
            [
                (NODES, "n\n"),
                (POWER, "p\n"),
                (TOPOLOGY, "t\n"),
                ("topology.conf", "SwitchName=mine Nodes=a1\ninclude azslurm-topology.conf\n"),
                (
                    "slurm.conf",
                    "ClusterName=x\nMailProg=/bin/a \\\n\ninclude azslurm-power.conf\n\
                     include azslurm-nodes.conf\n"
                ),
            ]
        );
    }

    #[test]
    fn names_that_go_are_kept_between_and_before_23_11_for_good() {
        let mut before = before(&[
            (NODES, "NodeName=a[1-3] CPUs=4 Port=[1-3] Features=\"x y\" State=CLOUD\n"),
            (TOPOLOGY, "SwitchName=s Nodes=a[1-3]\n"),
        ]);
        let all = [POWER, NODES].map(str::to_owned).into();
        before.includes.insert("slurm.conf".to_owned(), all);
        before.includes.insert("topology.conf".to_owned(), [TOPOLOGY.to_owned()].into());
        let new =
            rendered(&[(NODES, "NodeName=a1 CPUs=4\n"), (TOPOLOGY, "SwitchName=s Nodes=a1\n")]);
        let kept = format!(
            "NodeName=a1 CPUs=4\n{LEFT_OVER}NodeName=a[2-3] CPUs=4 Features=\"x y\" State=FUTURE\n"
        );
        let topology = (TOPOLOGY, "SwitchName=s Nodes=a1\n");
        let new_slurm = files(&before, &new, NEW, false);
        assert_eq!(steps(&new_slurm), [(NODES, &*kept), topology, (NODES, "NodeName=a1 CPUs=4\n")]);
        let old_slurm = files(&before, &new, OLD, false);
        assert_eq!(steps(&old_slurm), [(NODES, &*kept), topology]);
        let stopped = files(&before, &new, OLD, true);
        assert_eq!(stopped.steps, new_slurm.steps);
        // The next time the kept names are kept still, and their text does not grow.
        before.texts.insert(NODES.to_owned(), kept.clone());
        before.texts.insert(TOPOLOGY.to_owned(), topology.1.to_owned());
        assert_eq!(files(&before, &new, OLD, false), {
            Files { unnoted: Vec::new(), ..Files::default() }
        });
    }

    #[test]
    fn what_is_not_needed_any_more_stays_as_an_empty_file() {
        let mut before = before(&[(GRES, "NodeName=a1 Name=gpu\n"), (POWER, "GresTypes=gpu\n")]);
        before.includes.insert("gres.conf".to_owned(), [GRES.to_owned()].into());
        let new = rendered(&[(NODES, "n\n"), (POWER, "p\n")]);
        let files = files(&before, &new, NEW, false);
        let names: Vec<&str> = files.steps.iter().map(|step| &*step.name).collect();
        assert_eq!(names, [NODES, POWER, GRES, "slurm.conf"]);
        assert!(files.after[GRES].starts_with("# azslurm-gres.conf: written by azslurm-conf"));
    }

    #[test]
    fn grestypes_come_before_the_nodes_that_need_them() {
        let before = before(&[(POWER, "p\n")]);
        let new = rendered(&[(NODES, "n\n"), (POWER, "GresTypes=gpu\n"), (GRES, "g\n")]);
        let files = files(&before, &new, NEW, false);
        let names: Vec<&str> = files.steps.iter().map(|step| &*step.name).collect();
        assert_eq!(names, [POWER, NODES, GRES, "gres.conf", "slurm.conf"]);
    }

    #[test]
    fn a_file_that_a_person_has_changed_is_named() {
        let mut before = before(&[(NODES, "mine\n"), (POWER, "p\n")]);
        let new = rendered(&[(NODES, "n\n"), (POWER, "p2\n")]);
        let first = files(&before, &new, NEW, false);
        assert_eq!((first.edited.len(), first.unnoted.len()), (0, 2));
        before.written.insert(NODES.to_owned(), vec!["n0\n".to_owned(), "n\n".to_owned()]);
        before.written.insert(POWER.to_owned(), vec!["p\n".to_owned()]);
        let files = files(&before, &new, NEW, false);
        assert_eq!((files.edited, files.unnoted.len()), (vec![NODES.to_owned()], 0));
    }
}
