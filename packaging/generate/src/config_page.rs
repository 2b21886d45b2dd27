//! azslurm.toml(5), of the documented example that `azslurm-conf example` prints: a test of
//! `slurm-conf/` compares that with the defaults, so the page cannot say another.

use azslurm_conf::example::EXAMPLE;

/// What frames a title in the example.
const RULE: &str = "# -----";

const HEAD: &str = ".SH NAME
azslurm.toml \\- the one config of azslurm
.SH SYNOPSIS
.B /etc/azslurm/azslurm.toml
.SH DESCRIPTION
This page is the example that
.B azslurm-conf example
prints: every key, its default and what it is for. A first config is made by
.BR azslurm-conf-init (8),
and each change is checked by
.BR azslurm-conf-check (8).
";

/// The page.
pub fn config_page(version: &str) -> Vec<u8> {
    let mut text = format!(".TH AZSLURM.TOML 5 \"\" \"azslurm {version}\" \"azslurm\"\n{HEAD}");
    // A title stands between two rules: what is between rules is text and title in turn.
    let mut parts = vec![Vec::new()];
    for line in EXAMPLE.lines() {
        match line.starts_with(RULE) {
            true => parts.push(Vec::new()),
            false => parts.last_mut().expect("it begins with one").push(line),
        }
    }
    for (at, part) in parts.iter().enumerate() {
        match (at % 2, part.as_slice()) {
            (1, [title]) => text += &format!(".SH {}\n", escaped(title_of(title))),
            _text => add_block(&mut text, part),
        }
    }
    text += ".SH SEE ALSO\n.BR azslurm-conf (8),\n.BR azslurm-sync (8)\n";
    text.into_bytes()
}

fn title_of(line: &str) -> &str {
    line.trim_start_matches("# ").trim_end_matches('.')
}

/// Lines as they are: their marks say what is needed and what is a default.
fn add_block(text: &mut String, block: &[&str]) {
    let is_empty = |line: &&&str| line.is_empty();
    let begin = block.iter().take_while(is_empty).count();
    let end = block.len() - block.iter().rev().take_while(is_empty).count();
    if begin >= end {
        return;
    }
    *text += ".PP\n.nf\n";
    for line in &block[begin..end] {
        *text += &escaped(line);
        text.push('\n');
    }
    *text += ".fi\n";
}

/// A line that roff takes for nothing but text.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_example_but_rules_and_titles_is_in_the_page() {
        let page = String::from_utf8(config_page("1")).expect("text");
        for line in EXAMPLE.lines().filter(|line| line.contains(" = ")) {
            assert!(page.contains(&format!("\n{}\n", escaped(line))), "{line}");
        }
        assert!(!page.contains("\\-\\-\\-\\-\\-"), "a rule is left");
        assert!(page.contains("\n.SH The ledger"), "a title is missing");
    }

    #[test]
    fn a_line_that_roff_would_obey_is_text() {
        assert_eq!(escaped(".SH x-y"), "\\&.SH x\\-y");
        assert_eq!(escaped("a\\b"), "a\\eb");
    }
}
