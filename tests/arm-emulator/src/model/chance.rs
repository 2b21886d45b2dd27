//! Chance from a seed, so that a run can be repeated. Must never: draw from the system.

use super::settings::Spread;
use super::time::Millis;

/// Quotient of the 90th percentile's distance from the median in standard deviations.
const Z90: f64 = 1.2816;

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number between 0 and 1, neither of them.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A random (version 4) UUID.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff,
        )
    }

    /// Lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.bits()));
        }
        text.truncate(digits);
        text
    }

    /// A duration: fixed, or log-normal through the two percentiles.
    pub fn duration(&mut self, spread: Spread) -> Millis {
        match spread {
            Spread::Fixed(fixed) => Millis::try_from(fixed).unwrap_or(Millis::MAX / 4),
            Spread::Percentiles { p50, p90 } => {
                let (median, sigma) = (p50 as f64, (p90 as f64 / (p50 as f64).max(1.0)).ln() / Z90);
                let (a, b) = (self.unit(), self.unit());
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                (median * (normal * sigma).exp()) as Millis
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_percentiles_come_out() {
        let mut chance = Chance::new(7);
        let first = chance.uuid();
        assert_eq!(Chance::new(7).uuid(), first);
        assert_eq!(first.len(), 36);
        let spread = Spread::Percentiles { p50: 74_000, p90: 146_000 };
        let mut drawn: Vec<Millis> = (0..2000).map(|_| chance.duration(spread)).collect();
        drawn.sort_unstable();
        assert!((66_000..82_000).contains(&drawn[1000]), "median {}", drawn[1000]);
        assert!((130_000..162_000).contains(&drawn[1800]), "p90 {}", drawn[1800]);
    }
}
