//! Makes a failing script shorter: steps are taken away while it still fails, whatever the reason.

use crate::ledgers::Yard;
use crate::run::Wish;
use crate::schedule;
use crate::script::Step;

/// The shortest script that was found which still breaks a law.
pub fn shrink(seed: u64, steps: &[Step], wish: Wish, yard: &mut Yard) -> Vec<Step> {
    let mut shortest = steps.to_vec();
    let mut fails = |steps: &[Step]| !schedule(seed, steps, wish, yard).broken.is_empty();
    let mut size = shortest.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + size).min(shortest.len()));
            if fails(&shorter) {
                shortest = shorter;
                has_shrunk = true;
            } else {
                at += size;
            }
        }
        if !has_shrunk || size > 1 {
            size /= 2;
        }
    }
    shortest
}
