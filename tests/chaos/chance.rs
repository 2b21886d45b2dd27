//! Chance from a seed: the same seed, the same row of numbers (SplitMix64, Steele et al., 2014).

/// A row of numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A row of its own for a part of the run, so that one more number drawn elsewhere does not
    /// change it.
    pub fn of(seed: u64, part: u64) -> Chance {
        let mut mixed = Chance(seed ^ part.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Chance(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1; 0 for an `end` of 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The error of the remainder is far below what anybody here could see.
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// Once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_row_and_another_one_another() {
        let row = |seed| {
            let mut chance = Chance::of(seed, 0);
            (0..50).map(|_| chance.below(1000)).collect::<Vec<u64>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        let mut part = Chance::of(1, 1);
        assert_ne!(row(1)[0], part.below(1000));
        assert!((0..200).all(|_| (3..=5).contains(&part.between(3, 5))));
        assert_eq!(part.pick::<u8>(&[]), None);
    }
}
