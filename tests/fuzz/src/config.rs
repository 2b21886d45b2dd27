//! `azslurm.toml`: whatever is wrong with it is said with its place, and no secret is shown.

use azslurm_core::config::{self, ConfigError};

/// Words of the config.
pub const WORDS: &[&str] = &[
    "[cluster]\n",
    "[credential]\n",
    "[site.west]\n",
    "[nodeset.n]\n",
    "[partition.p]\n",
    "[[mount]]\n",
    "client_secret = ",
    "tenant_id = \"hunter2\"\n",
    "client_id = [\"hunter2\"]\n",
    "type = \"hunter2\"\n",
    "nodes = \"n[0-65535]\"",
    "nodes = \"n[1-3]\"",
    "a.b.c.d = 1",
    " = ",
    "\"\"\"",
    "'''",
    "[[[[[[",
    "{{{{{{",
    "9223372036854775807",
    "-9223372036854775808",
    "0x7fffffffffffffff",
    "1e400",
    "nan",
    "1979-05-27T07:32:00Z",
    "\\u0000",
    "\u{feff}",
    "\r\n",
];

/// Stands in the corpus in the place of secrets.
const SECRET: &str = "hunter2";

/// The config.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match config::parse(&text) {
        Ok(_) => {
            let shared = config::without_credentials(&text).expect("it is TOML");
            assert!(config::parse(&shared).is_ok(), "without credentials it is a config too");
        }
        Err(errors) => {
            assert!(!errors.as_slice().is_empty());
            let lines: Vec<&str> = text.split('\n').collect();
            for error in errors.as_slice() {
                has_its_place(error, &lines);
            }
        }
    }
    if let Some(shared) = config::without_credentials(&text) {
        assert!(config::without_credentials(&shared).is_some(), "what is shared is TOML");
    }
    for key in ["cluster", "cluster.name", "site.west.credential.client_secret", ""] {
        let line = config::line_of(&text, key);
        assert!(line.is_none_or(|line| (1..=text.split('\n').count()).contains(&line)));
    }
}

/// The line and column are in the text, and the key is named.
fn has_its_place(error: &ConfigError, lines: &[&str]) {
    let line = lines.get(error.line.wrapping_sub(1));
    let line = line.unwrap_or_else(|| panic!("line {} of {}: {error}", error.line, lines.len()));
    assert!((1..=line.chars().count() + 1).contains(&error.column), "{error}: the column");
    let is_of_syntax = error.problem.starts_with("not TOML: ");
    assert!(!error.key.is_empty() || is_of_syntax, "an error without a key: {error}");
    assert!(!error.problem.is_empty());
    let is_of_a_credential = error.key.starts_with("credential.")
        || (error.key.starts_with("site.") && error.key.contains(".credential."));
    let shows = error.problem.contains(SECRET);
    assert!(!is_of_a_credential || !shows, "a secret is shown: {error}");
    let said = error.to_string();
    assert!(!said.contains('\n') || is_of_syntax, "more than a line: {said}");
}
