//! Placement groups and availability sets of blocks that the ledger has lost: they go, and
//! everybody else's stay.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_azure::{Answer, Arm, GroupSpec, Place, SetSpec, group_id};
use azslurm_core::AttemptId;
use azslurm_core::attempt::AttemptState;
use azslurm_core::block::{BlockState, Incarnation};
use azslurm_core::config::{
    Cloud, CloudName, Credential, Endpoints, Limits, ManagedIdentity, Region,
};
use azslurm_core::vm::{TAG_CLUSTER, block_tags};
use azslurm_ledger::EventFilter;
use serde_json::json;
use tokio::time::Instant;

use crate::bench::{Bench, all, assert_names, infiniband, said};
use crate::world::{SUBSCRIPTION, alive, change, now, pass};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A life of a block, begun so long ago.
fn life(block: &str, ago: Duration) -> Incarnation {
    let number = AttemptId::next(now().minus(ago), None);
    Incarnation { block: block.parse().unwrap(), number }
}

fn name(life: &Incarnation) -> String {
    life.resource_name(&"bench".parse().unwrap())
}

fn ours(life: &Incarnation) -> BTreeMap<String, String> {
    block_tags(&"bench".parse().unwrap(), life)
}

/// A client of whoever may do everything.
fn arm(bench: &Bench) -> Arm {
    let urls = bench.emulator.endpoints();
    let cloud = Cloud {
        name: CloudName::Custom,
        endpoints: Endpoints {
            authority: urls.authority.clone(),
            resource_manager: urls.arm_http.clone(),
            audience: "https://management.azure.com".to_owned(),
            resource_graph: urls.resource_graph.clone(),
            prices: None,
            imds: urls.imds.clone(),
        },
        ca_bundle: None,
    };
    let limits =
        Limits { requests_in_flight: 8, request_timeout: Duration::from_secs(30), tries: 3 };
    let credential = Credential::ManagedIdentity(ManagedIdentity::System);
    Arm::new(&cloud, &credential, &limits).unwrap()
}

/// Makes placement groups, each with its set if it is to have one.
fn make(bench: &Bench, all: &[(&str, BTreeMap<String, String>, bool)]) {
    let arm = arm(bench);
    let place = Place {
        subscription: SUBSCRIPTION.to_owned(),
        resource_group: "hpc".to_owned(),
        region: None,
    };
    let region = || Region::new("westeurope").unwrap();
    let soon = || Instant::now() + Duration::from_secs(60);
    let work = async {
        for (name, tags, has_set) in all {
            let (name, tags) = ((*name).to_owned(), tags.clone());
            let placement_group = group_id(&place, &name);
            let group = GroupSpec {
                name: name.clone(),
                region: region(),
                skus: vec![],
                tags: tags.clone(),
            };
            let made = arm.put_placement_group(&place, &group, soon()).await.unwrap();
            assert!(matches!(made.answer, Answer::Done(())), "{made:?}");
            if *has_set {
                let set = SetSpec { name, region: region(), placement_group, tags };
                let made = arm.put_availability_set(&place, &set, soon()).await.unwrap();
                assert!(matches!(made.answer, Answer::Done(())), "{made:?}");
            }
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// Names of groups and of sets, in order.
fn left(bench: &Bench) -> [Vec<String>; 2] {
    ["proximityPlacementGroups", "availabilitySets"].map(|kind| {
        let mut names = alive(bench, kind);
        names.sort();
        names
    })
}

fn without(names: &[Vec<String>; 2], gone: &[&str]) -> [Vec<String>; 2] {
    names.clone().map(|mut some| {
        some.retain(|name| !gone.contains(&name.as_str()));
        some
    })
}

#[test]
fn blocks_that_a_lost_ledger_has_forgotten_go_and_all_others_stay() {
    let bench = Bench::start();
    bench.write_config(&bench.config(&infiniband(8, 4)));
    said(&bench.run("azslurm-resume", &["hb1"]), 0);
    bench.wait_for_the_driver();
    bench.attempts("the VM", all(AttemptState::Running));
    bench.slurmctld_says(&[("hb1", "MIXED+CLOUD")]);
    let (lost, bare, young) =
        (life("hb-b2", 3 * HOUR), life("hb-b1", 2 * HOUR), life("hb-b2", HOUR / 2));
    let (plain, theirs, odd) =
        (life("hb-b2", 5 * HOUR), life("hb-b2", 6 * HOUR), life("hb-b2", 7 * HOUR));
    let mut of_them = ours(&theirs);
    of_them.insert(TAG_CLUSTER.to_owned(), "bench2".to_owned());
    make(
        &bench,
        &[
            (&name(&lost), ours(&lost), true),
            (&name(&bare), ours(&bare), false),
            (&name(&young), ours(&young), true),
            // A name of ours alone, another cluster's tags, and tags that do not fit the name.
            (&name(&plain), BTreeMap::new(), true),
            (&name(&theirs), of_them, true),
            ("mine", ours(&odd), true),
        ],
    );
    let before = left(&bench);
    assert_eq!((before[0].len(), before[1].len()), (7, 6), "{before:?}");
    let dry = pass(&bench, &["--dry-run"], 0);
    assert_names(
        &dry["forgotten"].to_string(),
        &["LedgerHasLostIt", "TooYoung", "BlockIsNotKnown"],
    );
    assert_eq!(dry["forgotten"].as_array().unwrap().len(), 5, "{dry}");
    assert_eq!(left(&bench), before, "a dry run changes nothing");
    pass(&bench, &[], 0);
    assert_eq!(left(&bench), without(&before, &[&name(&lost), &name(&bare)]));
    let state = |life: &Incarnation| bench.ledger().block(life).unwrap().map(|block| block.state);
    assert_eq!([state(&lost), state(&bare)], [Some(BlockState::Gone); 2]);
    assert_eq!([state(&young), state(&plain), state(&theirs), state(&odd)], [None; 4]);
    let events = bench.ledger().events(&EventFilter::default()).unwrap();
    let told = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((told("block-forgotten"), told("block-gone")), (2, 2), "{events:?}");
    assert_names(&bench.log(), &[&name(&lost), "the ledger does not know", "mine"]);
    let report = pass(&bench, &[], 0);
    assert_eq!(report["forgotten"], json!([]), "looked for once an hour");
    // What the ledger calls gone and Azure has goes again.
    make(&bench, &[(&name(&lost), ours(&lost), true)]);
    change(&bench, "DELETE FROM facts WHERE key = 'forgotten-looked'");
    assert_names(&pass(&bench, &[], 0)["forgotten"].to_string(), &["IsNotGone"]);
    assert_eq!(left(&bench), without(&before, &[&name(&lost), &name(&bare)]));
    assert_eq!(alive(&bench, "virtualMachines").len(), 1);
}
