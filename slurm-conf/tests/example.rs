//! The example config cannot drift from the parser: it parses, knows every key, shows true
//! defaults, and every example value in it is one that the parser takes.

use azslurm_conf::example::EXAMPLE;
use azslurm_core::config::{self, Config, TABLES};

/// What begins a line that shows a default.
const DEFAULT: &str = "# ";
/// What begins a line that shows a value for a key without a default.
const SAMPLE: &str = "## ";

fn parsed(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|errors| panic!("{}\n{text}", errors.render("example")))
}

/// Whether TOML stands behind the comment sign: `[table]` or `key = value`.
fn is_toml(text: &str) -> bool {
    let is_key = |key: &str| {
        let bare = |c: char| c.is_ascii_lowercase() || c == '_';
        !key.is_empty() && (key.chars().all(bare) || key.starts_with('"'))
    };
    let is_table = text.starts_with('[') && text.ends_with(']') && !text.contains(' ');
    is_table || text.split_once(" = ").is_some_and(|(key, _)| is_key(key))
}

/// The example with the lines in `shown` uncommented.
fn uncommented(sign: &str, shown: impl Fn(usize) -> bool) -> String {
    let lines = EXAMPLE.lines().enumerate().map(|(index, line)| match line.strip_prefix(sign) {
        Some(text) if shown(index) && is_toml(text) => text,
        Some(_) | None => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_is_a_config() {
    let config = parsed(EXAMPLE);
    assert_eq!(config.cluster.as_str(), "demo");
    assert_eq!(config.nodesets.len(), 1);
    assert!(!config.holds_secret());
}

#[test]
fn every_default_that_the_example_shows_is_the_parsers() {
    let text = uncommented(DEFAULT, |_| true);
    assert_eq!(parsed(&text), parsed(EXAMPLE));
    let count =
        EXAMPLE.lines().filter_map(|line| line.strip_prefix(DEFAULT)).filter(|text| is_toml(text));
    // Every key that has a default, and the tables around them: a change here is a change of the
    // config.
    assert_eq!(count.count(), 46, "lines that show a default");
}

/// Lines with the sample sign that stand together belong together.
fn sample_blocks() -> Vec<std::ops::Range<usize>> {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let is_sample = |index: usize| lines[index].starts_with(SAMPLE);
    let begins = (0..lines.len()).filter(|at| is_sample(*at) && (*at == 0 || !is_sample(at - 1)));
    begins
        .map(|begin| begin..(begin..lines.len()).find(|at| !is_sample(*at)).unwrap_or(lines.len()))
        .collect()
}

#[test]
fn every_sample_of_the_example_is_taken_by_the_parser_and_changes_something() {
    let plain = parsed(EXAMPLE);
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let blocks = sample_blocks();
    assert!(blocks.len() > 15, "{blocks:?}");
    for block in blocks {
        for line in &lines[block.clone()] {
            assert!(is_toml(&line[SAMPLE.len()..]), "{line}");
        }
        let tables: Vec<&str> = owning_table(&lines, &block).into_iter().collect();
        let text: String = lines
            .iter()
            .enumerate()
            .map(|(index, line)| match line.strip_prefix(SAMPLE) {
                Some(sample) if block.contains(&index) => format!("{sample}\n"),
                Some(_) | None if tables.contains(line) => format!("{}\n", &line[DEFAULT.len()..]),
                Some(_) | None => format!("{line}\n"),
            })
            .collect();
        assert_ne!(parsed(&text), plain, "{:?} changes nothing", &lines[block]);
    }
}

/// The commented line `# [table]` that a block of keys needs: the last table above it, if that is
/// commented and the block has no table of its own.
fn owning_table<'a>(lines: &[&'a str], block: &std::ops::Range<usize>) -> Option<&'a str> {
    if lines[block.start].starts_with("## [") {
        return None;
    }
    let is_table = |line: &&&str| {
        line.starts_with('[') || (line.starts_with("# [") && is_toml(&line[DEFAULT.len()..]))
    };
    let table = lines[..block.start].iter().rev().find(is_table)?;
    table.starts_with(DEFAULT).then_some(*table)
}

#[test]
fn every_key_that_the_parser_knows_is_in_the_example() {
    let toml: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix(SAMPLE).or(line.strip_prefix(DEFAULT)).unwrap_or(line))
        .filter(|line| is_toml(line))
        .collect();
    for table in TABLES {
        // The names of sites and nodesets are the example's own.
        // A site's own credential has the keys of [credential], which are shown there.
        let names = |path: &str| -> Vec<String> {
            let path = path.replace("site.NAME.credential", "credential");
            ["west", "htc", "hb", "spot", "shared"]
                .iter()
                .map(|name| path.replace("NAME", name))
                .collect()
        };
        for key in table.keys {
            let nested = match table.table {
                "" => (*key).to_owned(),
                path => format!("{path}.{key}"),
            };
            let is_table = TABLES.iter().any(|other| other.table == nested);
            let found =
                names(&nested).iter().zip(names(table.table)).any(
                    |(nested, table)| match is_table {
                        true => toml.iter().any(|line| line.starts_with(&format!("[{nested}"))),
                        false => keys_below(&toml, &table).contains(key),
                    },
                );
            assert!(found, "{key:?} of [{}] is not in the example", table.table);
        }
    }
}

/// The keys of every table with this name.
fn keys_below<'a>(toml: &[&'a str], table: &str) -> Vec<&'a str> {
    let mut keys = Vec::new();
    let mut current = "";
    for line in toml {
        match line.split_once(" = ") {
            Some((key, _)) if current == table => keys.push(key),
            Some(_) => {}
            None => current = line.trim_matches(['[', ']']),
        }
    }
    keys
}
