//! Chance from a number that the caller has drawn.

use std::time::Duration;

/// Spreads seeds that lie close together (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators").
pub(crate) fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// So many thousandths of a length.
pub(crate) fn thousandths(length: Duration, thousandths: u64) -> Duration {
    let millis = length.as_millis().saturating_mul(u128::from(thousandths)) / 1000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
