//! The reasons that we give slurmctld for a node: `azslurm: <code>: <text>, next try <time>`.
//!
//! They are for people, who see them in `sinfo -R`, and for us: the code tells a node that we took
//! out from one that a person took out, which we never touch.

use azslurm_core::Timestamp;

use crate::node::split_stamp;

/// Longer reasons make `sinfo -R` and `scontrol show node` unreadable; Slurm itself has no limit.
pub const REASON_CHARS_MAX: usize = 200;

/// Codes are words of ours; a longer one is cut.
const CODE_CHARS_MAX: usize = 40;

const OURS: &str = "azslurm: ";
const NEXT_TRY: &str = ", next try ";

/// What slurmctld from 23.02 on appends when ResumeTimeout passes; 22.05 puts it in the place of
/// the reason.
const RESUME_TIMEOUT: &str = "ResumeTimeout reached";

/// What slurmctld puts between a reason and its own words behind it.
pub const BETWEEN: &str = " : ";

/// A reason of ours, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurReason {
    /// What happened, one word: what we match on.
    pub code: String,
    /// The same for people.
    pub text: String,
    /// When we shall try again.
    pub next_try: Option<Timestamp>,
    /// Whether slurmctld noted in the same reason that ResumeTimeout passed.
    pub is_resume_timeout: bool,
}

/// Makes a reason: one line of printable ASCII, at most [`REASON_CHARS_MAX`] long, without quotes
/// (scontrol strips them), backslashes, `=` (it would look like a field) or brackets (scontrol
/// appends `[user@time]`). A `code` that is not made of lower-case letters, digits and `-` is made
/// so; a long `text` is cut.
pub fn reason(code: &str, text: &str, until: Option<Timestamp>) -> String {
    let code: String = code.chars().map(code_char).take(CODE_CHARS_MAX).collect();
    let code = if code.is_empty() { "other" } else { &code };
    let tail = until.map(|until| format!("{NEXT_TRY}{until}")).unwrap_or_default();
    let text = match plain(text) {
        text if text.is_empty() => "no details".to_owned(),
        text => text,
    };
    let room = REASON_CHARS_MAX - OURS.len() - code.len() - ": ".len() - tail.len();
    // All of it is ASCII by now: bytes are characters.
    if text.len() <= room {
        format!("{OURS}{code}: {text}{tail}")
    } else {
        format!("{OURS}{code}: {}...{tail}", text[..room - "...".len()].trim_end())
    }
}

/// Takes a reason apart if we made it; `None` for anybody else's. What slurmctld and scontrol added
/// is put aside.
pub fn parse_ours(reason: &str) -> Option<OurReason> {
    let (text, _) = split_stamp(reason);
    let rest = text.strip_prefix(OURS)?;
    let timed_out = rest.strip_suffix(RESUME_TIMEOUT).and_then(|rest| rest.strip_suffix(BETWEEN));
    let (code, text) = timed_out.unwrap_or(rest).split_once(": ")?;
    let is_code = !code.is_empty() && code.chars().all(|c| code_char(c) == c);
    let (text, next_try) = match text.rsplit_once(NEXT_TRY) {
        Some((before, time)) => match time.parse::<jiff::Timestamp>() {
            Ok(time) => (before, Some(Timestamp::from_millis(time.as_millisecond()))),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    is_code.then(|| OurReason {
        code: code.to_owned(),
        text: text.to_owned(),
        next_try,
        is_resume_timeout: timed_out.is_some(),
    })
}

/// Takes a reason apart if all of it is ours: slurmctld has added nothing of its own.
pub fn parse_ours_alone(reason: &str) -> Option<OurReason> {
    let (text, _) = split_stamp(reason);
    parse_ours(text).filter(|_| !text.contains(BETWEEN))
}

fn code_char(c: char) -> char {
    match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => c,
        _ => '-',
    }
}

/// One line of printable ASCII without the characters that scontrol or our own reading take for
/// something else.
fn plain(text: &str) -> String {
    let replaced: String = text
        .chars()
        .map(|c| match c {
            '"' | '\'' | '`' | '\\' => ' ',
            '=' => ':',
            '[' | '{' => '(',
            ']' | '}' => ')',
            c if c.is_whitespace() || c.is_control() => ' ',
            c if c.is_ascii() => c,
            _ => '?',
        })
        .collect();
    let words: Vec<&str> = replaced.split(' ').filter(|word| !word.is_empty()).collect();
    // slurmctld puts " : " between a reason and its own: no text of ours may look like that, nor
    // when it stands behind our code or before slurmctld's words.
    // The same of the words before our next try: a time in a text of Azure's is none of ours.
    let line = words.join(" ").replace(" :", ":").replace(NEXT_TRY, " next try ");
    line.trim_start_matches([':', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_795_225_985_000);

    #[test]
    fn a_reason_reads_as_people_need_it_and_comes_back() {
        let made = reason("quota", "standardDSv5Family 10 of 10 used in westeurope", Some(TIME));
        assert_eq!(
            made,
            "azslurm: quota: standardDSv5Family 10 of 10 used in westeurope, \
             next try 2026-11-21T01:53:05Z"
        );
        let ours = parse_ours(&made).unwrap();
        assert_eq!((ours.code.as_str(), ours.next_try), ("quota", Some(TIME)));
        assert_eq!(ours.text, "standardDSv5Family 10 of 10 used in westeurope");
        assert!(!ours.is_resume_timeout);
    }

    #[test]
    fn what_slurmctld_and_scontrol_append_does_not_hide_the_code() {
        let made = reason("capacity", "no Standard_HB120rs_v3", Some(TIME));
        for (suffix, timeout) in [
            (" [root@2026-11-21T01:51:12]", false),
            (" : ResumeTimeout reached", true),
            (" : ResumeTimeout reached [slurm@2026-11-21T01:51:12]", true),
        ] {
            let ours = parse_ours(&format!("{made}{suffix}")).unwrap();
            assert_eq!((ours.code.as_str(), ours.next_try), ("capacity", Some(TIME)), "{suffix}");
            assert_eq!(ours.is_resume_timeout, timeout, "{suffix}");
        }
    }

    #[test]
    fn what_slurmctld_added_makes_a_reason_no_longer_ours_alone() {
        let made = reason("freeze", "event 1: x", None);
        assert_eq!(parse_ours_alone(&made).unwrap().code, "freeze");
        assert!(parse_ours_alone(&format!("{made} [root@2026-11-21T01:51:12]")).is_some());
        assert_eq!(parse_ours_alone(&format!("{made} : Kill task failed")), None);
        assert_eq!(parse_ours_alone("bad dimm"), None);
    }

    #[test]
    fn the_words_of_others_are_not_ours() {
        for other in [
            "",
            "broken",
            "ResumeTimeout reached",
            "azslurm",
            "azslurm: x",
            "azslurm: A b: c",
            "see azslurm: a: b",
        ] {
            assert_eq!(parse_ours(other), None, "{other:?}");
        }
    }

    #[test]
    fn no_text_of_ours_looks_like_words_that_slurmctld_added() {
        for (text, expected) in [
            ("quota : none left", "quota: none left"),
            ("a : : = b", "a::: b"),
            ("= b", "b"),
            (" : : ", "no details"),
            ("ends in :", "ends in:"),
        ] {
            assert_eq!(reason("azure", text, None), format!("azslurm: azure: {expected}"));
        }
    }

    #[test]
    fn a_time_in_a_text_is_not_taken_for_our_next_try() {
        let text = "quota, next try 2026-11-21T01:53:05Z";
        assert_eq!(parse_ours(&reason("quota", text, None)).unwrap().next_try, None);
        assert_eq!(parse_ours(&reason("quota", text, Some(TIME))).unwrap().next_try, Some(TIME));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_harmless_line(
            code in ".{0,60}",
            text in "(?s).{0,400}",
            timed in any::<bool>(),
        ) {
            let made = reason(&code, &text, timed.then_some(TIME));
            prop_assert!(made.len() <= REASON_CHARS_MAX, "{}", made.len());
            let is_harmless = |b| (b' '..=b'~').contains(&b) && !b"\"'`\\=[]".contains(&b);
            prop_assert!(made.bytes().all(is_harmless), "{}", made);
            let parts: Vec<_> = format!("{made} : x").split(" : ").map(str::to_owned).collect();
            prop_assert_eq!(parts, [made.as_str(), "x"]);
            let ours = parse_ours(&made).unwrap();
            prop_assert_eq!(ours.next_try.is_some(), timed);
            let line = format!("NodeName=n1 State=DOWN Reason={made} [root@2026-11-21T01:51:12]");
            let listing = crate::node::read(&line);
            prop_assert_eq!(listing.nodes[0].reason.as_deref(), Some(made.trim()));
        }
    }
}
