//! Whether a program is to be killed at the point where it stands. Where nobody was killed yet
//! comes first, so that a run hits every point that it sees. Pure.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// The fourth time and all later ones are one point: what a program does in a loop.
pub const OCCURRENCES: u32 = 4;

/// Once in so many times where nobody was ever killed at such a call.
const NEW_KIND: u64 = 3;
/// The same where that happened, but not at this occurrence of it.
const NEW_POINT: u64 = 12;
/// The same everywhere else: a program makes hundreds of calls.
const KNOWN: u64 = 600;

/// Kinds of calls with how often each occurrence was killed.
pub type Killed = BTreeMap<String, BTreeMap<u32, u32>>;

/// Whether to kill here, at the `occurrence`th call of this kind of one program.
pub fn is_due(killed: &Killed, (kind, occurrence): (&str, u32), chance: &mut Chance) -> bool {
    let of_kind = killed.get(kind);
    let times = match of_kind {
        None => NEW_KIND,
        Some(points) if !points.contains_key(&occurrence.min(OCCURRENCES)) => NEW_POINT,
        Some(_) => KNOWN,
    };
    chance.one_in(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_was_killed_comes_first() {
        let killed = Killed::from([("fsync".to_owned(), BTreeMap::from([(1, 3), (4, 1)]))]);
        let mut chance = Chance::of(1, 0);
        let mut count = |kind, occurrence| {
            (0..6000).filter(|_| is_due(&killed, (kind, occurrence), &mut chance)).count()
        };
        let (new_kind, new_point, known) =
            (count("write", 1), count("fsync", 2), count("fsync", 9));
        assert!(new_kind > new_point && new_point > known && known > 0);
    }
}
