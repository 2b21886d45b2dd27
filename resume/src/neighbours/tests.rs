//! What is adopted and what is planned anew, cell by cell. In all of it hb-2 is intended in a life
//! of block hb-b1 that is not made; hb-1 is its neighbour.

use azslurm_core::attempt::{AttemptPlace, NewAttempt};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, Timestamp};

use super::*;

/// The life that is intended, and others.
const NEW: i64 = 1_000_000;
const OLD: i64 = 500_000;

fn life(block: &str, number: i64) -> Incarnation {
    let number = AttemptId::from_number(number).unwrap();
    Incarnation { block: block.parse().unwrap(), number }
}

fn vm(node: &str, number: i64, state: AttemptState, block: Option<Incarnation>) -> Attempt {
    let node: NodeName = node.parse().unwrap();
    let attempt = AttemptId::from_number(number).unwrap();
    let at = Timestamp::from_millis(number);
    Attempt {
        is: NewAttempt {
            vm: VmName::of(&node, attempt),
            node,
            attempt,
            nodeset: "hb".parse().unwrap(),
            place: AttemptPlace {
                site: "west".parse().unwrap(),
                subscription: "s".to_owned(),
                resource_group: "g".to_owned(),
                region: Region::new("westeurope").unwrap(),
                zone: None,
                block,
            },
            sku: Sku::new("Standard_HB120rs_v3").unwrap(),
            is_spot: false,
            image: String::new(),
            body_hash: String::new(),
            jobs: Vec::new(),
        },
        state,
        why: None,
        says: None,
        operation: None,
        request_id: None,
        generation: 1,
        intended_at: at,
        settles_at: at,
        accepted_at: None,
        running_at: None,
        registered_at: None,
        delete_intended_at: None,
        ended_at: state.is_ended().then_some(at),
        changed_at: at,
    }
}

/// A VM that Azure has, in a life.
fn found(node: &str, number: i64, life: Incarnation) -> Attempt {
    vm(node, number, AttemptState::Running, Some(life))
}

/// hb-2 is intended in a new life, and nothing else is known.
fn sight() -> Sight {
    let intent = vm("hb-2", NEW, AttemptState::Intended, Some(life("hb-b1", NEW)));
    Sight {
        unsent: vec![intent.clone()],
        living: vec![intent],
        lives: BTreeMap::from([(life("hb-b1", NEW), BlockState::Intended)]),
        leased: BTreeSet::from(["hb-2".parse().unwrap()]),
        ..Sight::default()
    }
}

/// Adopts as the ledger would; what is adopted, and what is planned anew.
fn decide(mut sight: Sight) -> (Vec<String>, Vec<String>) {
    let adopted = sight.adoptable();
    let names = adopted.iter().map(|attempt| attempt.is.vm.to_string()).collect();
    sight.living.extend(adopted);
    (names, sight.anew().keys().map(ToString::to_string).collect())
}

fn name(node: &str, number: i64) -> String {
    VmName::of(&node.parse().unwrap(), AttemptId::from_number(number).unwrap()).to_string()
}

const ADOPTED: bool = true;
const LEFT: bool = false;
const ANEW: bool = true;
const AS_IT_IS: bool = false;

#[test]
fn a_neighbour_that_azure_has_is_adopted_and_its_life_stands_unless_it_is_somebodys_or_is_to_go() {
    let cells = [
        ("a life that the ledger does not know", life("hb-b1", OLD), None, (ADOPTED, ANEW)),
        ("made", life("hb-b1", OLD), Some(BlockState::Made), (ADOPTED, ANEW)),
        ("of a ledger put back", life("hb-b1", OLD), Some(BlockState::Intended), (ADOPTED, ANEW)),
        ("is to go", life("hb-b1", OLD), Some(BlockState::DeleteIntended), (LEFT, AS_IT_IS)),
        ("gone", life("hb-b1", OLD), Some(BlockState::Gone), (LEFT, AS_IT_IS)),
        ("the very life", life("hb-b1", NEW), Some(BlockState::Intended), (LEFT, AS_IT_IS)),
        ("another block's", life("hb-b2", OLD), None, (LEFT, AS_IT_IS)),
    ];
    for (what, life, state, (is_adopted, is_anew)) in cells {
        let mut sight = sight();
        sight.found = vec![found("hb-1", OLD, life.clone())];
        sight.lives.extend(state.map(|state| (life, state)));
        let (adopted, anew) = decide(sight);
        assert_eq!(!adopted.is_empty(), is_adopted, "{what}");
        assert_eq!(anew, if is_anew { vec!["hb-2"] } else { vec![] }, "{what}");
    }
}

#[test]
fn a_vm_in_no_life_of_ours_changes_nothing() {
    let mut sight = sight();
    sight.found = vec![vm("hb-1", OLD, AttemptState::Running, None)];
    assert_eq!(decide(sight), (vec![], vec![]));
}

#[test]
fn a_neighbour_that_somebody_works_on_or_that_has_another_vm_is_left_alone() {
    let mut held = sight();
    held.found = vec![found("hb-1", OLD, life("hb-b1", OLD))];
    held.leased.insert("hb-1".parse().unwrap());
    assert_eq!(decide(held), (vec![], vec![]));
    for state in [AttemptState::Intended, AttemptState::Deleting] {
        let mut other = sight();
        other.found = vec![found("hb-1", OLD, life("hb-b1", OLD))];
        other.living.push(vm("hb-1", OLD + 1, state, None));
        assert_eq!(decide(other), (vec![], vec![]), "{state:?}");
    }
}

#[test]
fn an_old_vm_of_the_node_itself_keeps_no_block_where_it_is() {
    let mut sight = sight();
    sight.found = vec![found("hb-2", OLD, life("hb-b1", OLD))];
    assert_eq!(decide(sight), (vec![], vec![]));
}

#[test]
fn of_several_vms_of_a_neighbour_the_newest_is_adopted() {
    let mut sight = sight();
    let numbers = [OLD + 1, OLD + 2, OLD];
    sight.found = numbers.map(|number| found("hb-1", number, life("hb-b1", OLD))).to_vec();
    assert_eq!(decide(sight), (vec![name("hb-1", OLD + 2)], vec!["hb-2".to_owned()]));
}

#[test]
fn a_life_that_the_ledger_has_learned_of_meanwhile_stands_as_long_as_a_vm_in_it_is_wanted() {
    for (state, is_anew) in [
        (AttemptState::Intended, ANEW),
        (AttemptState::Accepted, ANEW),
        (AttemptState::Running, ANEW),
        (AttemptState::DeleteIntended, AS_IT_IS),
        (AttemptState::Deleting, AS_IT_IS),
    ] {
        let mut sight = sight();
        sight.living.push(vm("hb-1", OLD, state, Some(life("hb-b1", OLD))));
        sight.lives.insert(life("hb-b1", OLD), BlockState::Made);
        let (adopted, anew) = decide(sight);
        assert_eq!(adopted, [""; 0], "{state:?}: it is known");
        assert_eq!(!anew.is_empty(), is_anew, "{state:?}");
    }
}

#[test]
fn an_intent_whose_vm_azure_has_was_sent_before_the_ledger_was_put_back() {
    let mut sight = sight();
    sight.found = vec![found("hb-1", OLD, life("hb-b1", OLD))];
    sight.known = BTreeSet::from([sight.unsent[0].is.vm.clone()]);
    assert_eq!(decide(sight), (vec![], vec![]));
}

#[test]
fn only_intents_of_the_block_that_stands_are_planned_anew() {
    let mut sight = sight();
    for (node, block) in [("hb-3", "hb-b1"), ("hb-9", "hb-b3")] {
        let intent = vm(node, NEW, AttemptState::Intended, Some(life(block, NEW)));
        sight.living.push(intent.clone());
        sight.unsent.push(intent);
    }
    sight.found = vec![found("hb-1", OLD, life("hb-b1", OLD))];
    assert_eq!(
        decide(sight),
        (vec![name("hb-1", OLD)], vec!["hb-2".to_owned(), "hb-3".to_owned()])
    );
}
