//! A plan in words, for people.

use azslurm_core::hold::Hold;
use azslurm_core::plan::{Passed, Refuse, Step, Why};

/// What happens with one node, in one line.
pub fn sentence(step: &Step) -> String {
    match step {
        Step::Create(create) => {
            let place = &create.place;
            let zone = place.zone.as_ref().map(|zone| format!(" zone {zone}")).unwrap_or_default();
            let block = place.block.as_ref().map(|life| format!(", block {}", life.block));
            format!(
                "{}: would create {} ({}) at {} in {}{zone}{}",
                create.node,
                create.spec.name,
                create.spec.sku,
                place.site,
                place.region,
                block.unwrap_or_default(),
            )
        }
        Step::Keep { node, vm, state } => format!("{node}: has {vm}, {}", state.word()),
        Step::Refuse(refuse) => {
            let Refuse { node, code, text, until, .. } = &**refuse;
            let until = until.map(|until| format!(", next try {until}")).unwrap_or_default();
            format!("{node}: cannot come now: {code}: {text}{until}")
        }
        Step::Unknown { node } => format!("{node}: in no nodeset of the config"),
    }
}

/// Why a place was not taken, in one line.
pub fn reason(passed: &Passed) -> String {
    let zone = passed.zone.as_ref().map(|zone| format!(" zone {zone}")).unwrap_or_default();
    let why = match &passed.why {
        Why::Held(hold) => {
            let Hold { scope, code, text, until, .. } = &**hold;
            format!("held ({scope}) until {until}: {code}: {text}")
        }
        Why::CanaryIsOut(hold) => format!(
            "another VM tries first whether {} is over; all may from {} on",
            hold.scope,
            hold.over_at()
        ),
        Why::Quota(_)
        | Why::Cap(_)
        | Why::NotOffered
        | Why::NoInfiniband
        | Why::BlockStandsAt(_)
        | Why::NoSite => passed.why.words().1,
    };
    format!("{}{zone}: {why}", passed.site)
}
