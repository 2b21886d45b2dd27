//! Owns: the rules on a file's text and tokens: length, columns, names, comments, forbidden words.
//! Must never look at the syntax tree.

use std::collections::BTreeSet;

use crate::source::{Source, Where};
use crate::{COLUMNS_MAX, FILE_LINES_MAX, MAIN_LINES_MAX, SLURMCTLD_MAIN_LINES_MAX, Violation};

/// Folders whose `main.rs` slurmctld starts.
const SLURMCTLD_PROGRAMS: [&str; 3] = ["resume/", "suspend/", "resume_fail/"];

/// Names that say nothing about what is inside.
const NAMES_THAT_SAY_NOTHING: [&str; 10] = [
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "managers", "handler",
    "handlers",
];

/// Everything in `source` that breaks a rule on text.
pub fn rules(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |line, rule, text: String| {
        found.push(Violation { path: source.path.clone(), line, rule, text });
    };
    file_length(source, &mut report);
    file_name(source, &mut report);
    columns(source, &mut report);
    opening(source, &mut report);
    forbidden_words(source, &mut report);
    reasons(source, &mut report);
    unfinished(source, &mut report);
    found
}

type Report<'a> = dyn FnMut(usize, &'static str, String) + 'a;

fn file_length(source: &Source, report: &mut Report) {
    let is_own = |line: &usize| !source.test_lines.iter().any(|test| test.contains(line));
    let lines = code_lines(source).into_iter().filter(is_own).count();
    let is_program = |folder: &&str| source.path == format!("{folder}src/main.rs");
    let max = if SLURMCTLD_PROGRAMS.iter().any(is_program) {
        SLURMCTLD_MAIN_LINES_MAX
    } else if source.path.ends_with("src/main.rs") {
        MAIN_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    if lines > max {
        report(1, "file length", format!("{lines} lines of code, at most {max}"));
    }
}

/// Lines that hold code: a comment, a blank line and a blank line of a string are none.
fn code_lines(source: &Source) -> BTreeSet<usize> {
    let lines: Vec<&str> = source.text.lines().collect();
    let of_token = |token: &crate::source::Token| token.line()..=token.span.end().line;
    let is_blank = |line: &usize| lines.get(*line - 1).is_none_or(|text| text.trim().is_empty());
    source.tokens.iter().flat_map(of_token).filter(|line| !is_blank(line)).collect()
}

fn file_name(source: &Source, report: &mut Report) {
    for part in source.path.split('/') {
        let stem = part.trim_end_matches(".rs");
        if NAMES_THAT_SAY_NOTHING.contains(&stem) {
            report(1, "name", format!("`{stem}` does not say what is inside"));
        }
    }
}

fn columns(source: &Source, report: &mut Report) {
    for (index, line) in source.text.lines().enumerate() {
        // An address cannot be broken; the rest of its line can.
        let addresses = line.split_whitespace().filter(|word| word.contains("://"));
        let unbreakable: usize = addresses.map(|word| word.chars().count()).sum();
        let width = line.chars().count();
        if width - unbreakable > COLUMNS_MAX {
            report(index + 1, "columns", format!("{width} columns, at most {COLUMNS_MAX}"));
        }
    }
}

fn opening(source: &Source, report: &mut Report) {
    if !source.text.trim_start().starts_with("//!") {
        let text = "does not open with `//!`: what it owns, what it must never do".to_owned();
        report(1, "opening", text);
    }
}

fn forbidden_words(source: &Source, report: &mut Report) {
    for name in ["todo", "unimplemented", "dbg"] {
        for open in ["(", "[", "{"] {
            for line in source.find(&[name, "!", open], Where::Everywhere) {
                report(line, "forbidden", format!("`{name}!`"));
            }
        }
    }
    for line in source.find(&[".", "unwrap", "(", ")"], Where::OutsideTests) {
        let text =
            "`unwrap()` outside tests: use `expect` with the reason it cannot fail".to_owned();
        report(line, "forbidden", text);
    }
}

/// `#[allow(lint)]` and `#[expect(lint)]` without `reason = "…"`.
fn reasons(source: &Source, report: &mut Report) {
    let text = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
    for start in (0..source.tokens.len()).filter(|at| text(*at) == "#") {
        let open = if text(start + 1) == "!" { start + 2 } else { start + 1 };
        if text(open) != "[" {
            continue;
        }
        let close = source.closing(open);
        let silences = |at: &usize| matches!(text(*at), "allow" | "expect") && text(*at + 1) == "(";
        let has_reason = (open..close).any(|at| text(at) == "reason");
        if let Some(at) = (open..close).find(silences).filter(|_| !has_reason) {
            let line = source.tokens[at].line();
            report(line, "reason", format!("`{}` without `reason = …`", text(at)));
        }
    }
}

fn unfinished(source: &Source, report: &mut Report) {
    for (index, comment) in comments(source).iter().enumerate() {
        let is_mark = |word: &&str| matches!(*word, "TODO" | "FIXME" | "XXX");
        let mut words = comment.split(|c: char| !c.is_alphanumeric());
        let Some(mark) = words.find(is_mark) else { continue };
        let names_issue =
            comment.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if !names_issue {
            report(index + 1, "unfinished", format!("`{mark}` without the number of an issue"));
        }
    }
}

/// Each line without its code.
fn comments(source: &Source) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = source.text.lines().map(|l| l.chars().collect()).collect();
    for token in &source.tokens {
        let (start, end) = (token.span.start(), token.span.end());
        for number in start.line..=end.line {
            let Some(line) = lines.get_mut(number - 1) else { continue };
            let from = if number == start.line { start.column } else { 0 };
            let to = if number == end.line { end.column } else { line.len() };
            let to = to.min(line.len());
            line[from.min(to)..to].fill(' ');
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}
