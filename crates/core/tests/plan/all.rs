//! What holds for every plan, by generated worlds.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::facts::Ground;
use azslurm_core::hold::{Candidate, HoldStanding, held};
use azslurm_core::plan::{Plan, Step};
use azslurm_core::{NodeName, VmName, hostlist};
use proptest::prelude::*;

use crate::world::{NOW, World};

const HOLDS: [&str; 9] = [
    "sku-zone:west/1/Standard_D4s_v5",
    "sku-zone:north/2/Standard_D4s_v5",
    "sku-site:west/Standard_HB120rs_v3",
    "sku-site:north/Standard_HB120rs_v3",
    "block:hb-b1/west",
    "site:north",
    "node:htc-2",
    "node:hb-3",
    "family:00000000-0000-0000-0000-000000000001/westeurope/standardDSv5Family/4",
];
const STATES: [&str; 5] = ["intended", "accepted", "running", "deleting", "delete-intended"];

/// A world as facts, and what is wanted of it.
#[derive(Debug, Clone)]
struct Case {
    facts: Vec<String>,
    wanted: Vec<NodeName>,
}

fn world(facts: &[String]) -> World {
    facts.iter().fold(World::new(), |world, fact| world.with(fact))
}

fn case() -> impl Strategy<Value = Case> {
    let holds = prop::collection::vec((0..HOLDS.len(), -30i64..60, 1u32..4), 0..5);
    let vms =
        prop::collection::btree_map((0usize..2, 1u32..12), (0..STATES.len(), 0usize..2), 0..6);
    let quotas = (0u64..80, 0u64..600, 0u64..80, 0u64..600);
    let caps = (prop::option::of(4u64..60), prop::option::of(4u64..700));
    let jobs = prop::collection::vec((0usize..2, 1u32..10, 0u32..4), 0..5);
    let wanted = prop::collection::vec((0usize..3, 1u32..13), 1..16);
    (holds, vms, quotas, caps, jobs, wanted).prop_map(|(holds, vms, quotas, caps, jobs, wanted)| {
        let mut facts = vec![
            "block hb-b1 west".to_owned(),
            "block hb-b2 north".to_owned(),
            "sku west Standard_D4s_v5 standardDSv5Family 4".to_owned(),
            "sku north Standard_D4s_v5 standardDSv5Family 4".to_owned(),
            "sku west Standard_HB120rs_v3 standardHBv3Family 120 rdma".to_owned(),
            "sku north Standard_HB120rs_v3 standardHBv3Family 120 rdma".to_owned(),
            format!("quota west standardDSv5Family 0 {}", quotas.0),
            format!("quota west standardHBv3Family 0 {}", quotas.1),
            format!("quota north standardDSv5Family 0 {}", quotas.2),
            format!("quota north standardHBv3Family 0 {}", quotas.3),
        ];
        facts.extend(caps.0.map(|cores| format!("cap htc {cores}")));
        facts.extend(caps.1.map(|cores| format!("cap west {cores}")));
        for (hold, seconds, strikes) in holds {
            facts.push(format!("hold {} {seconds} {strikes}", HOLDS[hold]));
        }
        for ((kind, number), (state, site)) in vms {
            // A block has VMs where it stands.
            let (node, place) = match (kind, number) {
                (0, _) => ("htc", ["west/1", "north/2"][site]),
                (_, 1..=4) => ("hb", "west"),
                (_, 5..=8) => ("hb", "north"),
                _other => continue,
            };
            facts.push(format!("vm {node}-{number} {} {place}", STATES[state]));
        }
        for (number, (kind, first, more)) in jobs.into_iter().enumerate() {
            // Jobs with InfiniBand are within a block, as topology.conf has it.
            let last = match kind {
                0 => first + more,
                _ => (first + more).min(first.div_ceil(4) * 4),
            };
            let name = ["htc", "hb"][kind];
            facts.push(format!("job {number} {name}-[{first}-{last}]"));
        }
        let name = |(kind, number): (usize, u32)| -> NodeName {
            format!("{}-{number}", ["htc", "hb", "login"][kind]).parse().unwrap()
        };
        Case { facts, wanted: wanted.into_iter().map(name).collect() }
    })
}

fn created(plan: &Plan) -> Vec<&azslurm_core::plan::Create> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Create(create) => Some(&**create),
            Step::Keep { .. } | Step::Refuse(_) | Step::Unknown { .. } => None,
        })
        .collect()
}

fn nodes(plan: &Plan) -> BTreeSet<NodeName> {
    created(plan).into_iter().map(|create| create.node.clone()).collect()
}

/// VMs that the plan deletes.
fn replaced(plan: &Plan) -> BTreeSet<VmName> {
    let of = |step: &Step| match step {
        Step::Create(create) => create.replaces.clone(),
        Step::Refuse(refuse) => refuse.replaces.clone(),
        Step::Keep { .. } | Step::Unknown { .. } => Vec::new(),
    };
    plan.steps.iter().flat_map(of).collect()
}

/// Cores that the plan adds, by what counts them.
fn cores(world: &World, plan: &Plan) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for create in created(plan) {
        let place = &create.place;
        let ground = Ground::new(&place.subscription, &place.region);
        let facts = world.facts.sku(&ground, &create.spec.sku).unwrap();
        for key in [
            format!("site {}", place.site),
            format!("nodeset {}", create.nodeset),
            format!("{} {}", place.region, facts.family),
        ] {
            *sums.entry(key).or_insert(0) += u64::from(facts.vcpus);
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_node_comes_out_once_in_order_and_the_same_input_gives_the_same_plan(case in case()) {
        let plan = world(&case.facts).plan_nodes(&case.wanted);
        prop_assert_eq!(&plan, &world(&case.facts).plan_nodes(&case.wanted));
        let mut seen = BTreeSet::new();
        let distinct: Vec<&NodeName> =
            case.wanted.iter().filter(|node| seen.insert(*node)).collect();
        let planned: Vec<&NodeName> = plan.steps.iter().map(Step::node).collect();
        prop_assert_eq!(planned, distinct);
    }

    #[test]
    fn no_gang_is_split_over_blocks_or_sites(case in case()) {
        let mut world = world(&case.facts);
        let plan = world.plan_nodes(&case.wanted);
        let mut places = BTreeMap::new();
        for attempt in world.attempts.iter().filter(|attempt| attempt.state.is_wanted()) {
            let is_leaving = replaced(&plan).contains(&attempt.is.vm);
            if let Some(life) = attempt.is.place.block.clone().filter(|_| !is_leaving) {
                places.insert(life.block.clone(), (life, attempt.is.place.site.clone()));
            }
        }
        for create in created(&plan) {
            let Some(life) = create.place.block.clone() else { continue };
            let here = (life.clone(), create.place.site.clone());
            let known = places.entry(life.block).or_insert_with(|| here.clone());
            prop_assert_eq!(&*known, &here, "one life at one site for all of a block");
        }
    }

    #[test]
    fn a_job_is_begun_whole_or_not_at_all(case in case()) {
        let mut world = world(&case.facts);
        let plan = world.plan_nodes(&case.wanted);
        let created = nodes(&plan);
        let refused: BTreeSet<&NodeName> = plan.steps.iter().filter_map(|step| match step {
            Step::Refuse(refuse) => Some(&refuse.node),
            Step::Create(_) | Step::Keep { .. } | Step::Unknown { .. } => None,
        }).collect();
        for node in &created {
            let mut jobs = world.jobs.iter().filter(|job| job.nodes.contains(node)).peekable();
            if jobs.peek().is_some() {
                let whole = |job: &azslurm_core::plan::JobNodes| {
                    !job.nodes.iter().any(|node| refused.contains(node))
                };
                prop_assert!(jobs.any(whole), "{node} is made for no job that can start");
            }
        }
    }

    #[test]
    fn no_held_place_is_used(case in case()) {
        let mut world = world(&case.facts);
        let plan = world.plan_nodes(&case.wanted);
        for create in created(&plan) {
            let place = &create.place;
            let ground = Ground::new(&place.subscription, &place.region);
            let candidate = Candidate {
                node: &create.node,
                place,
                sku: &create.spec.sku,
                nodeset: &create.nodeset,
                is_spot: false,
                image: "",
                facts: world.facts.sku(&ground, &create.spec.sku),
            };
            let hold = held(&candidate, &world.holds, NOW);
            let is_closed = hold.is_some_and(|h| h.standing(NOW) == HoldStanding::Closed);
            prop_assert!(!is_closed, "{hold:?}");
        }
    }

    #[test]
    fn no_cap_and_no_quota_is_exceeded(case in case()) {
        let mut world = world(&case.facts);
        let plan = world.plan_nodes(&case.wanted);
        let replaced = replaced(&plan);
        let mut living = BTreeMap::new();
        for attempt in world.attempts.iter().filter(|a| !replaced.contains(&a.is.vm)) {
            let place = &attempt.is.place;
            let ground = Ground::new(&place.subscription, &place.region);
            let cores = u64::from(world.facts.sku(&ground, &attempt.is.sku).unwrap().vcpus);
            *living.entry(format!("site {}", place.site)).or_insert(0) += cores;
            *living.entry(format!("nodeset {}", attempt.is.nodeset)).or_insert(0) += cores;
        }
        for (key, added) in cores(&world, &plan) {
            let limit = match key.split_once(' ').unwrap() {
                ("site", name) => world.config.sites[&name.parse().unwrap()].cores_max,
                ("nodeset", name) => world.config.nodesets[&name.parse().unwrap()].cores_max,
                (region, family) => {
                    let usages = world.facts.usages.iter();
                    let mut of = usages.filter(|(ground, _)| ground.region.as_str() == region);
                    of.find_map(|(_, usages)| usages.of(family)).map(|usage| usage.limit)
                }
            };
            let used = living.get(&key).copied().unwrap_or(0);
            prop_assert!(limit.is_none_or(|limit| used + added <= limit), "{key} {added}");
        }
    }

    /// Fewer holds never cost a node, where quota and caps are wide enough not to be shared out.
    #[test]
    fn a_hold_less_never_makes_a_plan_worse(case in case(), which in any::<prop::sample::Index>()) {
        let is_limit = |fact: &String| fact.starts_with("quota") || fact.starts_with("cap");
        let mut facts = case.facts;
        facts.retain(|fact| !is_limit(fact));
        let before = nodes(&world(&facts).plan_nodes(&case.wanted));
        let holds: Vec<usize> =
            (0..facts.len()).filter(|at| facts[*at].starts_with("hold")).collect();
        prop_assume!(!holds.is_empty());
        let hold = facts.remove(holds[which.index(holds.len())]);
        // Under a hold that is open by half, who comes first tries: another hold less lets another
        // come first.
        prop_assume!(!facts.iter().any(|fact| is_half_open(fact)) && !is_half_open(&hold));
        let after = nodes(&world(&facts).plan_nodes(&case.wanted));
        prop_assert!(before.is_subset(&after), "without {hold}: {before:?} {after:?}");
    }

    /// More quota at every site never costs a node, and neither do wider caps: of nodes that are
    /// placed each alone, with one size, as many come as fit.
    #[test]
    fn more_quota_never_makes_a_plan_worse(case in case(), more in 0u64..100) {
        let mut facts = case.facts;
        facts.retain(|fact| !fact.starts_with("job") && !fact.starts_with("hold"));
        let wanted: Vec<NodeName> =
            case.wanted.into_iter().filter(|node| node.as_str().starts_with("htc")).collect();
        let before = world(&facts).plan_nodes(&wanted);
        for fact in &mut facts {
            if fact.starts_with("quota") || fact.starts_with("cap") {
                let (head, last) = fact.rsplit_once(' ').unwrap();
                *fact = format!("{head} {}", last.parse::<u64>().unwrap() + more);
            }
        }
        let after = world(&facts).plan_nodes(&wanted);
        prop_assert!(created(&before).len() <= created(&after).len());
    }
}

fn is_half_open(fact: &str) -> bool {
    let words: Vec<&str> = fact.split(' ').collect();
    match words.as_slice() {
        ["hold", _, seconds, strikes] => {
            seconds.parse::<i64>().unwrap() <= 0 && strikes.parse::<u32>().unwrap() >= 2
        }
        _other => false,
    }
}

#[test]
fn generated_names_are_those_of_the_world() {
    let world = World::new();
    for name in hostlist::expand("htc-[1-12],hb-[1-12]").unwrap() {
        assert!(world.config.nodeset_of(&name).is_some());
    }
}
