//! Names to a host list. The answer is always one that `expand` and Slurm read back as the same
//! names.

use std::cmp::Ordering;

use super::RANGE_LENGTH_MAX;
use crate::NodeName;

/// The host list of `names` as `scontrol show hostlist` writes it: order and duplicates kept,
/// neighbours with following numbers joined (`n09,n10` is `n[09-10]`, `n9,n10` is `n[9-10]`,
/// `n01,n1` is `n[01,1]`).
///
/// One difference: a run ends at [`RANGE_LENGTH_MAX`] numbers, because Slurm itself cannot read a
/// longer one.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    text_of(names.into_iter().map(Parted::of))
}

/// As [`fold`], sorted as `scontrol show hostlistsorted` does: by prefix (numbers inside it as
/// numbers), then by width and number. Duplicates are kept.
pub fn fold_sorted<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    text_of(sorted(names))
}

/// As [`fold_sorted`], every name once: the form for people, in logs and in reasons.
pub fn fold_set<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> String {
    let mut parted = sorted(names);
    parted.dedup_by_key(|name| name.whole);
    text_of(parted)
}

/// Where each of `names` comes when they are sorted as [`fold_sorted`] does: their indexes in that
/// order.
pub fn sorted_order(names: &[NodeName]) -> Vec<usize> {
    let mut parted: Vec<(usize, Parted<'_>)> = names.iter().map(Parted::of).enumerate().collect();
    parted.sort_by(|(_, left), (_, right)| left.order(right));
    parted.into_iter().map(|(index, _)| index).collect()
}

/// The digits that a text ends with; empty if it does not end with one.
pub(super) fn digits_at_end(text: &str) -> &str {
    &text[text.len() - count_of_digits(text.as_bytes())..]
}

fn count_of_digits(text: &[u8]) -> usize {
    text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The number that digits spell, if there is one and it fits.
fn number_of(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// A name and the number that it ends with. Of a number that does not fit in 64 bits Slurm makes
/// another one: such a name is never joined with others.
struct Parted<'a> {
    whole: &'a str,
    prefix: &'a str,
    /// The digits as written, and their number.
    number: Option<(&'a str, u64)>,
}

impl<'a> Parted<'a> {
    fn of(name: &'a NodeName) -> Self {
        let whole = name.as_str();
        let (prefix, digits) = whole.split_at(whole.len() - count_of_digits(whole.as_bytes()));
        match number_of(digits.as_bytes()) {
            Some(number) => Self { whole, prefix, number: Some((digits, number)) },
            None => Self { whole, prefix: whole, number: None },
        }
    }

    /// Width before number puts `n9` before `n10`, and `n1` before `n01`.
    fn order(&self, other: &Self) -> Ordering {
        let number = |name: &Self| name.number.map(|(digits, number)| (digits.len(), number));
        natural_order(self.prefix, other.prefix).then_with(|| number(self).cmp(&number(other)))
    }
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a NodeName>) -> Vec<Parted<'a>> {
    let mut parted: Vec<Parted<'a>> = names.into_iter().map(Parted::of).collect();
    parted.sort_by(Parted::order);
    parted
}

/// Compares texts with the numbers inside them as numbers: `a9b` before `a10b`. Numbers with
/// leading zeros come first, as text.
fn natural_order(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    let (mut left, mut right) = (left, right);
    loop {
        let (a, b) = (chunk_of(left), chunk_of(right));
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let is_number = |chunk: &str| chunk.as_bytes()[0].is_ascii_digit();
        let is_plain = |chunk: &str| is_number(chunk) && !chunk.starts_with('0');
        let order = if is_plain(a) && is_plain(b) {
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            a.cmp(b)
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (&left[a.len()..], &right[b.len()..]);
    }
}

/// The digits that a text begins with, or its first character if that is no digit. Node names are
/// ASCII.
fn chunk_of(text: &str) -> &str {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - rest.len();
    let length = if digits > 0 { digits } else { text.len().min(1) };
    &text[..length]
}

/// Names with following numbers: `lo` to `hi`, printed with the width of the first.
struct Run<'a> {
    prefix: &'a str,
    /// `None`: one name without a number.
    numbers: Option<(usize, u64, u64)>,
}

impl<'a> Run<'a> {
    fn begin(name: &Parted<'a>) -> Self {
        let numbers = name.number.map(|(digits, number)| (digits.len(), number, number));
        Self { prefix: name.prefix, numbers }
    }

    /// Takes `name` into the run if it is what comes next, printed as the run would print it.
    fn extend(&mut self, name: &Parted<'a>) -> bool {
        let (Some((width, lo, hi)), Some((digits, number))) = (self.numbers, name.number) else {
            return false;
        };
        // Wider than the first is only what has no zero in front.
        let is_wider = digits.len() > width && !digits.starts_with('0');
        let follows = hi.checked_add(1) == Some(number)
            && number - lo < RANGE_LENGTH_MAX
            && (digits.len() == width || is_wider)
            && self.prefix == name.prefix;
        if follows {
            self.numbers = Some((width, lo, number));
        }
        follows
    }
}

fn text_of<'a>(names: impl IntoIterator<Item = Parted<'a>>) -> String {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for name in names {
        if !runs.last_mut().is_some_and(|run| run.extend(&name)) {
            runs.push(Run::begin(&name));
        }
    }
    let mut groups = Vec::new();
    let shares_brackets = |a: &Run<'_>, b: &Run<'_>| {
        a.prefix == b.prefix && a.numbers.is_some() && b.numbers.is_some()
    };
    for group in runs.chunk_by(shares_brackets) {
        groups.push(group_text(group));
    }
    groups.join(",")
}

/// Runs of one prefix, in one pair of brackets where one is needed.
fn group_text(runs: &[Run<'_>]) -> String {
    let prefix = runs[0].prefix;
    let ranges: Vec<String> =
        runs.iter()
            .filter_map(|run| run.numbers)
            .map(|(width, lo, hi)| {
                if lo == hi {
                    format!("{lo:0width$}")
                } else {
                    format!("{lo:0width$}-{hi:0width$}")
                }
            })
            .collect();
    match ranges.as_slice() {
        [] => prefix.to_owned(),
        [one] if !one.contains('-') => format!("{prefix}{one}"),
        several => format!("{prefix}[{}]", several.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(names: &[&str]) -> Vec<NodeName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn neighbours_are_joined_only_when_they_print_alike() {
        let names = parsed(&["n09", "n10", "n011", "n100", "n0101", "n", "n", "m-1", "m-2"]);
        assert_eq!(fold(&names), "n[09-10,011,100,0101],n,n,m-[1-2]");
        assert_eq!(fold(&parsed(&["n9", "n010"])), "n[9,010]");
        assert_eq!(fold(&parsed(&["n099", "n100", "n999", "n1000"])), "n[099-100,999-1000]");
        assert_eq!(fold(&[]), "");
    }

    #[test]
    fn a_sorted_list_counts_numbers_as_numbers() {
        let names = parsed(&["n1a1", "n1a", "n1", "n01a", "n", "n10", "n9", "n9", "a10b1", "a9b1"]);
        assert_eq!(fold_sorted(&names), "a9b1,a10b1,n,n[1,9,9-10],n01a,n1a,n1a1");
        assert_eq!(fold_set(&names), "a9b1,a10b1,n,n[1,9-10],n01a,n1a,n1a1");
    }

    #[test]
    fn a_run_ends_where_slurm_could_not_read_it_back() {
        let names: Vec<NodeName> =
            (1..=70_000).map(|number| format!("n{number}").parse().unwrap()).collect();
        assert_eq!(fold(&names), "n[1-65536,65537-70000]");
    }

    #[test]
    fn a_number_beyond_64_bits_is_kept_as_text() {
        let names = parsed(&["n18446744073709551616", "n18446744073709551617"]);
        assert_eq!(fold_set(&names), "n18446744073709551616,n18446744073709551617");
    }
}
