//! Where a run of a program is to be killed. What earlier runs have shown is known; where nobody
//! was killed yet comes first, so that all that is seen is hit in the end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::chance::Chance;

/// The fourth time and all later ones are one point: what a program does in a loop.
pub const OCCURRENCES: u32 = 4;

/// One run in so many is only watched: it shows what comes later.
const SPARED: u64 = 8;
/// At so many of the points where nobody was killed yet a run waits for its end: few enough that
/// it may come to late ones, enough that it meets one.
const ARMED: u64 = 3;
/// Without any, a run dies at one call in so many: about as many as a front makes.
const CALLS: u64 = 60;

/// For each kind of call, a number for each occurrence of it.
pub type Points = BTreeMap<String, BTreeMap<u32, u32>>;

/// What is to become of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sentence {
    /// It is watched.
    Spared,
    /// It is killed at any call, by chance.
    Anywhere,
    /// It is killed at the first of these that it meets: kinds of calls, and which occurrence.
    At(BTreeSet<(String, u32)>),
}

/// The sentence of a run of `role`; a driver belongs to its program.
pub fn choose(role: &str, seen: &Points, killed: &Points, chance: &mut Chance) -> Sentence {
    if chance.one_in(SPARED) {
        return Sentence::Spared;
    }
    // A front that dies has no driver. Who has a verb, such as a pass, starts none.
    let is_for_driver = !role.contains(' ') && chance.one_in(2);
    let role = if is_for_driver { format!("{role} driver") } else { role.to_owned() };
    let is_its = |kind: &str| kind.split(" | ").next() == Some(role.as_str());
    let its = seen.iter().filter(|(kind, _)| is_its(kind));
    let points = its.flat_map(|(kind, times)| times.keys().map(move |at| (kind.clone(), *at)));
    let points: Vec<(String, u32)> = points.collect();
    let is_new_kind = |(kind, _): &&(String, u32)| !killed.contains_key(kind);
    let is_new = |(kind, occurrence): &&(String, u32)| {
        !killed.get(kind).is_some_and(|times| times.contains_key(occurrence))
    };
    let new_kinds: Vec<_> = points.iter().filter(is_new_kind).collect();
    let new: Vec<_> = points.iter().filter(is_new).collect();
    let from = if new_kinds.is_empty() { new } else { new_kinds };
    let times = (from.len() as u64 / ARMED).max(1);
    let armed: BTreeSet<_> = from.into_iter().filter(|_| chance.one_in(times)).cloned().collect();
    match armed.is_empty() {
        true if is_for_driver => Sentence::Spared,
        true => Sentence::Anywhere,
        false => Sentence::At(armed),
    }
}

impl Sentence {
    /// Whether it is to be carried out here.
    pub fn is_due(&self, (kind, occurrence): (&str, u32), chance: &mut Chance) -> bool {
        match self {
            Sentence::Spared => false,
            Sentence::Anywhere => chance.one_in(CALLS),
            Sentence::At(points) => {
                points.contains(&(kind.to_owned(), occurrence.min(OCCURRENCES)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(&str, u32)]) -> Points {
        let mut points = Points::new();
        for (kind, occurrence) in of {
            points.entry((*kind).to_owned()).or_default().insert(*occurrence, 1);
        }
        points
    }

    fn armed(killed: &Points) -> BTreeSet<(String, u32)> {
        let b = "p driver | b";
        let seen =
            points(&[("p | a", 1), ("p | c", 1), (b, 1), (b, 2), (b, 3), (b, 4), ("q | c", 1)]);
        let mut chance = Chance::of(1, 0);
        let sentences = (0..500).map(|_| choose("p", &seen, killed, &mut chance));
        let armed = sentences.filter_map(|sentence| match sentence {
            Sentence::At(points) => Some(points),
            Sentence::Spared | Sentence::Anywhere => None,
        });
        armed.flatten().collect()
    }

    #[test]
    fn where_nobody_was_killed_comes_first() {
        let of_b = |occurrence| ("p driver | b".to_owned(), occurrence);
        let of_a = ("p | a".to_owned(), 1);
        let c = "p | c".to_owned();
        let all = [of_a.clone(), (c.clone(), 1), of_b(1), of_b(2), of_b(3), of_b(4)];
        assert_eq!(armed(&Points::new()), BTreeSet::from(all));
        let killed = points(&[("p driver | b", 1), ("p driver | b", 4), ("p | a", 1)]);
        assert_eq!(armed(&killed), BTreeSet::from([(c, 1), of_b(2), of_b(3)]));
        let mut killed = points(&[("p | c", 1), ("p driver | b", 1), ("p driver | b", 2)]);
        killed.entry("p driver | b".to_owned()).or_default().extend([(3, 1), (4, 1)]);
        assert_eq!(armed(&killed), BTreeSet::from([of_a]));
    }

    #[test]
    fn who_meets_nothing_new_is_killed_anywhere_or_watched() {
        let mut chance = Chance::of(1, 0);
        let none = Points::new();
        let all: Vec<Sentence> = (0..100).map(|_| choose("p", &none, &none, &mut chance)).collect();
        assert!(all.contains(&Sentence::Spared) && all.contains(&Sentence::Anywhere));
        let late = Sentence::At([("a".to_owned(), 4)].into());
        assert!(late.is_due(("a", 9), &mut chance) && !late.is_due(("a", 3), &mut chance));
        assert!(!late.is_due(("b", 4), &mut chance));
        assert!(!Sentence::Spared.is_due(("a", 4), &mut chance));
    }
}
