//! What the ledger knows of all places, as plans see it.

use std::time::Duration;

use azslurm_core::attempt::Attempt;
use azslurm_core::block::Block;
use azslurm_core::config::{Config, Interconnect, ZonePolicy};
use azslurm_core::facts::Facts;
use azslurm_core::hold::{Hold, HoldStanding};
use azslurm_core::plan::Sight;
use azslurm_core::{Timestamp, config};
use azslurm_ledger::{LedgerError, Reader};

use crate::{facts, holds};

/// Holds, facts, blocks and attempts of one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Holds that are not over.
    pub holds: Vec<Hold>,
    /// Sizes and quotas.
    pub facts: Facts,
    /// Blocks that are not gone.
    pub blocks: Vec<Block>,
    /// Attempts that have not ended; empty where nothing that is planned depends on them.
    pub living: Vec<Attempt>,
    /// Usages that are older refuse nothing.
    usages_since: Timestamp,
    now: Timestamp,
}

impl Seen {
    /// Reads what there is. `usages_age_max`: how old a quota's numbers may be to refuse something.
    pub fn read(
        reader: &Reader,
        config: &Config,
        (usages_age_max, now): (Duration, Timestamp),
    ) -> Result<Seen, LedgerError> {
        let usages_since = now.minus(usages_age_max);
        let mut seen = Seen {
            holds: holds::not_over(reader, now)?,
            facts: facts::read(reader)?,
            blocks: reader.blocks_unfinished()?,
            living: Vec::new(),
            usages_since,
            now,
        };
        // Ten thousand rows take longer to read than a front may live.
        if seen.needs_living(config) {
            seen.living = reader.attempts_unfinished()?;
        }
        Ok(seen)
    }

    fn needs_living(&self, config: &Config) -> bool {
        let needs = |nodeset: &config::Nodeset| {
            nodeset.interconnect == Interconnect::Infiniband
                || nodeset.zone_policy == ZonePolicy::Spread
                || nodeset.cores_max.is_some()
        };
        let is_half_open = |hold: &Hold| hold.standing(self.now) == HoldStanding::HalfOpen;
        config.nodesets.values().any(needs)
            || config.sites.values().any(|site| site.cores_max.is_some())
            || self.facts.usages.values().any(|usages| usages.at >= self.usages_since)
            || self.holds.iter().any(is_half_open)
    }

    /// As plans see it.
    pub fn sight<'a>(&'a self, config: &'a Config) -> Sight<'a> {
        let Seen { holds, facts, blocks, living, usages_since, now } = self;
        Sight { config, holds, facts, usages_since: *usages_since, blocks, living, now: *now }
    }
}
