//! The list of mutations, and a file with its mutations built in.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// Stands in a replacement for the expression that says whether the mutation is on.
const MARK: &str = "MUTANT";

/// All mutations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Each of them.
    pub mutation: Vec<Mutation>,
}

/// One change of the product that breaks a rule of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Its name.
    pub name: String,
    /// The rule that it breaks, in a sentence.
    pub breaks: String,
    /// The file, from the root of the workspace.
    pub file: String,
    /// A text that stands in the file once.
    pub find: String,
    /// What stands there instead: what stood there unless the mutation is on.
    pub replace: String,
    /// Seeds that are tried first.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// Kinds of disturbances that it takes, so that every schedule has some.
    #[serde(default)]
    pub focus: Vec<String>,
    /// Why nothing that anybody can observe differs: then it need not be caught.
    pub equivalent: Option<String>,
}

impl List {
    /// Reads a list.
    pub fn read(path: &Path) -> anyhow::Result<List> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let list: List = toml::from_str(&text)?;
        let mut names: Vec<&str> = list.mutation.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        ensure!(twice.is_none(), "two mutations have the same name: {twice:?}");
        Ok(list)
    }
}

impl Mutation {
    /// Where it stands in the text of its file.
    fn site(&self, text: &str) -> anyhow::Result<Range<usize>> {
        let Mutation { name, file, find, replace, .. } = self;
        ensure!(replace.contains(MARK), "mutation {name}: its replacement never says {MARK}");
        let mut found = text.match_indices(find.as_str());
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at..at + find.len()),
            (None, _) => bail!("mutation {name}: its text is not in {file}"),
            (Some(_), Some(_)) => bail!("mutation {name}: its text is in {file} more than once"),
        }
    }
}

/// The text of a file with its mutations built in, all of them off until one is named.
pub fn built_in(text: &str, mutations: &[&Mutation], is_core: bool) -> anyhow::Result<String> {
    let mut sites = Vec::new();
    for one in mutations {
        sites.push((one.site(text)?, *one));
    }
    sites.sort_by_key(|(range, _)| range.start);
    let (mut done, mut at) = (String::new(), 0);
    for (range, one) in sites {
        ensure!(at <= range.start, "mutation {}: it stands within another one", one.name);
        done.push_str(&text[at..range.start]);
        let from = if is_core { "crate" } else { "azslurm_core" };
        let is_on = format!("{from}::mutant::is_on({:?})", one.name);
        done.push_str(&one.replace.replace(MARK, &is_on));
        at = range.end;
    }
    done.push_str(&text[at..]);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(name: &str, find: &str, replace: &str) -> Mutation {
        Mutation {
            name: name.to_owned(),
            breaks: String::new(),
            file: "f.rs".to_owned(),
            find: find.to_owned(),
            replace: replace.to_owned(),
            seeds: Vec::new(),
            focus: Vec::new(),
            equivalent: None,
        }
    }

    #[test]
    fn mutations_of_one_file_stand_beside_each_other() {
        let (one, other) = (mutation("b", "c()", "MUTANT || c()"), mutation("a", "a()", "!MUTANT"));
        let built = built_in("a() && c();", &[&one, &other], true).unwrap();
        assert_eq!(built, "!crate::mutant::is_on(\"a\") && crate::mutant::is_on(\"b\") || c();");
    }

    #[test]
    fn a_mutation_that_does_not_find_its_place_is_an_error() {
        let of = |find: &str, replace: &str| {
            built_in("a(); b(); a();", &[&mutation("m", find, replace)], false).is_err()
        };
        assert!(of("c()", "MUTANT"), "absent");
        assert!(of("a()", "MUTANT"), "twice");
        assert!(of("b()", "false"), "without its name");
        assert!(!of("b()", "MUTANT"));
        let two = [&mutation("m", "b();", "MUTANT;"), &mutation("n", "b()", "MUTANT")];
        assert!(built_in("a(); b(); a();", &two, false).is_err(), "one within the other");
    }

    #[test]
    fn the_mutations_of_the_tree_find_their_places() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::read(&root.join("tests/sim/mutations.toml")).unwrap();
        for one in &list.mutation {
            let text = std::fs::read_to_string(root.join(&one.file)).unwrap();
            one.site(&text).unwrap();
        }
    }
}
