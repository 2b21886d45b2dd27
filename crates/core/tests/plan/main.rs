//! The plan of a resume: situation by situation, and what holds in all of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod all;
mod table;
mod world;

use azslurm_core::attempt::AttemptState;
use azslurm_core::plan::{Create, Step, held_everywhere};
use azslurm_core::vm::{UserData, our_tags};
use azslurm_core::{NodeName, VmName};
use world::World;

const SITUATIONS: &str = include_str!("situations.txt");

#[test]
fn every_situation_is_planned_as_the_table_says() {
    let now = table::rendered(SITUATIONS);
    assert!(SITUATIONS.lines().filter(|line| line.starts_with("want ")).count() >= 40);
    let first = now.lines().zip(SITUATIONS.lines()).find(|(now, then)| now != then);
    assert!(now == SITUATIONS, "`make golden` rewrites situations.txt; now and then: {first:#?}");
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn created(step: &Step) -> &Create {
    match step {
        Step::Create(create) => create,
        Step::Keep { .. } | Step::Refuse(_) | Step::Unknown { .. } => {
            panic!("not created: {step:?}")
        }
    }
}

#[test]
fn a_vm_says_whose_it_is_and_has_its_texts() {
    let mut world = World::new();
    let plan = world.plan("htc-1");
    let create = created(&plan.steps[0]);
    assert_eq!(create.spec.name, VmName::of(&node("htc-1"), create.attempt));
    assert_eq!(create.spec.computer_name, node("htc-1"));
    assert_eq!(create.spec.availability_set, None);
    let text = create.spec.user_data.as_ref().map(UserData::text);
    assert_eq!(text.as_deref(), Some("demo htc-1 htc head ${HOME} {other}"));
    let mut tags = our_tags(&world.config.cluster, &create.node, &create.nodeset, create.attempt);
    tags.insert("project".to_owned(), "p1".to_owned());
    assert_eq!(create.spec.tags, tags);
}

#[test]
fn a_vm_of_a_block_names_its_set_and_no_zone() {
    let plan = World::new().plan("hb-[1-2]");
    let [block] = plan.blocks.as_slice() else { panic!("{:?}", plan.blocks) };
    assert_eq!(block.name, block.life.resource_name(&"demo".parse().unwrap()));
    for step in &plan.steps {
        let create = created(step);
        assert_eq!(create.place.block.as_ref(), Some(&block.life));
        assert_eq!(create.place.zone, None);
        let set = create.spec.availability_set.clone().unwrap();
        let expected = format!(
            "/subscriptions/{}/resourceGroups/hpc/providers/Microsoft.Compute/availabilitySets/{}",
            block.subscription, block.name
        );
        assert_eq!(set, expected);
    }
}

#[test]
fn blocks_follow_the_numbers_in_the_names() {
    let world = World::new();
    let hb = &world.config.nodesets[&"hb".parse().unwrap()];
    let of = |name: &str| hb.block_of(&node(name)).unwrap();
    assert_eq!([of("hb-1"), of("hb-4"), of("hb-5"), of("hb-10"), of("hb-12")], [1, 1, 2, 3, 3]);
    assert_eq!(hb.nodes_of_block(3).count(), 4);
}

#[test]
fn several_sites_need_a_word_about_what_happens_when_the_first_is_full() {
    let text = include_str!("world.toml").replacen("spill = \"next-site\"\n", "", 1);
    let errors = azslurm_core::config::parse(&text).unwrap_err().render("world.toml");
    for words in ["nodeset.htc.sites", "names several", "spill = \"next-site\"", "\"never\""] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
}

#[test]
fn an_attempt_is_newer_than_all_that_are_known() {
    let mut world = World::new().with("vm htc-1 deleting west/1");
    let future =
        azslurm_core::AttemptId::next(world::NOW.plus(std::time::Duration::from_secs(3600)), None);
    world.attempts[0].is.attempt = future;
    assert!(created(&world.plan("htc-1").steps[0]).attempt > future, "the clock stepped back");
    assert_eq!(world.attempts[0].state, AttemptState::Deleting);
}

#[test]
fn a_held_node_is_told_by_the_hold_that_ends_first() {
    let world = World::new().with("hold site:west 60").with("hold site:north 30");
    let hold = held_everywhere(&node("htc-1"), &world.sight()).unwrap();
    assert_eq!(hold.scope.to_string(), "site:north");
    let world = world.with("hold site:north 0");
    assert!(held_everywhere(&node("hb-1"), &world.sight()).is_some());
    // Where a block stands is its only place.
    let world = World::new()
        .with("block hb-b1 west")
        .with("vm hb-1 running west")
        .with("hold block:hb-b1/west 60");
    assert!(held_everywhere(&node("hb-2"), &world.sight()).is_some());
    assert!(held_everywhere(&node("hb-5"), &world.sight()).is_none(), "another block");
}
