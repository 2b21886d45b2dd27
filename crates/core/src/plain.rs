//! Text from outside (Azure's words, slurmctld's, a user's) made harmless for the terminals and
//! files that people read: no escape sequences, no lines that look like ours, no direction of
//! writing turned round. It owns which characters those are; where text leaves us is the shells'.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is shown as itself wherever it stands. Not so what a terminal obeys (C0,
/// DEL, C1) and what changes how others are shown and is not seen itself: marks of direction
/// ("Trojan Source", CVE-2021-42574), spaces without width, the separators of lines that are no
/// newline, and the tags that spell invisible words.
pub fn is_plain(c: char) -> bool {
    let is_unseen = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !is_unseen
}

/// For a terminal: newlines and tabs stay, what is not plain is spelled (`\u{1b}`).
pub fn text(text: &str) -> Cow<'_, str> {
    spell(text, |out, c| match c {
        '\n' | '\t' => out.push(c),
        c => out.extend(c.escape_unicode()),
    })
}

/// For a file in which every line is an entry, behind its time: what follows a newline is
/// indented, so that nobody's text begins an entry.
pub fn entry(text: &str) -> Cow<'_, str> {
    spell(text, |out, c| match c {
        '\n' => out.push_str("\n\t"),
        '\t' => out.push(c),
        c => out.extend(c.escape_unicode()),
    })
}

/// For JSON that is printed: there such characters stand in strings alone, where they may be
/// spelled.
pub fn json(json: &str) -> Cow<'_, str> {
    spell(json, |out, c| match c {
        '\n' | '\t' => out.push(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _written = write!(out, "\\u{unit:04x}");
            }
        }
    })
}

fn spell(text: &str, spell: impl Fn(&mut String, char)) -> Cow<'_, str> {
    // Nearly all texts, and every line of a log is one: bytes are looked at much faster.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let Some(first) = text.find(|c| !is_plain(c)) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_plain(c) { out.push(c) } else { spell(&mut out, c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled() {
        for (bad, shown) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("over\rwritten", "over\\u{d}written"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("a\u{200b}b\u{7f}", "a\\u{200b}b\\u{7f}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(text(bad), shown);
            assert_eq!(entry(bad), shown);
        }
    }

    #[test]
    fn what_people_write_stays() {
        for good in ["", "a b", "é ß 漢字 🙂 … «x»", "a\tb"] {
            assert!(matches!(text(good), Cow::Borrowed(_)) || good.contains('\t'));
            assert_eq!(text(good), good);
            assert_eq!(entry(good), good);
        }
        assert_eq!(text("a\nb"), "a\nb");
    }

    #[test]
    fn nobodys_text_begins_an_entry() {
        let forged = "refused\n2026-11-27T06:00:00Z  INFO all is well";
        assert_eq!(entry(forged), "refused\n\t2026-11-27T06:00:00Z  INFO all is well");
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_left_that_is_not_plain(any in ".*", more in "[\\x00-\\x9f]*") {
            let any = format!("{any}{more}");
            let is_shown = |c: char| is_plain(c) || c == '\n' || c == '\t';
            prop_assert!(text(&any).chars().all(is_shown));
            prop_assert!(entry(&any).lines().skip(1).all(|line| line.starts_with('\t')));
            let written = serde_json::to_string(&any).unwrap();
            let shown = json(&written);
            prop_assert!(shown.chars().all(is_plain));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), any);
        }
    }
}
