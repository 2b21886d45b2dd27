//! `Key=value Key=value …`, as `scontrol show … -o` writes it: values may hold blanks and `=`, keys
//! differ between versions, and nothing is quoted. Nothing here knows what a key means.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;

/// Nobody wants more of a record.
const WANTED_MAX: usize = 8;

/// How one kind of record is written.
pub(crate) struct Grammar {
    /// Keys whose value is free text (a person's words, a command line): it may look like further
    /// fields.
    pub(crate) free: &'static [&'static str],
    /// The keys that may follow a free text. Inside one, no other word begins a field.
    pub(crate) known: &'static [&'static str],
    /// The keys whose values somebody wants, at most [`WANTED_MAX`].
    pub(crate) wanted: &'static [&'static str],
}

/// Takes the records of one output apart, one after the other. slurmctld writes the same keys in
/// the same order for nearly all of them: so each is first compared with the one before.
pub(crate) struct Parser<'a> {
    grammar: &'static Grammar,
    /// The keys of the last record, in order, each once.
    keys: Vec<Key<'a>>,
    /// The same, where a record differs from the one before.
    seen: HashSet<&'a str, RandomState>,
}

/// A key, and what the grammar says of it.
struct Key<'a> {
    text: &'a str,
    is_free: bool,
    is_known: bool,
    wanted_at: Option<usize>,
}

/// What somebody wants of one line.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    wanted: &'static [&'static str],
    /// In the order of `wanted`; empty where it is missing.
    values: [&'a str; WANTED_MAX],
}

impl<'a> Parser<'a> {
    pub(crate) fn new(grammar: &'static Grammar) -> Parser<'a> {
        Parser { grammar, keys: Vec::new(), seen: HashSet::default() }
    }

    /// Takes `line` apart. Total: a word that belongs to no field belongs to the value before it.
    ///
    /// A key counts once. So a reason `disk full State=IDLE` stays a reason, whatever it says.
    pub(crate) fn parse(&mut self, line: &'a str) -> Record<'a> {
        let wanted = self.grammar.wanted;
        let mut record = Record { wanted, values: [""; WANTED_MAX] };
        let (mut count, mut is_as_before, mut is_free) = (0, true, false);
        // What the last key is wanted for, and where its value begins.
        let (mut wanted_at, mut value_at) = (None, 0);
        let mut word = Some(0);
        while let Some(at) = word {
            let begun = self.keys.get(count).filter(|key| is_as_before && key.begins(line, at));
            let may_begin = match begun {
                Some(key) => !is_free || key.is_known,
                None => key_of(&line[at..]).is_some_and(|key| {
                    let may_begin = !is_free || self.grammar.known.contains(&key);
                    may_begin && self.add(key, (count, &mut is_as_before))
                }),
            };
            if !may_begin {
                word = next_word(line, at);
                continue;
            }
            record.set(wanted_at, &line[value_at..at]);
            let key = &self.keys[count];
            (wanted_at, value_at) = (key.wanted_at, at + key.text.len() + 1);
            is_free = key.is_free;
            count += 1;
            word = next_word(line, value_at);
        }
        record.set(wanted_at, &line[value_at..]);
        record
    }

    /// Adds a key behind the first `count`, unless it is one of them; whether it is new. From here
    /// on the record is another than the one before.
    fn add(&mut self, key: &'a str, (count, is_as_before): (usize, &mut bool)) -> bool {
        if std::mem::replace(is_as_before, false) {
            self.keys.truncate(count);
            self.seen.clear();
            self.seen.extend(self.keys.iter().map(|key| key.text));
        }
        let is_new = self.seen.insert(key);
        if is_new {
            let Grammar { free, known, wanted } = self.grammar;
            self.keys.push(Key {
                text: key,
                is_free: free.contains(&key),
                is_known: known.contains(&key),
                wanted_at: wanted.iter().position(|one| *one == key),
            });
        }
        is_new
    }
}

impl Key<'_> {
    /// Whether this key and its `=` stand at a place of `line`.
    fn begins(&self, line: &str, at: usize) -> bool {
        let (rest, key) = (&line.as_bytes()[at..], self.text.as_bytes());
        rest.get(key.len()) == Some(&b'=') && rest.starts_with(key)
    }
}

impl<'a> Record<'a> {
    fn set(&mut self, wanted_at: Option<usize>, value: &'a str) {
        if let Some(at) = wanted_at {
            self.values[at] = value.trim();
        }
    }

    /// The value of `key`, which is one of those that are wanted; `None` when it is missing or says
    /// that there is none.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        let at = self.wanted.iter().position(|one| *one == key);
        let value = self.values[at.expect("only what is wanted is asked for")];
        let is_nothing = matches!(value, "" | "(null)" | "None" | "Unknown" | "N/A" | "n/a");
        (!is_nothing).then_some(value)
    }
}

/// The records of an output: each begins with a line that starts with `first_key=`. Other lines
/// continue the record before them (a newline in a reason or a comment); those before the first
/// record are returned apart.
pub(crate) fn split<'a>(output: &'a str, first_key: &str) -> (Vec<Cow<'a, str>>, Vec<&'a str>) {
    let mut before = Vec::new();
    let mut records: Vec<Cow<'a, str>> = Vec::new();
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let begins = line.strip_prefix(first_key).is_some_and(|rest| rest.starts_with('='));
        match records.last_mut() {
            _ if begins => records.push(Cow::Borrowed(line)),
            Some(record) => {
                let record = record.to_mut();
                record.push(' ');
                record.push_str(line);
            }
            None => before.push(line),
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

    const GRAMMAR: Grammar = Grammar {
        free: &["OS", "Comment", "Reason"],
        known: &["RealMemory", "Reason", "State"],
        wanted: &["OS", "RealMemory", "New", "State", "Comment", "Reason", "k99999"],
    };

    #[test]
    fn a_value_may_hold_blanks_and_equal_signs() {
        let line = "NodeName=n1 OS=Linux 6.18 #1 SMP a=b RealMemory=500 New=1 State=IDLE  \
            Comment=x=y State=DOWN z Reason=r";
        let mut parser = Parser::new(&GRAMMAR);
        let record = parser.parse(line);
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
        let mut parser = Parser::new(&GRAMMAR);
        let record = parser.parse(&line);
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
