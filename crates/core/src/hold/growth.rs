//! How a hold grows with refusals, and what ends it early.
//!
//! ```text
//! length of strike n = base × 2^(n − 1), at most the most of its kind, × jitter
//! jitter             = (850 + z mod 301) / 1000, z = splitmix64(seed): 0.85 … 1.15
//! ```
//!
//! The base is that of the failure (`failure`'s table), and so is the most. The jitter keeps the
//! nodesets and programs that were refused together from coming back together.

use std::time::Duration;

use super::{Candidate, Hold};
use crate::Timestamp;
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
            return new.lasting(1, jittered(new.length(), seed));
        };
        let merged = if before.is_of_a_person() {
            // What a person wants is no refusal, so it is no strike.
            new.lasting(1, jittered(new.length(), seed))
        } else if intended_at <= before.struck_at {
            // Another kind of refusal of the same request may last longer; the same one does not.
            new.lasting(before.strikes, before.length().max(least(new.length())))
        } else {
            let strikes = before.strikes.saturating_add(1);
            let most = hold_max(&new.code, &new.text);
            new.lasting(strikes, jittered(grown(new.length(), strikes, most), seed))
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

    fn lasting(&self, strikes: u32, length: Duration) -> Hold {
        Hold { strikes, until: self.struck_at.plus(length), ..self.clone() }
    }
}

/// Whether a VM that Azure has provisioned at `candidate`, of an attempt that was intended at
/// `intended_at`, ends `hold` before its time: it covers the VM, and the attempt is younger than
/// the last refusal.
///
/// There is one rule for all kinds of holds. That Azure takes the PUT would already disprove a
/// quota or a setting, but not a lack of room, which shows later and gives the quota back; a
/// provisioned VM disproves them all and comes a minute or two later (FACTS §1.4).
pub fn ended_by_success(hold: &Hold, candidate: &Candidate<'_>, intended_at: Timestamp) -> bool {
    !hold.is_of_a_person() && intended_at > hold.struck_at && hold.scope.covers(candidate)
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

fn thousandths(length: Duration, thousandths: u64) -> Duration {
    let millis = length.as_millis().saturating_mul(u128::from(thousandths)) / 1000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Spreads seeds that lie close together (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators").
fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
