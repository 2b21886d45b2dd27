//! Azure's buckets: which of them a call drains, what an answer says is left in them, and which one
//! a 429 is about (FACTS §3). Must never decide who sends.
//!
//! ```text
//! call ──► front door: reads, writes or deletes of one principal and subscription
//!      └─► provider: PutVM, GetOperation … of a subscription in the region of the resource
//! ```

use std::fmt;

use azslurm_core::budget::Size;

use crate::{RateLimits, Refusal};

/// The buckets of all principals of a subscription together are this much larger than those of one
/// (FACTS §3.1); older answers name only them.
const GLOBAL_FACTOR: i64 = 15;
/// Compute's limits of one VM end so (`PutVMResource`): they say nothing about the next VM.
const OF_ONE_VM: &str = "resource";
/// Codes of the front door's 429 (FACTS §3.1).
const DOOR_CODES: [&str; 2] = ["SubscriptionRequestsThrottled", "ResourceRequestsThrottled"];
/// The outer code of compute's 429 (FACTS §3.2).
const COMPUTE_CODE: &str = "OperationNotAllowed";

/// What a call is to Azure's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Makes a VM or an availability set.
    Put,
    /// Makes a placement group.
    PutGroup,
    /// Deletes a VM or an availability set.
    Delete,
    /// Deletes a placement group.
    DeleteGroup,
    /// Deletes a NIC or a disk.
    DeletePart,
    /// Reads one VM.
    Get,
    /// Reads a page of a list of compute's.
    List,
    /// Reads a page of a list of the network's.
    ListNetwork,
    /// Polls an operation.
    Poll,
    /// Queries Resource Graph.
    Query,
    /// Reads a page of the activity log.
    ReadLog,
    /// Reads what an installation rests on, of any provider.
    Look,
}

impl Operation {
    fn door(self) -> Door {
        match self {
            Operation::Put | Operation::PutGroup => Door::Writes,
            Operation::Delete | Operation::DeleteGroup | Operation::DeletePart => Door::Deletes,
            Operation::Get
            | Operation::List
            | Operation::ListNetwork
            | Operation::Poll
            | Operation::Query
            | Operation::ReadLog
            | Operation::Look => Door::Reads,
        }
    }

    /// `None`: Resource Graph, which has no region.
    fn provider(self) -> Option<Provider> {
        match self {
            Operation::Put => Some(Provider::PutVm),
            Operation::Delete => Some(Provider::DeleteVm),
            Operation::PutGroup | Operation::DeleteGroup => Some(Provider::PutDeletePpg),
            Operation::Get => Some(Provider::LowCostGet),
            Operation::List => Some(Provider::HighCostGet),
            Operation::ListNetwork => Some(Provider::NetworkReads),
            Operation::Poll => Some(Provider::GetOperation),
            Operation::DeletePart | Operation::ReadLog | Operation::Look => Some(Provider::Others),
            Operation::Query => None,
        }
    }
}

/// The three buckets of Resource Manager's front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// GET, and the queries of Resource Graph.
    Reads,
    /// PUT and other POST.
    Writes,
    /// DELETE.
    Deletes,
}

/// The buckets of the resource providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// PUT of VMs and availability sets.
    PutVm,
    /// DELETE of VMs and availability sets.
    DeleteVm,
    /// GET of a VM or a disk.
    LowCostGet,
    /// Lists of compute's.
    HighCostGet,
    /// Polls of compute's operations.
    GetOperation,
    /// PUT and DELETE of placement groups.
    PutDeletePpg,
    /// Reads of the network's.
    NetworkReads,
    /// All others together: no limit of theirs is near what we ask of them.
    Others,
}

/// A bucket of Azure's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Of the front door, for one principal.
    Door {
        /// Which of the three.
        door: Door,
        /// Subscription id in lower case; empty for calls of a tenant.
        subscription: String,
    },
    /// Of a provider, for all principals.
    Provider {
        /// Which.
        provider: Provider,
        /// Subscription id in lower case.
        subscription: String,
        /// Region in lower case; empty where a call does not know it.
        region: String,
    },
    /// Resource Graph's, for one principal.
    Graph,
}

/// The buckets that one call drains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Buckets {
    /// At the front door.
    pub door: Bucket,
    /// At the provider.
    pub provider: Bucket,
}

/// What a 429 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The front door's bucket.
    Door,
    /// The provider's bucket.
    Provider,
    /// One VM, and no other call.
    Vm,
}

impl Door {
    const ALL: [Door; 3] = [Door::Reads, Door::Writes, Door::Deletes];

    fn word(self) -> &'static str {
        match self {
            Door::Reads => "reads",
            Door::Writes => "writes",
            Door::Deletes => "deletes",
        }
    }
}

impl Provider {
    const ALL: [Provider; 8] = [
        Provider::PutVm,
        Provider::DeleteVm,
        Provider::LowCostGet,
        Provider::HighCostGet,
        Provider::GetOperation,
        Provider::PutDeletePpg,
        Provider::NetworkReads,
        Provider::Others,
    ];

    /// How the names of compute's limits begin (FACTS §3.2).
    fn word(self) -> &'static str {
        match self {
            Provider::PutVm => "PutVM",
            Provider::DeleteVm => "DeleteVM",
            Provider::LowCostGet => "LowCostGet",
            Provider::HighCostGet => "HighCostGet",
            Provider::GetOperation => "GetOperation",
            Provider::PutDeletePpg => "PutDeletePPG",
            Provider::NetworkReads => "NetworkReads",
            Provider::Others => "Others",
        }
    }
}

impl Bucket {
    /// Its documented size.
    pub fn size(&self) -> Size {
        match self {
            Bucket::Door { door: Door::Reads, .. } => Size::READS,
            Bucket::Door { door: Door::Writes, .. } => Size::WRITES,
            Bucket::Door { door: Door::Deletes, .. } => Size::DELETES,
            Bucket::Provider { provider, .. } => match provider {
                Provider::PutVm => Size::PUT_VM,
                Provider::DeleteVm => Size::DELETE_VM,
                Provider::LowCostGet => Size::LOW_COST_GET,
                Provider::HighCostGet => Size::HIGH_COST_GET,
                Provider::GetOperation => Size::GET_OPERATION,
                Provider::PutDeletePpg => Size::PUT_DELETE_PPG,
                Provider::NetworkReads | Provider::Others => Size::NETWORK_READS,
            },
            Bucket::Graph => Size::GRAPH,
        }
    }

    /// Whether each principal has a bucket of its own.
    pub fn is_of_principal(&self) -> bool {
        match self {
            Bucket::Door { .. } | Bucket::Graph => true,
            Bucket::Provider { .. } => false,
        }
    }

    /// Whether calls follow closely upon each other: whoever reads reads again soon.
    pub fn is_reads(&self) -> bool {
        matches!(self, Bucket::Door { door: Door::Reads, .. })
    }

    /// Whether a metered call needs a token of this bucket. The others are so much larger than what
    /// the front door lets through that they are never the ones to run dry first.
    pub(crate) fn is_metered(&self) -> bool {
        match self {
            Bucket::Door { subscription, .. } => !subscription.is_empty(),
            Bucket::Provider { provider, .. } => {
                matches!(provider, Provider::PutVm | Provider::DeleteVm)
            }
            Bucket::Graph => false,
        }
    }

    /// What an answer says is left in it.
    pub(crate) fn left(&self, limits: &RateLimits) -> Option<i64> {
        match self {
            Bucket::Door { door, .. } => {
                let of = |scope: &str, global: &str| {
                    limits.remaining.get(&format!("{scope}-{global}{}", door.word())).copied()
                };
                let either = |global| of("subscription", global).or_else(|| of("tenant", global));
                match (either(""), either("global-")) {
                    (Some(own), Some(global)) => Some(own.min(global)),
                    (None, Some(global)) => Some(global / GLOBAL_FACTOR),
                    (own, None) => own,
                }
            }
            Bucket::Provider { provider, .. } => {
                let shared = || limits.remaining.iter().filter_map(shared_of_provider);
                let own = shared().filter(|(name, _)| begins(name, provider.word()));
                own.map(|(_, left)| left).min().or_else(|| shared().map(|(_, left)| left).min())
            }
            Bucket::Graph => limits.remaining.get(crate::header::GRAPH_QUOTA).copied(),
        }
    }
}

/// `PutVM3Min` of `Microsoft.Compute/PutVM3Min`, if all VMs share it.
fn shared_of_provider<'a>((name, left): (&'a String, &i64)) -> Option<(&'a str, i64)> {
    let (_, limit) = name.split_once('/')?;
    (!is_of_one_vm(limit)).then_some((limit, *left))
}

fn is_of_one_vm(limit: &str) -> bool {
    limit.to_ascii_lowercase().ends_with(OF_ONE_VM)
}

fn begins(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word))
}

/// `writes/<subscription>`, `PutVM/<subscription>/<region>`, `graph`: how programs tell each other.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bucket::Door { door, subscription } => write!(f, "{}/{subscription}", door.word()),
            Bucket::Provider { provider, subscription, region } => {
                write!(f, "{}/{subscription}/{region}", provider.word())
            }
            Bucket::Graph => f.write_str("graph"),
        }
    }
}

impl Bucket {
    /// Reads what [`Bucket`] shows itself as; `None` for a name of a newer azslurm.
    pub fn from_name(name: &str) -> Option<Bucket> {
        if name == "graph" {
            return Some(Bucket::Graph);
        }
        let (word, rest) = name.split_once('/')?;
        if let Some(door) = Door::ALL.into_iter().find(|door| door.word() == word) {
            let subscription = rest.to_owned();
            return (!rest.contains('/')).then_some(Bucket::Door { door, subscription });
        }
        let provider = Provider::ALL.into_iter().find(|provider| provider.word() == word)?;
        let (subscription, region) = rest.split_once('/')?;
        let (subscription, region) = (subscription.to_owned(), region.to_owned());
        Some(Bucket::Provider { provider, subscription, region })
    }
}

impl Buckets {
    /// Those of an operation; `region` is empty where it is not known.
    pub fn of(operation: Operation, subscription: &str, region: &str) -> Buckets {
        let subscription = subscription.to_ascii_lowercase();
        let door = Bucket::Door { door: operation.door(), subscription: subscription.clone() };
        let provider = match operation.provider() {
            Some(provider) => {
                Bucket::Provider { provider, subscription, region: region.to_ascii_lowercase() }
            }
            None => Bucket::Graph,
        };
        Buckets { door, provider }
    }

    /// Both.
    pub fn each(&self) -> [&Bucket; 2] {
        [&self.provider, &self.door]
    }

    /// Which one a 429 is about. Where it does not say so, its shape does: compute answers with the
    /// code of a quota and the throttle in a detail, the front door with its own code alone.
    pub fn limited(&self, refusal: &Refusal) -> Limited {
        let target = refusal.target.as_deref().unwrap_or_default();
        if DOOR_CODES.contains(&refusal.code.as_str()) {
            return Limited::Door;
        }
        let is_computes = refusal.outer_code == COMPUTE_CODE || !target.is_empty();
        match self.provider {
            Bucket::Provider { .. } if is_of_one_vm(target) => Limited::Vm,
            Bucket::Provider { provider: Provider::NetworkReads, .. } | Bucket::Graph => {
                Limited::Provider
            }
            Bucket::Provider { .. } if is_computes => Limited::Provider,
            Bucket::Provider { .. } | Bucket::Door { .. } => Limited::Door,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: [Operation; 9] = [
        Operation::Put,
        Operation::Delete,
        Operation::Get,
        Operation::List,
        Operation::ListNetwork,
        Operation::Poll,
        Operation::Query,
        Operation::DeletePart,
        Operation::ReadLog,
    ];

    fn put() -> Buckets {
        Buckets::of(Operation::Put, "S-1", "WestEurope")
    }

    fn limits(pairs: &[(&str, i64)]) -> RateLimits {
        let remaining = pairs.iter().map(|(name, left)| ((*name).to_owned(), *left)).collect();
        RateLimits { remaining, charge: None }
    }

    fn left(operation: Operation, pairs: &[(&str, i64)]) -> (Option<i64>, Option<i64>) {
        let buckets = Buckets::of(operation, "s", "r");
        let limits = limits(pairs);
        (buckets.door.left(&limits), buckets.provider.left(&limits))
    }

    #[test]
    fn every_bucket_is_known_by_its_name() {
        for operation in OPERATIONS {
            let buckets = Buckets::of(operation, "S-1", "WestEurope");
            for bucket in buckets.each() {
                assert_eq!(Bucket::from_name(&bucket.to_string()).as_ref(), Some(bucket));
            }
        }
        assert_eq!(put().door.to_string(), "writes/s-1");
        assert_eq!(put().provider.to_string(), "PutVM/s-1/westeurope");
        for odd in ["", "put/s-1", "writes", "writes/s/r", "PutVM/s", "graph/"] {
            assert_eq!(Bucket::from_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_answer_tells_what_is_left_of_both_buckets() {
        let now = [
            ("subscription-writes", 199),
            ("subscription-global-writes", 2999),
            ("Microsoft.Compute/PutVMSubscriptionMaximum", 1499),
            ("Microsoft.Compute/PutVMResource", 11),
        ];
        assert_eq!(left(Operation::Put, &now), (Some(199), Some(1499)));
        let before = [
            ("subscription-global-writes", 11_999),
            ("Microsoft.Compute/PutVM3Min", 297),
            ("Microsoft.Compute/PutVM30Min", 1497),
            ("Microsoft.Compute/LowCostGet3Min", 7),
        ];
        assert_eq!(left(Operation::Put, &before), (Some(799), Some(297)));
        let odd = [("Microsoft.Compute/CreateMachines", 5), ("subscription-reads", 3)];
        assert_eq!(left(Operation::Put, &odd), (None, Some(5)));
        let graph = [("tenant-reads", 249), (crate::header::GRAPH_QUOTA, 14)];
        assert_eq!(left(Operation::Query, &graph), (Some(249), Some(14)));
        let both = [("subscription-deletes", 150), ("subscription-global-deletes", 20)];
        assert_eq!(left(Operation::Delete, &both), (Some(20), None));
    }

    fn refusal(outer: &str, code: &str, target: Option<&str>) -> Refusal {
        Refusal {
            status: 429,
            code: code.to_owned(),
            outer_code: outer.to_owned(),
            text: String::new(),
            target: target.map(str::to_owned),
            retry_after: None,
        }
    }

    #[test]
    fn a_429_is_about_one_bucket() {
        let about = |outer, code, target| put().limited(&refusal(outer, code, target));
        let many = "TooManyRequests";
        for code in DOOR_CODES {
            assert_eq!(about(code, code, None), Limited::Door);
        }
        assert_eq!(about(many, many, None), Limited::Door);
        assert_eq!(about("", "", None), Limited::Door);
        assert_eq!(about(COMPUTE_CODE, many, Some("PutVM3Min")), Limited::Provider);
        assert_eq!(about(COMPUTE_CODE, many, None), Limited::Provider);
        assert_eq!(about(COMPUTE_CODE, COMPUTE_CODE, None), Limited::Provider);
        assert_eq!(about(COMPUTE_CODE, many, Some("PutVMResource")), Limited::Vm);
        let graph = Buckets::of(Operation::Query, "", "");
        assert_eq!(
            graph.limited(&refusal("RateLimiting", "RateLimiting", None)),
            Limited::Provider
        );
        let code = DOOR_CODES[0];
        assert_eq!(graph.limited(&refusal(code, code, None)), Limited::Door);
    }
}
