//! `Key=value Key=value …`, as `scontrol show … -o` writes it: values may hold blanks and `=`, keys
//! differ between versions, and nothing is quoted. Nothing here knows what a key means.

use std::collections::HashSet;

use foldhash::fast::RandomState;

/// Room for the fields of a node or a job.
const FIELDS_USUAL: usize = 64;

/// One line, taken apart.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

/// How one kind of record is written.
pub(crate) struct Grammar {
    /// Keys whose value is free text (a person's words, a command line): it may look like further
    /// fields.
    pub(crate) free: &'static [&'static str],
    /// The keys that may follow a free text. Inside one, no other word begins a field.
    pub(crate) known: &'static [&'static str],
}

impl<'a> Record<'a> {
    /// Takes `line` apart. Total: a word that belongs to no field belongs to the value before it.
    ///
    /// A key counts once. So a reason `disk full State=IDLE` stays a reason, whatever it says.
    pub(crate) fn parse(line: &'a str, grammar: &Grammar) -> Record<'a> {
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(FIELDS_USUAL);
        let mut seen: HashSet<&str, RandomState> =
            HashSet::with_capacity_and_hasher(FIELDS_USUAL, RandomState::default());
        let mut value_at = 0;
        let mut is_free = false;
        let mut word = Some(0);
        while let Some(at) = word {
            word = next_word(line, at);
            let Some(key) = key_of(&line[at..]) else { continue };
            let may_begin = !is_free || grammar.known.contains(&key);
            if may_begin && seen.insert(key) {
                if let Some((_, value)) = fields.last_mut() {
                    *value = line[value_at..at].trim();
                }
                value_at = at + key.len() + 1;
                is_free = grammar.free.contains(&key);
                fields.push((key, ""));
            }
        }
        if let Some((_, value)) = fields.last_mut() {
            *value = line[value_at..].trim();
        }
        Record { fields }
    }

    /// The value of `key`; `None` when it is missing or says that there is none.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        let (_, value) = self.fields.iter().find(|(seen, _)| *seen == key)?;
        let is_nothing = matches!(*value, "" | "(null)" | "None" | "Unknown" | "N/A" | "n/a");
        (!is_nothing).then_some(*value)
    }
}

/// The records of an output: each begins with a line that starts with `first_key=`. Other lines
/// continue the record before them (a newline in a reason or a comment); those before the first
/// record are returned apart.
pub(crate) fn split(output: &str, first_key: &str) -> (Vec<String>, Vec<String>) {
    let mut before = Vec::new();
    let mut records: Vec<String> = Vec::new();
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let begins = line.strip_prefix(first_key).is_some_and(|rest| rest.starts_with('='));
        match records.last_mut() {
            _ if begins => records.push(line.to_owned()),
            Some(record) => {
                record.push(' ');
                record.push_str(line);
            }
            None => before.push(line.to_owned()),
        }
    }
    (records, before)
}

/// A time of Slurm's, which [`crate::command`] makes scontrol print in UTC.
pub(crate) fn timestamp(text: &str) -> Option<azslurm_core::Timestamp> {
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(azslurm_core::Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// Where the word after the one at `at` begins.
fn next_word(line: &str, at: usize) -> Option<usize> {
    let length = line.as_bytes()[at..].iter().position(|b| *b == b' ')?;
    Some(at + length + 1)
}

/// `Key` of what begins with `Key=value`. Keys of Slurm's: `CPUs/Task`, `ReqB:S:C:T`,
/// `NtasksPerN:B:S:C`, `Socks/Node`, `MCS_label`.
fn key_of(text: &str) -> Option<&str> {
    let is_of_key = |b: &u8| b.is_ascii_alphanumeric() || b"_/:.&-".contains(b);
    let length = text.bytes().take_while(|b| is_of_key(b)).count();
    let key =
        text.get(..length).filter(|key| key.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    text[length..].starts_with('=').then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAMMAR: Grammar =
        Grammar { free: &["OS", "Comment", "Reason"], known: &["RealMemory", "Reason", "State"] };

    #[test]
    fn a_value_may_hold_blanks_and_equal_signs() {
        let line = "NodeName=n1 OS=Linux 6.18 #1 SMP a=b RealMemory=500 New=1 State=IDLE  \
            Comment=x=y State=DOWN z Reason=r";
        let record = Record::parse(line, &GRAMMAR);
        assert_eq!(record.get("OS"), Some("Linux 6.18 #1 SMP a=b"));
        assert_eq!(record.get("RealMemory"), Some("500"));
        assert_eq!(record.get("New"), Some("1"));
        assert_eq!(record.get("State"), Some("IDLE"));
        assert_eq!(record.get("Comment"), Some("x=y State=DOWN z"));
        assert_eq!(record.get("Reason"), Some("r"));
    }

    /// Compared each with each, the keys of a line of this length would take a minute.
    #[test]
    fn a_line_of_a_hundred_thousand_fields_is_taken_apart() {
        let fields: String = (0..100_000).map(|number| format!(" k{number}={number}")).collect();
        let line = format!("NodeName=n1{fields} State=IDLE");
        let record = Record::parse(&line, &GRAMMAR);
        assert_eq!((record.get("k99999"), record.get("State")), (Some("99999"), Some("IDLE")));
    }

    #[test]
    fn a_newline_in_a_reason_does_not_make_a_record() {
        let (records, before) =
            split("odd\nNodeName=a Reason=one\ntwo\n\nNodeName=b\nNodeNames=c\n", "NodeName");
        assert_eq!(records, ["NodeName=a Reason=one two", "NodeName=b NodeNames=c"]);
        assert_eq!(before, ["odd"]);
    }

    #[test]
    fn times_are_read_as_utc_and_words_for_never_are_not_times() {
        let time = timestamp("2026-11-21T01:53:05").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T01:53:05Z");
        assert_eq!(timestamp("Unknown"), None);
        assert_eq!(timestamp(""), None);
    }
}
