//! Situations and what is planned in them, as one table that a reviewer can read: facts in, `|`
//! lines out. The whole file is made anew from its facts and compared.

use azslurm_core::plan::{JobNodes, Passed, Plan, Step, Why, blocks_of};
use azslurm_core::{NodeName, Timestamp, hostlist};

use crate::world::{NOW, World};

/// The file with every answer computed anew.
pub fn rendered(text: &str) -> String {
    let mut out = String::new();
    let mut world = World::new();
    for line in text.lines().filter(|line| !line.starts_with('|')) {
        out += line;
        out.push('\n');
        if line.starts_with("## ") {
            world = World::new();
        } else if let Some(wanted) = line.strip_prefix("want ") {
            out += &answers(&world.plan(wanted));
            out += &parted(&world);
        } else if !line.is_empty() && !line.starts_with('#') {
            world = world.with(line);
        }
    }
    out
}

fn answers(plan: &Plan) -> String {
    let mut outcomes: Vec<(String, Vec<NodeName>)> = Vec::new();
    for step in &plan.steps {
        let outcome = outcome(step, plan);
        match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, nodes)) => nodes.push(step.node().clone()),
            None => outcomes.push((outcome, vec![step.node().clone()])),
        }
    }
    let line = |(outcome, nodes): (String, Vec<NodeName>)| {
        format!("| {} {outcome}\n", hostlist::fold_sorted(&nodes))
    };
    outcomes.into_iter().map(line).collect()
}

/// The jobs that Slurm has put over several blocks.
fn parted(world: &World) -> String {
    let line = |job: &JobNodes| {
        let blocks = blocks_of(job, &world.config);
        let names: Vec<String> = blocks.iter().map(ToString::to_string).collect();
        (names.len() > 1).then(|| format!("| job {} is over {}\n", job.job.0, names.join(", ")))
    };
    world.jobs.iter().filter_map(line).collect()
}

fn outcome(step: &Step, plan: &Plan) -> String {
    match step {
        Step::Create(create) => {
            let place = &create.place;
            let zone = place.zone.as_ref().map(|zone| format!("/{zone}")).unwrap_or_default();
            let block = place.block.as_ref().map(|life| {
                let is_new = plan.blocks.iter().any(|block| block.life == *life);
                format!(" in {} ({})", life.block, if is_new { "new" } else { "lives" })
            });
            let replaces = if create.replaces.is_empty() { "" } else { ", replacing" };
            let (site, block) = (&place.site, block.unwrap_or_default());
            format!("create at {site}{zone}{block}{replaces}{}", passed(&create.passed))
        }
        Step::Keep { state, .. } => format!("keep {}", state.word()),
        Step::Refuse(refuse) => {
            let until = refuse.until.map(|until| format!(", until {}", after(until)));
            format!(
                "refuse {}: {}{}{}",
                refuse.code,
                refuse.text,
                until.unwrap_or_default(),
                passed(&refuse.passed)
            )
        }
        Step::Unknown { .. } => "unknown".to_owned(),
    }
}

fn after(until: Timestamp) -> String {
    format!("+{} s", until.since(NOW).as_secs())
}

fn passed(passed: &[Passed]) -> String {
    let one = |passed: &Passed| {
        let zone = passed.zone.as_ref().map(|zone| format!("/{zone}")).unwrap_or_default();
        let why = match &passed.why {
            Why::Held(hold) => format!("held {} {}", hold.scope, after(hold.until)),
            Why::CanaryIsOut(hold) => format!("canary {}", hold.scope),
            Why::Quota(shortage) => format!("quota {shortage}"),
            Why::Cap(shortage) => format!("cap {shortage}"),
            Why::NotOffered => "not offered".to_owned(),
            Why::NoInfiniband => "no infiniband".to_owned(),
            Why::BlockStandsAt(site) => format!("block stands at {site}"),
            Why::NoSite => "no site".to_owned(),
        };
        format!("; not {}{zone}: {why}", passed.site)
    };
    passed.iter().map(one).collect()
}
