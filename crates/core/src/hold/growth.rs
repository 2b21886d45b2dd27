//! How a hold grows with refusals, and what ends it early.
//!
//! ```text
//! length of strike n = base × 2^(n − 1), at most the most of its kind, × jitter
//! of boots: n ≥ 2      base × 2^(n − 2): the first strike only counts
//! jitter             = (850 + z mod 301) / 1000, z = splitmix64(seed): 0.85 … 1.15
//! ```
//!
//! The base is that of the failure (`failure`'s table), and so is the most. The jitter keeps the
//! nodesets and programs that were refused together from coming back together.

use std::time::Duration;

use super::{Candidate, Hold};
use crate::Timestamp;
use crate::chance::{splitmix64, thousandths};
use crate::failure::hold_max;

/// The code of a hold that a person made. Nothing that is learned shortens or ends it.
pub const CODE_OPERATOR: &str = "Operator";

/// The least that jitter leaves of a length, in thousandths.
const JITTER_LEAST: u64 = 850;
/// So many thousandths more than the least at most: up to 1150.
const JITTER_STEPS: u64 = 301;

impl Hold {
    /// The hold to write when `new` is learned (strikes 1, as [`crate::failure::hold_of`] gives it)
    /// and `before` is what the ledger has of the same scope, ended or not. `intended_at` is when
    /// the refused attempt was intended, `seed` a number drawn by the caller.
    ///
    /// An attempt that was intended before the last refusal was known belongs to it: the many
    /// refusals of one request are one strike, and change no more than the end, if theirs is later.
    /// Any other refusal is one strike more. The later end wins, with the words of its refusal.
    #[must_use]
    pub fn after(before: Option<&Hold>, new: &Hold, intended_at: Timestamp, seed: u64) -> Hold {
        if new.is_of_a_person() {
            return new.clone();
        }
        let in_force = |hold: &&Hold| !hold.is_of_a_person() || hold.until > new.struck_at;
        let Some(before) = before.filter(in_force) else {
            return new.lasting(1, new.grown(1, seed));
        };
        let merged = if before.is_of_a_person() {
            // What a person wants is no refusal, so it is no strike.
            new.lasting(1, new.grown(1, seed))
        } else if new.scope.is_of_boots() && intended_at <= before.struck_at {
            new.lasting(before.strikes, before.length())
        } else if intended_at <= before.struck_at {
            // Another kind of refusal of the same request may last longer; the same one does not.
            new.lasting(before.strikes, before.length().max(least(new.length())))
        } else {
            let strikes = before.strikes.saturating_add(1);
            new.lasting(strikes, new.grown(strikes, seed))
        };
        if merged.until >= before.until {
            Hold { struck_at: merged.struck_at.max(before.struck_at), ..merged }
        } else if before.is_of_a_person() {
            before.clone()
        } else {
            let struck_at = merged.struck_at.max(before.struck_at);
            Hold { strikes: merged.strikes, struck_at, ..before.clone() }
        }
    }

    /// Whether a person made it.
    pub fn is_of_a_person(&self) -> bool {
        self.code == CODE_OPERATOR
    }

    fn length(&self) -> Duration {
        self.until.since(self.struck_at)
    }

    /// The length of strike `strikes` of a hold whose base this one has.
    fn grown(&self, strikes: u32, seed: u64) -> Duration {
        let counted = if self.scope.is_of_boots() { strikes.saturating_sub(1) } else { strikes };
        match counted {
            // One node that does not boot says little, and its job is to have another at once.
            0 => Duration::ZERO,
            strikes => {
                let most = hold_max(&self.code, &self.text);
                jittered(grown(self.length(), strikes, most), seed)
            }
        }
    }

    fn lasting(&self, strikes: u32, length: Duration) -> Hold {
        Hold { strikes, until: self.struck_at.plus(length), ..self.clone() }
    }
}

/// How far a VM has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// Azure has provisioned it.
    Provisioned,
    /// slurmd has registered on it.
    Registered,
}

/// Whether a VM at `candidate` that has come as far as `success` says, of an attempt that was
/// intended at `intended_at`, ends `hold` before its time: it covers the VM, and the attempt is
/// younger than the last refusal.
///
/// There is one rule for all kinds of holds that come of refusals. That Azure takes the PUT would
/// already disprove a quota or a setting, but not a lack of room, which shows later and gives the
/// quota back; a provisioned VM disproves them all and comes a minute or two later (FACTS §1.4).
/// That it boots only slurmd can show.
pub fn ended_by_success(
    hold: &Hold,
    candidate: &Candidate<'_>,
    (success, intended_at): (Success, Timestamp),
) -> bool {
    let is_enough = match success {
        Success::Provisioned => !hold.scope.is_of_boots(),
        Success::Registered => true,
    };
    let is_younger = intended_at > hold.struck_at;
    is_enough && is_younger && !hold.is_of_a_person() && hold.scope.covers(candidate)
}

/// The length of strike `strikes` before the jitter. A base beyond the most stays as it is.
fn grown(base: Duration, strikes: u32, most: Duration) -> Duration {
    // 2^31 times a second is a lifetime; the most cuts it long before.
    let factor = 1_u32 << strikes.saturating_sub(1).min(31);
    base.saturating_mul(factor).min(most.max(base))
}

fn jittered(length: Duration, seed: u64) -> Duration {
    thousandths(length, JITTER_LEAST + splitmix64(seed) % JITTER_STEPS)
}

fn least(length: Duration) -> Duration {
    thousandths(length, JITTER_LEAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attempt::AttemptPlace;
    use crate::config::{Region, Sku};
    use crate::hold::{HoldScope, HoldStanding};

    /// A code of each kind that grows, with its base and its most in seconds.
    const KINDS: [(&str, u64, u64); 6] = [
        ("AllocationFailed", 600, 7200),
        ("SpotPriceGreaterThanProvidedMaxPrice", 3600, 14_400),
        ("SubnetIsFull", 300, 3600),
        ("AuthorizationFailed", 900, 3600),
        ("InternalExecutionError", 120, 1800),
        ("Conflict", 30, 300),
    ];

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(second))
    }

    fn learned(code: &str, base: u64, struck_at: Timestamp) -> Hold {
        Hold {
            scope: HoldScope::Site("west".parse().unwrap()),
            code: code.to_owned(),
            text: format!("{code} at {struck_at}"),
            strikes: 1,
            struck_at,
            until: struck_at.plus(Duration::from_secs(base)),
        }
    }

    fn by_a_person(struck_at: Timestamp, seconds: u64) -> Hold {
        learned(CODE_OPERATOR, seconds, struck_at)
    }

    /// A hold after so many strikes, each learned when the one before has just ended.
    fn after_strikes(code: &str, base: u64, strikes: u32, seed: u64) -> Hold {
        let mut hold = Hold::after(None, &learned(code, base, at(0)), at(0), seed);
        for _ in 1..strikes {
            let now = hold.until;
            hold = Hold::after(Some(&hold), &learned(code, base, now), now, seed);
        }
        hold
    }

    #[test]
    fn a_hold_doubles_up_to_the_most_of_its_kind() {
        for (code, base, most) in KINDS {
            let mut nominal = base;
            for strikes in 1..12 {
                let hold = after_strikes(code, base, strikes, 77);
                assert_eq!(hold.strikes, strikes);
                let expected = jittered(Duration::from_secs(nominal.min(most)), 77);
                assert_eq!(hold.length(), expected, "{code} {strikes}");
                nominal *= 2;
            }
        }
    }

    #[test]
    fn sixty_four_refusals_of_one_request_are_one_strike() {
        let first = Hold::after(None, &learned("AllocationFailed", 600, at(60)), at(10), 1);
        let mut hold = first.clone();
        for second in 61..124 {
            let refusal = learned("AllocationFailed", 600, at(second));
            hold = Hold::after(Some(&hold), &refusal, at(10), second);
        }
        assert_eq!((hold.strikes, hold.length()), (1, first.length()));
        assert_eq!(hold.struck_at, at(123));
        assert_eq!(hold.text, learned("AllocationFailed", 600, at(123)).text);
        // The next request is a strike of its own.
        let next = Hold::after(Some(&hold), &learned("AllocationFailed", 600, at(900)), at(800), 1);
        assert_eq!(next.strikes, 2);
    }

    #[test]
    fn a_longer_hold_is_not_cut_short_by_a_shorter_one() {
        let long = Hold::after(None, &learned("AuthorizationFailed", 900, at(0)), at(0), 1);
        let short = learned("Conflict", 30, at(10));
        for intended_at in [at(0), at(5)] {
            let hold = Hold::after(Some(&long), &short, intended_at, 1);
            assert!(hold.until >= long.until, "{hold:?}");
        }
        let hold = Hold::after(Some(&long), &short, at(5), 1);
        assert_eq!((hold.code.as_str(), hold.strikes), ("AuthorizationFailed", 2));
        assert_eq!(hold.struck_at, at(10));
        // And the other way round, within one request.
        let before = Hold::after(None, &learned("Conflict", 30, at(0)), at(0), 1);
        let hold = Hold::after(Some(&before), &learned("AllocationFailed", 600, at(1)), at(0), 1);
        assert_eq!((hold.code.as_str(), hold.strikes), ("AllocationFailed", 1));
        assert!(hold.length() >= Duration::from_secs(510));
    }

    #[test]
    fn what_a_person_holds_is_neither_shortened_nor_counted() {
        let person = by_a_person(at(0), 3600);
        let refusal = learned("AllocationFailed", 600, at(100));
        assert_eq!(Hold::after(Some(&person), &refusal, at(50), 1), person);
        // A learned one that ends later takes its place, as a first strike.
        let late = learned("AllocationFailed", 600, at(3500));
        let hold = Hold::after(Some(&person), &late, at(3400), 1);
        assert_eq!((hold.code.as_str(), hold.strikes), ("AllocationFailed", 1));
        assert!(hold.until > person.until);
        // One that is over is as none.
        let hold = Hold::after(Some(&person), &learned("Conflict", 30, at(3600)), at(3600), 1);
        assert_eq!((hold.code.as_str(), hold.strikes), ("Conflict", 1));
        // A person may shorten anything, and is taken at the word.
        let learned = after_strikes("AllocationFailed", 600, 5, 1);
        let person = by_a_person(learned.struck_at, 60);
        assert_eq!(Hold::after(Some(&learned), &person, at(0), 1), person);
    }

    #[test]
    fn a_provisioned_vm_ends_what_covers_it_and_is_older() {
        let place = AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        };
        let (node, nodeset) = ("hpc-1".parse().unwrap(), "hpc".parse().unwrap());
        let sku = Sku::new("Standard_D4s_v5").unwrap();
        let candidate = Candidate {
            node: &node,
            place: &place,
            sku: &sku,
            nodeset: &nodeset,
            is_spot: false,
            image: "i",
            facts: None,
        };
        let hold = learned("AllocationFailed", 600, at(100));
        let made = Success::Provisioned;
        assert!(ended_by_success(&hold, &candidate, (made, at(101))));
        assert!(
            !ended_by_success(&hold, &candidate, (made, at(100))),
            "it is of the refused request"
        );
        let boots = boot(at(100));
        assert!(!ended_by_success(&boots, &candidate, (made, at(101))), "it may not boot");
        for (intended_at, is_over) in [(at(100), false), (at(101), true)] {
            let registered = (Success::Registered, intended_at);
            assert_eq!(ended_by_success(&boots, &candidate, registered), is_over);
        }
        let elsewhere = Hold { scope: HoldScope::Site("east".parse().unwrap()), ..hold };
        assert!(!ended_by_success(&elsewhere, &candidate, (made, at(101))));
        assert!(!ended_by_success(&by_a_person(at(0), 600), &candidate, (made, at(101))));
    }

    fn boot(struck_at: Timestamp) -> Hold {
        let scope = HoldScope::Boot("hpc".parse().unwrap(), "i".to_owned());
        Hold { scope, ..learned("BootFailure", 900, struck_at) }
    }

    #[test]
    fn the_first_boot_failure_only_counts_and_the_later_ones_close_for_longer_and_longer() {
        let mut hold = Hold::after(None, &boot(at(0)), at(0), 7);
        assert_eq!((hold.strikes, hold.standing(at(0))), (1, HoldStanding::Over));
        for (strikes, seconds) in [(2, 900), (3, 1800), (4, 3600), (5, 7200), (6, 14_400)] {
            let now = hold.until.plus(Duration::from_secs(1));
            hold = Hold::after(Some(&hold), &boot(now), now, 7);
            assert_eq!(hold.strikes, strikes);
            assert_eq!(hold.length(), jittered(Duration::from_secs(seconds), 7), "{strikes}");
            assert_eq!(hold.standing(hold.until), HoldStanding::HalfOpen);
            let last = hold.until.plus(Duration::from_secs(45 * 60 - 1));
            assert_eq!(hold.standing(last), HoldStanding::HalfOpen);
            assert_eq!(hold.standing(hold.over_at()), HoldStanding::Over);
        }
        let now = hold.until;
        let longest = Hold::after(Some(&hold), &boot(now), now, 7);
        assert_eq!(longest.length(), hold.length(), "four hours are the most");
    }

    #[test]
    fn sixty_four_nodes_of_one_request_that_do_not_boot_are_one_failure() {
        let first = Hold::after(None, &boot(at(1800)), at(10), 7);
        let mut hold = first.clone();
        for second in 1801..1864 {
            hold = Hold::after(Some(&hold), &boot(at(second)), at(10), second);
        }
        assert_eq!((hold.strikes, hold.length()), (1, Duration::ZERO));
        assert_eq!(hold.standing(at(1863)), HoldStanding::Over);
        // So is one that was begun before the first was known.
        let hold = Hold::after(Some(&hold), &boot(at(3000)), at(1863), 7);
        assert_eq!((hold.strikes, hold.standing(at(3000))), (1, HoldStanding::Over));
    }

    fn holds() -> impl Strategy<Value = Hold> {
        (0..KINDS.len(), 1_u32..20, 0_u64..100_000, any::<u64>()).prop_map(
            |(kind, strikes, struck_at, seed)| {
                let (code, base, _) = KINDS[kind];
                let hold = after_strikes(code, base, strikes, seed);
                let length = hold.length();
                Hold { struck_at: at(struck_at), until: at(struck_at).plus(length), ..hold }
            },
        )
    }

    proptest! {
        #[test]
        fn jitter_stays_within_15_percent_and_depends_on_the_seed_alone(
            seed in any::<u64>(), seconds in 1_u64..100_000,
        ) {
            let length = Duration::from_secs(seconds);
            let found = jittered(length, seed);
            prop_assert_eq!(found, jittered(length, seed));
            prop_assert!(found.as_millis() * 1000 >= length.as_millis() * 850);
            prop_assert!(found.as_millis() * 1000 <= length.as_millis() * 1150);
        }

        #[test]
        fn growth_is_monotone_until_the_most(
            base in 1_u64..10_000, most in 1_u64..20_000, strikes in any::<u32>(),
        ) {
            let (base, most) = (Duration::from_secs(base), Duration::from_secs(most));
            let length = |strikes: u32| grown(base, strikes, most);
            let (now, next) = (length(strikes), length(strikes.saturating_add(1)));
            prop_assert!(now >= base && now <= most.max(base));
            prop_assert!(now <= next);
            prop_assert!(now < next || now >= most || strikes == 0 || strikes == u32::MAX);
        }

        #[test]
        fn a_refusal_never_brings_the_end_forward_and_counts_once_or_not_at_all(
            before in holds(), kind in 0..KINDS.len(), struck_at in 0_u64..200_000,
            intended_at in 0_u64..200_000, seed in any::<u64>(),
        ) {
            let (code, base, _) = KINDS[kind];
            let new = learned(code, base, at(struck_at));
            let hold = Hold::after(Some(&before), &new, at(intended_at), seed);
            let is_same = at(intended_at) <= before.struck_at;
            prop_assert_eq!(hold.strikes, before.strikes + u32::from(!is_same));
            prop_assert!(hold.until >= before.until);
            prop_assert!(hold.until >= new.struck_at.plus(least(new.length())));
            prop_assert!(hold.struck_at >= before.struck_at.max(new.struck_at));
        }

        #[test]
        fn the_same_strike_never_grows(
            before in holds(), later in 0_u64..100_000, seed in any::<u64>(),
        ) {
            let base = KINDS.iter().find(|(code, ..)| *code == before.code).unwrap().1;
            let struck_at = before.struck_at.plus(Duration::from_secs(later));
            let again = learned(&before.code, base, struck_at);
            let hold = Hold::after(Some(&before), &again, before.struck_at, seed);
            prop_assert_eq!((hold.strikes, hold.length()), (before.strikes, before.length()));
            prop_assert_eq!(hold.until, struck_at.plus(before.length()));
        }

        #[test]
        fn a_hold_that_has_grown_is_closed_until_its_end(before in holds(), seed in any::<u64>()) {
            let base = KINDS.iter().find(|(code, ..)| *code == before.code).unwrap().1;
            let again = learned(&before.code, base, before.until);
            let hold = Hold::after(Some(&before), &again, before.until, seed);
            let last = Timestamp::from_millis(hold.until.as_millis() - 1);
            prop_assert_eq!(hold.standing(last), HoldStanding::Closed);
            prop_assert_eq!(hold.standing(hold.until), HoldStanding::HalfOpen);
        }
    }
}
