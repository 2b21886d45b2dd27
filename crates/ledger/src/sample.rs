//! Values for the unit tests of this crate. Never outside of tests.

use azslurm_core::attempt::{AttemptPlace, NewAttempt};
use azslurm_core::config::{Region, Sku, Zone};
use azslurm_core::{AttemptId, JobId, NodeName, Timestamp, VmName};

use crate::{Holder, Lease, LeaseAsk, Ledger, LedgerError, Take};

/// So many milliseconds after a time in 2026.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_225_985_000 + millis)
}

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub(crate) fn holder(name: &str) -> Holder {
    name.parse().unwrap()
}

pub(crate) fn new_attempt(node_name: &str, number: i64) -> NewAttempt {
    let node = node(node_name);
    let attempt = AttemptId::from_number(number).unwrap();
    NewAttempt {
        vm: VmName::of(&node, attempt),
        node,
        attempt,
        nodeset: "hpc".parse().unwrap(),
        place: AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "00000000-0000-0000-0000-000000000001".to_owned(),
            resource_group: "rg-hpc".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: Zone::new("2"),
            block: None,
        },
        sku: Sku::new("Standard_D4s_v5").unwrap(),
        is_spot: true,
        image: "p:o:s:v".to_owned(),
        body_hash: "0f1e".to_owned(),
        jobs: vec![JobId(7), JobId(9)],
    }
}

pub(crate) fn ask<'h>(holder: &'h Holder, take: Take, now: i64, until: i64) -> LeaseAsk<'h> {
    LeaseAsk { holder, take, now: at(now), until: at(until) }
}

/// A ledger in which `front` holds the lease of `n1` from 0 to 1000.
pub(crate) fn leased() -> (Ledger, Lease) {
    let mut ledger = Ledger::in_memory().unwrap();
    let front = holder("front");
    let lease = ledger
        .write(|writer| writer.lease(&node("n1"), &ask(&front, Take::IfFree, 0, 1000)))
        .unwrap()
        .granted()
        .unwrap();
    (ledger, lease)
}

/// Carries out what cannot fail but for the ledger.
pub(crate) fn write<T>(
    ledger: &mut Ledger,
    work: impl FnOnce(&mut crate::Writer<'_>) -> Result<T, LedgerError>,
) -> T {
    ledger.write(work).unwrap()
}
