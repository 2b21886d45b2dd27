//! The plan of a resume, situation by situation.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::attempt::{Attempt, AttemptPlace, AttemptState, NewAttempt};
use azslurm_core::config::{self, Config};
use azslurm_core::hold::Hold;
use azslurm_core::plan::{Known, NodesetTexts, Step, held_everywhere, places, plan};
use azslurm_core::vm::our_tags;
use azslurm_core::{AttemptId, NodeName, NodesetName, Timestamp, VmName};
use proptest::prelude::*;

const TEXT: &str = r#"
[cluster]
name = "demo"
[slurm]
controller = "head"
[site.west]
subscription = "00000000-0000-0000-0000-000000000001"
region = "westeurope"
resource_group = "hpc"
subnet = """/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
    providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute"""
[nodeset.htc]
nodes = "htc-[1-4]"
sites = ["west"]
zones = ["1", "2"]
sku = "Standard_D4s_v5"
image = "microsoft-dsvm:ubuntu-hpc:2204:latest"
ssh_public_key = """ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x"""
[nodeset.htc.tags]
project = "p1"
"#;

const NOW: Timestamp = Timestamp::from_millis(1_795_225_985_468);

struct World {
    config: Config,
    texts: BTreeMap<NodesetName, NodesetTexts>,
    attempts: Vec<Attempt>,
    holds: Vec<Hold>,
    replace_running: bool,
}

impl World {
    fn new() -> World {
        let config =
            config::parse(TEXT).unwrap_or_else(|errors| panic!("{}", errors.render("test")));
        let texts = NodesetTexts {
            ssh_public_key: "ssh-ed25519 AAAA".to_owned(),
            user_data: Some("{cluster} {node} {nodeset} {controller} ${HOME} {other}".to_owned()),
        };
        World {
            config,
            texts: BTreeMap::from([(nodeset(), texts)]),
            attempts: Vec::new(),
            holds: Vec::new(),
            replace_running: true,
        }
    }

    fn with(mut self, name: &str, began: i64, state: AttemptState) -> World {
        self.attempts.push(attempt(&self.config, name, began, state));
        self
    }

    fn held(mut self, scope: &str, seconds: u64) -> World {
        self.holds.push(Hold {
            scope: scope.parse().unwrap(),
            code: "SkuNotAvailable".to_owned(),
            text: "no room".to_owned(),
            strikes: 1,
            struck_at: NOW,
            until: NOW.plus(Duration::from_secs(seconds)),
        });
        self
    }

    fn plan(&self, wanted: &[&str]) -> Vec<Step> {
        let wanted: Vec<NodeName> = wanted.iter().map(|name| node(name)).collect();
        plan(&wanted, &self.known())
    }

    fn known(&self) -> Known<'_> {
        let World { config, texts, attempts, holds, replace_running } = self;
        Known { config, texts, attempts, holds, replace_running: *replace_running, now: NOW }
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn nodeset() -> NodesetName {
    "htc".parse().unwrap()
}

fn attempt(config: &Config, name: &str, began: i64, state: AttemptState) -> Attempt {
    let node = node(name);
    let number = AttemptId::next(Timestamp::from_millis(began), None);
    let place: AttemptPlace = places(config, &config.nodesets[&nodeset()])[0].clone();
    Attempt {
        is: NewAttempt {
            vm: VmName::of(&node, number),
            node,
            attempt: number,
            nodeset: nodeset(),
            place,
            sku: config.nodesets[&nodeset()].sku.clone(),
            is_spot: false,
            body_hash: String::new(),
            jobs: Vec::new(),
        },
        state,
        why: None,
        says: None,
        operation: None,
        request_id: None,
        generation: 1,
        intended_at: Timestamp::from_millis(began),
        settles_at: Timestamp::from_millis(began),
        accepted_at: None,
        running_at: None,
        delete_intended_at: None,
        ended_at: state.is_ended().then_some(NOW),
        changed_at: NOW,
    }
}

fn created(step: &Step) -> &azslurm_core::plan::Create {
    match step {
        Step::Create(create) => create,
        Step::Keep { .. } | Step::Refuse { .. } | Step::Unknown { .. } => {
            panic!("not created: {step:?}")
        }
    }
}

#[test]
fn a_node_without_a_vm_gets_one_at_the_first_place() {
    let world = World::new();
    let steps = world.plan(&["htc-1"]);
    let create = created(&steps[0]);
    assert_eq!(create.place.site.as_str(), "west");
    assert_eq!(create.place.zone.as_ref().unwrap().as_str(), "1");
    assert_eq!(create.spec.name, VmName::of(&node("htc-1"), create.attempt));
    assert_eq!(create.spec.computer_name, node("htc-1"));
    assert_eq!(create.spec.user_data.as_deref(), Some("demo htc-1 htc head ${HOME} {other}"));
    let mut tags = our_tags(&world.config.cluster, &create.node, &create.nodeset, create.attempt);
    tags.insert("project".to_owned(), "p1".to_owned());
    assert_eq!(create.spec.tags, tags);
}

#[test]
fn one_unknown_name_among_others_costs_the_others_nothing() {
    let steps = World::new().plan(&["htc-1", "login", "htc-2"]);
    created(&steps[0]);
    assert_eq!(steps[1], Step::Unknown { node: node("login") });
    created(&steps[2]);
}

#[test]
fn a_node_whose_vm_is_on_its_way_keeps_it() {
    for state in [AttemptState::Intended, AttemptState::Accepted] {
        let steps = World::new().with("htc-1", 1_795_225_900_000, state).plan(&["htc-1"]);
        assert!(matches!(&steps[0], Step::Keep { state: kept, .. } if *kept == state), "{steps:?}");
    }
}

#[test]
fn a_provisioned_vm_is_replaced_for_slurmctld_and_kept_for_a_pass() {
    let mut world = World::new().with("htc-1", 1_795_225_900_000, AttemptState::Running);
    let old = world.attempts[0].is.vm.clone();
    let steps = world.plan(&["htc-1"]);
    assert_eq!(created(&steps[0]).replaces, [old]);
    world.replace_running = false;
    assert!(matches!(world.plan(&["htc-1"])[0], Step::Keep { .. }));
}

#[test]
fn an_old_vm_that_is_still_being_deleted_does_not_stand_in_the_way() {
    let world = World::new().with("htc-1", 1_795_225_900_000, AttemptState::Deleting);
    let steps = world.plan(&["htc-1"]);
    let create = created(&steps[0]);
    assert!(create.attempt > world.attempts[0].is.attempt);
    assert_ne!(create.spec.name, world.attempts[0].is.vm);
    assert!(create.replaces.is_empty(), "its deletion goes on by itself");
}

#[test]
fn a_clock_that_stepped_back_does_not_repeat_an_attempt() {
    let future = NOW.as_millis() + 3_600_000;
    let world = World::new().with("htc-1", future, AttemptState::Gone);
    let steps = world.plan(&["htc-1"]);
    assert!(created(&steps[0]).attempt > world.attempts[0].is.attempt);
}

#[test]
fn a_held_zone_is_passed_over_and_a_held_site_refuses() {
    let world = World::new().held("sku-zone:west/1/Standard_D4s_v5", 60);
    let steps = world.plan(&["htc-1"]);
    assert_eq!(created(&steps[0]).place.zone.as_ref().unwrap().as_str(), "2");
    let steps = world.held("site:west", 30).plan(&["htc-1"]);
    let Step::Refuse { code, until, .. } = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(code, "SkuNotAvailable");
    assert_eq!(*until, Some(NOW.plus(Duration::from_secs(30))), "zone 2 is free first");
}

#[test]
fn a_hold_that_is_over_holds_nothing() {
    let world = World::new().held("site:west", 0);
    created(&world.plan(&["htc-1"])[0]);
    assert_eq!(held_everywhere(&node("htc-1"), &world.config, &world.holds, NOW), None);
}

#[test]
fn a_nodeset_whose_files_cannot_be_read_is_refused_and_no_other() {
    let mut world = World::new();
    world.texts.clear();
    let steps = world.plan(&["htc-1"]);
    assert!(matches!(&steps[0], Step::Refuse { code, .. } if code == "ConfigUnreadable"));
}

proptest! {
    #[test]
    fn every_node_comes_out_once_in_order_and_the_same_input_gives_the_same_plan(
        picks in proptest::collection::vec((0usize..6, 0usize..7), 0..20),
        held in proptest::collection::vec(0usize..4, 0..4),
    ) {
        let names = ["htc-1", "htc-2", "htc-3", "htc-4", "login", "other"];
        let scopes = ["sku-zone:west/1/Standard_D4s_v5", "sku-zone:west/2/Standard_D4s_v5",
            "node:htc-2", "nodeset:other"];
        let mut world = World::new();
        for index in &held {
            world = world.held(scopes[*index], 60);
        }
        for (began, (name, state)) in (1_795_225_000_000..).step_by(1000).zip(&picks) {
            if *name < 4 {
                world = world.with(names[*name], began, AttemptState::ALL[*state]);
            }
        }
        let wanted: Vec<&str> = picks.iter().map(|(name, _)| names[*name]).collect();
        let steps = world.plan(&wanted);
        prop_assert_eq!(&steps, &world.plan(&wanted));
        let mut distinct: Vec<&str> = Vec::new();
        for name in wanted {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        let planned: Vec<&str> = steps.iter().map(|step| match step {
            Step::Create(create) => create.node.as_str(),
            Step::Keep { node, .. } | Step::Refuse { node, .. } => node.as_str(),
            Step::Unknown { node } => node.as_str(),
        }).collect();
        prop_assert_eq!(planned, distinct);
        for step in &steps {
            if let Step::Create(create) = step {
                let candidate = azslurm_core::hold::Candidate {
                    node: &create.node, place: &create.place, sku: &create.spec.sku,
                    nodeset: &create.nodeset, is_spot: false, image: "", facts: None,
                };
                prop_assert!(azslurm_core::hold::held(&candidate, &world.holds, NOW).is_none());
                let known = world.attempts.iter().filter(|a| a.is.node == create.node);
                let last = known.map(|a| a.is.attempt).max();
                prop_assert!(last.is_none_or(|last| last < create.attempt));
            }
        }
    }
}
