//! An attempt as holds see it.

use azslurm_core::attempt::Attempt;
use azslurm_core::config::Config;
use azslurm_core::facts::{Facts, Ground};
use azslurm_core::hold::Candidate;

/// Calls `with` the place of an attempt and all that holds can name of it.
pub(crate) fn with_candidate<T>(
    config: &Config,
    facts: &Facts,
    attempt: &Attempt,
    with: impl FnOnce(&Candidate<'_>) -> T,
) -> T {
    let is = &attempt.is;
    let nodeset = config.nodesets.get(&is.nodeset);
    let image = nodeset.map(|nodeset| nodeset.image.reference_text()).unwrap_or_default();
    let ground = Ground::new(&is.place.subscription, &is.place.region);
    with(&Candidate {
        node: &is.node,
        place: &is.place,
        sku: &is.sku,
        nodeset: &is.nodeset,
        is_spot: is.is_spot,
        image: &image,
        facts: facts.sku(&ground, &is.sku),
    })
}
