//! What errors mean (`core::failure`): the rows that status and moment decide, the holds that
//! failures leave, and properties over everything that Azure could say.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use azslurm_core::Timestamp;
use azslurm_core::attempt::{AttemptPlace, AzureSays};
use azslurm_core::block::{BlockName, Incarnation};
use azslurm_core::config::{Region, Sku, Zone};
use azslurm_core::facts::SkuFacts;
use azslurm_core::failure::{
    CODE_CAP, CODE_GANG, CODE_NO_TOKEN, CODE_NOT_OFFERED, CODE_NOT_RDMA, CODE_QUOTA_AHEAD,
    CODE_RECALLED, CODE_UNAVAILABLE, CODE_UNREACHABLE, CODE_VANISHED, FailureKind as Kind, Moment,
    Reach, Retry, hold_of, understand,
};
use azslurm_core::hold::{Candidate, HoldScope};
use azslurm_core::{AttemptId, NodeName, NodesetName};
use proptest::prelude::*;

const QUOTA: &str = "it results in exceeding approved standardHBv3Family Cores quota. Current \
                     Limit: 240, Current Usage: 240, Additional Required: 120";

fn says(code: &str, text: &str) -> AzureSays {
    AzureSays { code: code.to_owned(), text: text.to_owned(), request_id: None }
}

/// Something that a VM could be made of and at.
#[derive(Debug)]
struct Wish {
    node: NodeName,
    nodeset: NodesetName,
    place: AttemptPlace,
    sku: Sku,
    facts: Option<SkuFacts>,
    is_spot: bool,
    image: &'static str,
}

impl Wish {
    fn new(zone: Option<&str>, in_block: bool) -> Wish {
        let block = BlockName::new("hb".parse().unwrap(), 2);
        let life = Incarnation { block, number: AttemptId::from_number(7).unwrap() };
        Wish {
            node: "hb-7".parse().unwrap(),
            nodeset: "hb".parse().unwrap(),
            place: AttemptPlace {
                site: "west".parse().unwrap(),
                subscription: "S-1".to_owned(),
                resource_group: "g".to_owned(),
                region: Region::new("westeurope").unwrap(),
                zone: zone.and_then(Zone::new),
                block: in_block.then_some(life),
            },
            sku: Sku::new("Standard_HB120rs_v3").unwrap(),
            facts: Some(SkuFacts {
                family: "standardHBv3Family".to_owned(),
                vcpus: 120,
                is_rdma: true,
                is_offered: true,
            }),
            is_spot: false,
            image: "p:o:s:latest",
        }
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            node: &self.node,
            place: &self.place,
            sku: &self.sku,
            nodeset: &self.nodeset,
            is_spot: self.is_spot,
            image: self.image,
            facts: self.facts.as_ref(),
        }
    }

    fn scope(&self, code: &str, text: &str) -> String {
        let says = says(code, text);
        let now = Timestamp::from_millis(5);
        let hold = hold_of(Moment::Operation, &says, &self.candidate(), now).unwrap();
        assert_eq!((hold.strikes, hold.struck_at), (1, now));
        hold.scope.to_string()
    }
}

#[test]
fn the_status_decides_where_the_code_says_nothing() {
    for (moment, code, expected) in [
        (Moment::Put(403), "SomethingNew", (Kind::Configuration, Reach::Site, Retry::Never)),
        (Moment::Poll(401), "", (Kind::Configuration, Reach::Site, Retry::Never)),
        (Moment::Put(500), "SomethingNew", (Kind::Azure, Reach::SkuHere, Retry::Once)),
        (Moment::Put(503), "", (Kind::Azure, Reach::SkuHere, Retry::Once)),
        (Moment::Put(408), "", (Kind::Azure, Reach::SkuHere, Retry::Once)),
        (Moment::Poll(502), "", (Kind::Azure, Reach::Vm, Retry::Here)),
        (Moment::Poll(404), "", (Kind::Conflict, Reach::Vm, Retry::Once)),
        (Moment::Put(418), "BrandNewCode", (Kind::Unknown, Reach::Vm, Retry::Once)),
        (Moment::Operation, "BrandNewCode", (Kind::Unknown, Reach::Vm, Retry::Once)),
        // The code goes before a status of fault: a PUT that the policy engine could not look at.
        (Moment::Put(504), "ResourceReadFailed", (Kind::Throttled, Reach::Vm, Retry::Wait)),
        (Moment::Put(429), "ResourceReadFailed", (Kind::Throttled, Reach::Vm, Retry::Wait)),
        (Moment::Put(403), "QuotaExceeded", (Kind::Quota, Reach::SkuSite, Retry::Elsewhere)),
        (Moment::Poll(409), "Conflict", (Kind::Conflict, Reach::Vm, Retry::Here)),
    ] {
        let failure = understand(moment, &says(code, ""));
        let found = (failure.kind, failure.reach, failure.retry);
        assert_eq!(found, expected, "{moment:?} {code}");
    }
}

#[test]
fn network_says_429_where_a_dependency_is_not_ready() {
    for code in [
        "RetryableError",
        "RetryableErrorDueToAnotherOperation",
        "ReferencedResourceNotProvisioned",
        "AnotherOperationInProgress",
    ] {
        for moment in [Moment::Put(429), Moment::Poll(429), Moment::Operation] {
            let failure = understand(moment, &says(code, ""));
            assert_eq!((failure.kind, failure.retry), (Kind::Conflict, Retry::Here), "{code}");
        }
    }
}

#[test]
fn our_own_codes_mean_what_we_mean() {
    for (code, expected) in [
        (CODE_UNREACHABLE, (Kind::Azure, Reach::Site, Retry::Elsewhere)),
        (CODE_UNAVAILABLE, (Kind::Azure, Reach::Site, Retry::Elsewhere)),
        (CODE_NO_TOKEN, (Kind::Azure, Reach::Site, Retry::Elsewhere)),
        (CODE_VANISHED, (Kind::Conflict, Reach::Vm, Retry::Once)),
        (CODE_QUOTA_AHEAD, (Kind::Quota, Reach::Vm, Retry::Elsewhere)),
        (CODE_CAP, (Kind::Quota, Reach::Vm, Retry::Elsewhere)),
        (CODE_NOT_RDMA, (Kind::Configuration, Reach::Nodeset, Retry::Never)),
        (CODE_NOT_OFFERED, (Kind::Configuration, Reach::SkuSite, Retry::Never)),
        (CODE_GANG, (Kind::Capacity, Reach::Vm, Retry::Elsewhere)),
    ] {
        let failure = understand(Moment::Operation, &says(code, ""));
        assert_eq!((failure.kind, failure.reach, failure.retry), expected, "{code}");
    }
}

#[test]
fn another_place_is_worth_a_try_only_beyond_the_reach() {
    for (code, expected) in [
        ("AllocationFailed", true),
        ("AuthorizationFailed", true),
        (CODE_NOT_OFFERED, true),
        ("InvalidParameter", false),
        ("ImageNotFound", false),
        ("InternalExecutionError", false),
        ("AnotherOperationInProgress", false),
        ("TooManyRequests", false),
    ] {
        let failure = understand(Moment::Operation, &says(code, ""));
        assert_eq!(failure.may_go_elsewhere(), expected, "{code}");
    }
}

#[test]
fn a_hold_names_what_the_failure_reaches() {
    let zonal = Wish::new(Some("1"), false);
    let in_block = Wish::new(None, true);
    let alone = Wish::new(None, false);
    let spot = Wish { is_spot: true, ..Wish::new(None, false) };
    let low = QUOTA.replace("standardHBv3Family Cores", "LowPriorityCores");
    let cores = QUOTA.replace("standardHBv3Family Cores", "Total Regional Cores");
    for (wish, code, text, scope) in [
        (&zonal, "ZonalAllocationFailed", "", "sku-zone:west/1/Standard_HB120rs_v3"),
        (&zonal, "AllocationFailed", "", "sku-zone:west/1/Standard_HB120rs_v3"),
        (&zonal, CODE_NOT_OFFERED, "", "sku-site:west/Standard_HB120rs_v3"),
        (&alone, "AllocationFailed", "", "sku-site:west/Standard_HB120rs_v3"),
        (&in_block, "AllocationFailed", "", "block:hb-b2/west"),
        (&in_block, "OverconstrainedAllocationRequest", "", "block:hb-b2/west"),
        (&in_block, "NotFound", "Availability Set s cannot be found.", "block:hb-b2/west"),
        (&in_block, "SkuNotAvailable", "", "sku-site:west/Standard_HB120rs_v3"),
        (&alone, "QuotaExceeded", QUOTA, "family:s-1/westeurope/standardHBv3Family/120"),
        (&alone, "QuotaExceeded", &cores, "family:s-1/westeurope/cores/120"),
        (&spot, "QuotaExceeded", &low, "spot-region:s-1/westeurope"),
        (&alone, "SubnetIsFull", "", "subnet:west"),
        (&alone, "OSProvisioningTimedOut", "", "image:p:o:s:latest"),
        (&alone, "InvalidRequestFormat", "", "nodeset:hb"),
        (&alone, "AuthorizationFailed", "", "site:west"),
        (&alone, "VMExtensionProvisioningError", "", "node:hb-7"),
    ] {
        assert_eq!(wish.scope(code, text), scope, "{code} {text}");
    }
    let unknown = Wish { facts: None, ..Wish::new(None, false) };
    assert_eq!(unknown.scope("QuotaExceeded", QUOTA), "sku-site:west/Standard_HB120rs_v3");
}

#[test]
fn a_throttle_never_holds_a_place() {
    let wish = Wish::new(None, false);
    let now = Timestamp::from_millis(0);
    for (moment, code) in [
        (Moment::Put(429), "OperationNotAllowed"),
        (Moment::Put(429), "AllocationFailed"),
        (Moment::Operation, "TooManyRequests"),
        (Moment::Operation, CODE_RECALLED),
    ] {
        assert_eq!(hold_of(moment, &says(code, QUOTA), &wish.candidate(), now), None, "{code}");
    }
}

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        any::<u16>().prop_map(Moment::Put),
        (400_u16..600).prop_map(Moment::Put),
        Just(Moment::Operation),
        (400_u16..600).prop_map(Moment::Poll),
    ]
}

/// Codes that Azure has, in any case, and anything else.
fn codes() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "AllocationFailed",
        "OperationNotAllowed",
        "QuotaExceeded",
        "InvalidParameter",
        "NotFound",
        "SkuNotAvailable",
        "SubnetIsFull",
        "AuthorizationFailed",
        "OSProvisioningTimedOut",
        "RetryableError",
        "InternalServerError",
        "AzureSpotFeatureNotEnabledForSubscription",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[A-Za-z]{0,30}", any::<String>()]
}

/// Texts with the words that decide, in any order, and anything else.
fn texts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "exceeding approved ",
        "standardHBv3Family Cores",
        "LowPriorityCores",
        "Total Regional Cores",
        " quota",
        "quota limits of ",
        "Current Limit: 0",
        "Current Limit: 99999999999999999999",
        "availabilitySet",
        " not found",
        "İmage",
        "size",
        "cluster",
        "available in the ",
        ".",
        "ß",
    ]);
    prop_oneof![prop::collection::vec(words, 0..8).prop_map(|w| w.concat()), any::<String>()]
}

fn wishes() -> impl Strategy<Value = Wish> {
    (any::<[bool; 5]>()).prop_map(|[is_zonal, in_block, is_spot, has_facts, has_image]| {
        let wish = Wish::new(is_zonal.then_some("1"), in_block && !is_zonal);
        let facts = wish.facts.clone().filter(|_| has_facts);
        let image = if has_image { wish.image } else { "" };
        Wish { is_spot, facts, image, ..wish }
    })
}

proptest! {
    #[test]
    fn a_429_is_never_a_refusal(code in codes(), text in texts()) {
        for moment in [Moment::Put(429), Moment::Poll(429)] {
            let failure = understand(moment, &says(&code, &text));
            prop_assert!(matches!(failure.retry, Retry::Wait | Retry::Here), "{failure:?}");
            let is_dependency = failure.kind == Kind::Conflict;
            prop_assert!(is_dependency || failure.kind == Kind::Throttled, "{failure:?}");
        }
    }

    #[test]
    fn everything_means_something_and_its_hold_covers_what_was_refused(
        moment in moments(), code in codes(), text in texts(), wish in wishes(),
    ) {
        let (says, now) = (says(&code, &text), Timestamp::from_millis(7));
        let failure = understand(moment, &says);
        prop_assert!(failure.hold <= failure.hold_max);
        let hold = hold_of(moment, &says, &wish.candidate(), now);
        prop_assert_eq!(hold.is_none(), failure.kind == Kind::Throttled);
        if let Some(hold) = hold {
            prop_assert!(hold.scope.covers(&wish.candidate()), "{}", hold.scope);
            prop_assert_eq!(hold.scope.to_string().parse::<HoldScope>().unwrap(), hold.scope);
            prop_assert!(hold.until > now);
        }
    }

    #[test]
    fn an_unknown_code_is_tried_once_more(
        code in "Zzz[A-Za-z]{0,20}", text in texts(), status in 400_u16..500,
    ) {
        prop_assume!(!matches!(status, 401 | 403 | 404 | 408 | 429));
        prop_assume!(!code.ends_with("CountLimitReached"));
        for moment in [Moment::Put(status), Moment::Operation, Moment::Poll(status)] {
            let failure = understand(moment, &says(&code, &text));
            prop_assert_eq!((failure.kind, failure.retry), (Kind::Unknown, Retry::Once));
        }
    }
}
