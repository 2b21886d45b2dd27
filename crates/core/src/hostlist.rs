//! Slurm's host lists, both ways: `n[1-3,7]` to names and names to `n[1-3,7]`.
//!
//! The grammar (Slurm's `src/common/hostlist.c`, one dimension; checked against the answers of
//! three versions of `scontrol` in `tests/hostlist_slurm.rs`):
//!
//! ```text
//! list   := token (separator token)*     separator: ',' blank tab newline, outside brackets
//! token  := text | text? ('[' range (',' range)* ']' text?)+
//! range  := digits | digits '-' digits   never downwards; zeros of the lower bound are the width
//! ```
//!
//! Where Slurm's versions differ the newer one holds. Where Slurm guesses (`n[1-]`, `n[+1]`, a
//! bracket that is never closed, a number that does not fit, a name that no node can have) this
//! module refuses: a guess here would create or delete the VM of another node. The test names every
//! such difference with its reason.

use std::fmt;

use crate::NodeName;
use crate::name::NameError;

mod fold;

pub use fold::{fold, fold_set, fold_sorted, sorted_order};

/// Slurm's own limit of one range (`MAX_RANGE` of hostlist.c): `n[1-65536]` is taken, `n[1-65537]`
/// refused.
pub const RANGE_LENGTH_MAX: u64 = 65_536;

/// The greatest number of names in one list. Ten times the 100,000 nodes that we mean to serve, and
/// about 60 MB of names: a mistyped list is an error message and not an exhausted controller.
pub const NAMES_MAX: usize = 1_000_000;

/// No node name is longer, so no number in one is.
const DIGITS_MAX: usize = 253;

/// How much of the offending text an error shows.
const FOUND_MAX: usize = 80;

/// Digits of the largest number.
const DIGITS_OF_U64: usize = 20;
/// Room for a name; for a longer one it grows.
const NAME_LENGTH_USUAL: usize = 24;

/// Why a host list is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host list, character {}: {found:?} {kind}", at + 1)]
pub struct HostlistError {
    /// What is wrong.
    pub kind: HostlistErrorKind,
    /// Byte offset in the list where `found` begins.
    pub at: usize,
    /// The text that is wrong, cut to 80 characters.
    pub found: String,
}

/// What is wrong with a host list. `Display` continues a sentence that begins with the offending
/// text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostlistErrorKind {
    /// `n[1`
    UnclosedBracket,
    /// `n1]`
    StrayBracket,
    /// `n[[1]]`
    NestedBracket,
    /// `n[]`, `n[1,,2]`
    EmptyRange,
    /// `n[a]`, `n[1-]`, `n[1-2-3]`, `n[ 1]`
    NotARange,
    /// `n[3-1]`
    Descending,
    /// More than [`RANGE_LENGTH_MAX`] in one range.
    RangeTooLong,
    /// Beyond 64 bits: Slurm would take another number.
    NumberTooLarge,
    /// More names than so many, which is [`NAMES_MAX`] or less.
    TooManyNames(usize),
    /// Not a node name; the rule it breaks.
    BadName(&'static str),
}

impl fmt::Display for HostlistErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnclosedBracket => f.write_str("opens a bracket that is never closed"),
            Self::StrayBracket => f.write_str("closes a bracket that was never opened"),
            Self::NestedBracket => f.write_str("opens a bracket inside a bracket"),
            Self::EmptyRange => {
                f.write_str("holds an empty range: write a number or number-number")
            }
            Self::NotARange => f.write_str("is neither a number nor number-number"),
            Self::Descending => f.write_str("runs downwards: write the lower number first"),
            Self::RangeTooLong => {
                write!(f, "is longer than Slurm's {RANGE_LENGTH_MAX} numbers per range: split it")
            }
            Self::NumberTooLarge => write!(f, "holds a number greater than {}", u64::MAX),
            Self::TooManyNames(most) => write!(f, "brings the list over {most} names"),
            Self::BadName(rule) => write!(f, "is not a node name: {rule}"),
        }
    }
}

fn refused(kind: HostlistErrorKind, at: usize, found: &str) -> HostlistError {
    HostlistError { kind, at, found: found.chars().take(FOUND_MAX).collect() }
}

/// The names of a host list, as `scontrol show hostnames` gives them: in its order, duplicates
/// kept. An empty list is no error and has no names.
///
/// With several brackets the last varies fastest, then the first, the second and so on: Slurm's
/// order, which nobody should rely on.
pub fn expand(text: &str) -> Result<Vec<NodeName>, HostlistError> {
    expand_within(text, NAMES_MAX)
}

/// As [`expand`], for a list that may have fewer names than [`NAMES_MAX`]: one of many lists that
/// come together.
pub fn expand_within(text: &str, names_max: usize) -> Result<Vec<NodeName>, HostlistError> {
    let names_max = names_max.min(NAMES_MAX);
    let mut read = Vec::new();
    let mut total = 0usize;
    for (at, token) in tokens(text)? {
        let parts = parts_of(at, token)?;
        let count = parts.iter().try_fold(1usize, |count, part| count.checked_mul(part.len()));
        let sum = count.and_then(|count| count.checked_add(total));
        match (count, sum) {
            (Some(count), Some(sum)) if sum <= names_max => {
                total = sum;
                read.push((at, parts, count));
            }
            _ => return Err(refused(HostlistErrorKind::TooManyNames(names_max), at, token)),
        }
    }
    let mut names = Vec::with_capacity(total);
    for (at, parts, count) in &read {
        add(&mut names, *at, (parts, *count))?;
    }
    Ok(names)
}

/// Adds the names of a token, which begins at `at`.
fn add(
    names: &mut Vec<NodeName>,
    at: usize,
    (parts, count): (&[Part<'_>], usize),
) -> Result<(), HostlistError> {
    let is_sound = is_sound(parts);
    combine(parts, count, |name| {
        // What is shorter than the longest number holds none that is too large.
        let is_good = is_sound && name.len() < DIGITS_OF_U64;
        names.push(if is_good { NodeName::trusted(name) } else { node_name(at, name)? });
        Ok(())
    })
}

/// Cuts a list at its separators and checks that brackets come in pairs.
fn tokens(text: &str) -> Result<Vec<(usize, &str)>, HostlistError> {
    let mut tokens = Vec::new();
    let mut begin = 0;
    let mut bracket = None;
    for (at, byte) in text.bytes().enumerate() {
        match (byte, bracket) {
            (b'[', None) => bracket = Some(at),
            (b']', Some(_)) => bracket = None,
            (b'[', Some(open)) => {
                let found = &text[open..=at];
                return Err(refused(HostlistErrorKind::NestedBracket, open, found));
            }
            (b']', None) => {
                return Err(refused(HostlistErrorKind::StrayBracket, begin, &text[begin..=at]));
            }
            (b',' | b' ' | b'\t' | b'\n', None) => {
                tokens.push((begin, &text[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    if let Some(open) = bracket {
        return Err(refused(HostlistErrorKind::UnclosedBracket, begin, &text[begin..])
            .moved_if_long(open, text));
    }
    tokens.push((begin, &text[begin..]));
    tokens.retain(|(_, token)| !token.is_empty());
    Ok(tokens)
}

impl HostlistError {
    /// Shows the text from `at` on when what is wrong would be beyond the part that is shown.
    fn moved_if_long(self, at: usize, text: &str) -> Self {
        if at - self.at < FOUND_MAX { self } else { refused(self.kind, at, &text[at..]) }
    }
}

/// A piece of a token: text as it is, or the numbers of a bracket.
enum Part<'a> {
    Text(&'a str),
    Numbers(Vec<Range>),
}

/// `lo` to `hi`, printed with at least `width` digits.
struct Range {
    lo: u64,
    hi: u64,
    width: usize,
}

impl Range {
    fn len(&self) -> usize {
        usize::try_from(self.hi - self.lo).expect("a range holds at most 65536 numbers") + 1
    }
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Text(_) => 1,
            Part::Numbers(ranges) => ranges.iter().map(Range::len).sum(),
        }
    }
}

fn parts_of(at: usize, token: &str) -> Result<Vec<Part<'_>>, HostlistError> {
    let mut parts = Vec::new();
    let mut done = 0;
    while let Some(open) = token[done..].find('[').map(|found| done + found) {
        let close = open + token[open..].find(']').expect("tokens() has checked the brackets");
        if open > done {
            parts.push(Part::Text(&token[done..open]));
        }
        parts.push(Part::Numbers(ranges_of(at + open, &token[open..=close])?));
        done = close + 1;
    }
    if done < token.len() {
        parts.push(Part::Text(&token[done..]));
    }
    Ok(parts)
}

/// The ranges between one pair of brackets (`bracket` includes both).
fn ranges_of(at: usize, bracket: &str) -> Result<Vec<Range>, HostlistError> {
    let mut ranges = Vec::new();
    let mut begin = at + 1;
    for text in bracket[1..bracket.len() - 1].split(',') {
        if text.is_empty() {
            return Err(refused(HostlistErrorKind::EmptyRange, at, bracket));
        }
        ranges.push(range_of(text).map_err(|kind| refused(kind, begin, text))?);
        begin += text.len() + 1;
    }
    Ok(ranges)
}

fn range_of(text: &str) -> Result<Range, HostlistErrorKind> {
    let (lo_text, hi_text) = text.split_once('-').unwrap_or((text, text));
    let (lo, hi) = (number_of(lo_text)?, number_of(hi_text)?);
    if lo > hi {
        return Err(HostlistErrorKind::Descending);
    }
    if hi - lo >= RANGE_LENGTH_MAX {
        return Err(HostlistErrorKind::RangeTooLong);
    }
    Ok(Range { lo, hi, width: lo_text.len() })
}

/// Digits only: no sign, no blank, no other base.
fn number_of(text: &str) -> Result<u64, HostlistErrorKind> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostlistErrorKind::NotARange);
    }
    if text.len() > DIGITS_MAX {
        return Err(HostlistErrorKind::NumberTooLarge);
    }
    text.parse().map_err(|_| HostlistErrorKind::NumberTooLarge)
}

/// Whether all names of a token that are not too long are node names, whatever their numbers are.
fn is_sound(parts: &[Part<'_>]) -> bool {
    parts.iter().enumerate().all(|(index, part)| match part {
        Part::Text(text) if index == 0 => text.parse::<NodeName>().is_ok(),
        // Behind a digit every character may stand that may stand inside.
        Part::Text(text) => format!("0{text}").parse::<NodeName>().is_ok(),
        Part::Numbers(_) => true,
    })
}

/// Calls `each` with every combination, in Slurm's order.
fn combine(
    parts: &[Part<'_>],
    count: usize,
    mut each: impl FnMut(&str) -> Result<(), HostlistError>,
) -> Result<(), HostlistError> {
    let mut wheels: Vec<Wheel<'_>> = parts.iter().map(Wheel::at_first).collect();
    let brackets = (0..parts.len()).filter(|part| matches!(parts[*part], Part::Numbers(_)));
    let mut turning_order: Vec<usize> = brackets.collect();
    let turns = usize::from(turning_order.len() > 1);
    turning_order.rotate_right(turns);
    let mut name = String::with_capacity(NAME_LENGTH_USUAL);
    // Where each part begins in the name, and the first part that is another than in the last one:
    // with ten thousand names at each start of a program, what stays is not written again.
    let mut begins = vec![0; parts.len()];
    let (mut changed, mut turned) = (0, Turned::Anew);
    for _ in 0..count {
        match (&turned, wheels.last()) {
            (Turned::AtEnd(digits), Some(wheel)) if changed + 1 == parts.len() => {
                wheel.write_end(&mut name, *digits);
            }
            _ => {
                name.truncate(begins[changed]);
                for (wheel, begin) in wheels.iter().zip(&mut begins).skip(changed) {
                    *begin = name.len();
                    wheel.write(&mut name);
                }
            }
        }
        each(&name)?;
        // A token has one part at least.
        changed = parts.len() - 1;
        for part in &turning_order {
            changed = changed.min(*part);
            turned = wheels[*part].turn();
            if turned != Turned::Anew {
                break;
            }
        }
    }
    Ok(())
}

/// What became of a wheel that was turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turned {
    /// It begins anew.
    Anew,
    /// It shows another number.
    Whole,
    /// It shows a number of which only so many digits at the end are others.
    AtEnd(usize),
}

/// A part and where it stands.
enum Wheel<'a> {
    Text(&'a str),
    Numbers { ranges: &'a [Range], at: usize, number: u64, digits: Digits },
}

impl<'a> Wheel<'a> {
    fn at_first(part: &'a Part<'_>) -> Wheel<'a> {
        match part {
            Part::Text(text) => Wheel::Text(text),
            Part::Numbers(ranges) => {
                // A bracket holds one range at least.
                let number = ranges[0].lo;
                Wheel::Numbers { ranges, at: 0, number, digits: Digits::of(number) }
            }
        }
    }

    /// To the next number.
    fn turn(&mut self) -> Turned {
        let Wheel::Numbers { ranges, at, number, digits } = self else { return Turned::Anew };
        if *number < ranges[*at].hi {
            *number += 1;
            return digits.count().map_or(Turned::Whole, Turned::AtEnd);
        }
        *at = (*at + 1) % ranges.len();
        *number = ranges[*at].lo;
        *digits = Digits::of(*number);
        if *at == 0 { Turned::Anew } else { Turned::Whole }
    }

    /// The last `count` digits anew, behind a name that ends with this part.
    fn write_end(&self, name: &mut String, count: usize) {
        if let Wheel::Numbers { digits, .. } = self {
            name.truncate(name.len() - count);
            name.push_str(digits.text(DIGITS_OF_U64 - count));
        }
    }

    fn write(&self, name: &mut String) {
        match self {
            Wheel::Text(text) => name.push_str(text),
            Wheel::Numbers { ranges, at, digits, .. } => digits.write(name, ranges[*at].width),
        }
    }
}

/// A number as it is written. To count in digits takes a quarter of the time of writing each number
/// anew.
struct Digits {
    text: [u8; DIGITS_OF_U64],
    begin: usize,
}

impl Digits {
    fn of(number: u64) -> Digits {
        let mut digits = Digits { text: [b'0'; DIGITS_OF_U64], begin: DIGITS_OF_U64 };
        let mut rest = number;
        loop {
            digits.begin -= 1;
            digits.text[digits.begin] =
                b'0' + u8::try_from(rest % 10).expect("a digit is below ten");
            rest /= 10;
            if rest == 0 {
                return digits;
            }
        }
    }

    /// The next number; there is one. How many digits at the end are others now; `None`: it is
    /// longer.
    fn count(&mut self) -> Option<usize> {
        let mut at = DIGITS_OF_U64 - 1;
        while self.text[at] == b'9' {
            self.text[at] = b'0';
            at -= 1;
        }
        self.text[at] += 1;
        let is_longer = at < self.begin;
        self.begin = self.begin.min(at);
        (!is_longer).then_some(DIGITS_OF_U64 - at)
    }

    /// The digits from one on.
    fn text(&self, begin: usize) -> &str {
        std::str::from_utf8(&self.text[begin..]).expect("digits are ASCII")
    }

    /// With at least `width` digits.
    fn write(&self, text: &mut String, width: usize) {
        (DIGITS_OF_U64 - self.begin..width).for_each(|_| text.push('0'));
        text.push_str(self.text(self.begin));
    }
}

fn node_name(at: usize, text: &str) -> Result<NodeName, HostlistError> {
    let name: NodeName = text.parse().map_err(|error: NameError| HostlistError {
        kind: HostlistErrorKind::BadName(error.rule),
        at,
        found: error.found,
    })?;
    // Slurm reads the digits at the end as a number and saturates: it would mean another node.
    let digits = fold::digits_at_end(name.as_str());
    let may_overflow = digits.len() >= DIGITS_OF_U64;
    if may_overflow && digits.parse::<u64>().is_err_and(|e| is_overflow(&e)) {
        return Err(refused(HostlistErrorKind::NumberTooLarge, at, name.as_str()));
    }
    Ok(name)
}

fn is_overflow(error: &std::num::ParseIntError) -> bool {
    *error.kind() == std::num::IntErrorKind::PosOverflow
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        expand(list).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_expands_in_slurms_order_with_zeros_and_duplicates_kept() {
        assert_eq!(names("n[08-11],m1 n[1,1]"), ["n08", "n09", "n10", "n11", "m1", "n1", "n1"]);
        assert_eq!(
            names("a[1-2][3-4][5-6]"),
            ["a135", "a136", "a235", "a236", "a145", "a146", "a245", "a246"]
        );
        // A carry, with more digits and without, at the end of a name and inside.
        assert_eq!(names("n[198-201,99-100]"), ["n198", "n199", "n200", "n201", "n99", "n100"]);
        assert_eq!(names("r[09-10]-n[19-20]x"), ["r09-n19x", "r09-n20x", "r10-n19x", "r10-n20x"]);
        assert!(expand(" ,\t\n").unwrap().is_empty());
    }

    #[test]
    fn an_error_names_the_place_and_the_text() {
        let error = expand("ok1,n[1-3,9-7]").unwrap_err();
        assert_eq!((error.at, error.found.as_str()), (10, "9-7"));
        assert_eq!(
            error.to_string(),
            "host list, character 11: \"9-7\" runs downwards: write the lower number first"
        );
        let kinds = [
            ("n[1", HostlistErrorKind::UnclosedBracket),
            ("n1]", HostlistErrorKind::StrayBracket),
            ("n[[1]]", HostlistErrorKind::NestedBracket),
            ("n[1,,2]", HostlistErrorKind::EmptyRange),
            ("n[1-]", HostlistErrorKind::NotARange),
            ("n[1-65537]", HostlistErrorKind::RangeTooLong),
            ("n18446744073709551616", HostlistErrorKind::NumberTooLarge),
            ("1[18446744073709551615]", HostlistErrorKind::NumberTooLarge),
        ];
        for (list, kind) in kinds {
            assert_eq!(expand(list).unwrap_err().kind, kind, "{list}");
        }
        let error = expand("n1 /etc/hostname").unwrap_err();
        assert_eq!((error.at, error.found.as_str()), (3, "/etc/hostname"));
    }

    #[test]
    fn a_list_of_more_than_a_million_names_is_refused_before_it_is_made() {
        assert_eq!(expand("a[0-999]b[0-999]").unwrap().len(), NAMES_MAX);
        for list in ["a[0-999]b[0-999],c", "a[0-9999]b[0-9999]c[0-9999]d[0-9999]e[0-9999]f[0-9999]"]
        {
            let too_many = HostlistErrorKind::TooManyNames(NAMES_MAX);
            assert_eq!(expand(list).unwrap_err().kind, too_many);
        }
        assert_eq!(expand_within("n[1-3]", 3).unwrap().len(), 3);
        let error = expand_within("n[1-3],m", 3).unwrap_err().to_string();
        assert_eq!(error, "host list, character 8: \"m\" brings the list over 3 names");
    }

    #[test]
    fn absurdly_long_text_is_an_error_and_not_a_panic() {
        let digits = "0".repeat(100_000);
        for list in
            [format!("n[{digits}1]"), format!("n{digits}"), format!("n[{digits}"), "x".repeat(9999)]
        {
            let error = expand(&list).unwrap_err();
            assert!(error.found.len() <= FOUND_MAX, "{}", error.found);
        }
    }
}
