//! Identifiers, each with its own type. They are parsed once, at the edge, and trusted afterwards:
//! nothing that is held in one of these types can break out of a URL, a query, a file name or an
//! argument. A short one stands in place, and a long one is shared when it is cloned: there are ten
//! thousand of them in lists and maps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::Timestamp;

/// Why a text is not a name of the kind that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a {what}: {rule}")]
pub struct NameError {
    /// What was wanted: "node name", "site name" …
    pub what: &'static str,
    /// What was found, cut to 80 characters.
    pub found: String,
    /// What is allowed.
    pub rule: &'static str,
}

fn name_error(what: &'static str, found: &str, rule: &'static str) -> NameError {
    NameError { what, found: found.chars().take(80).collect(), rule }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                let name = valid(text).then(|| Self(text.into()));
                name.ok_or_else(|| name_error($what, text, $rule))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A Slurm node's name (`NodeName` of slurm.conf). Any node of the cluster, ours or not.
    NodeName, "node name",
    "letters, digits, '-', '_' and '.', at most 253, beginning with a letter or digit",
    is_node_name
);

fn is_node_name(text: &str) -> bool {
    is_word(text, 253, b"-_.")
}

impl NodeName {
    /// A text of which it is known that it is a name.
    pub(crate) fn trusted(text: &str) -> NodeName {
        debug_assert!(is_node_name(text), "{text:?}");
        NodeName(text.into())
    }
}

fn is_word(text: &str, length_max: usize, extra: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= length_max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

fn is_dns_label(text: &str, length_max: usize) -> bool {
    is_word(text, length_max, b"-")
        && !text.ends_with('-')
        && !text.bytes().any(|b| b.is_ascii_uppercase())
}

name_type!(
    /// A Slurm partition (`PartitionName`).
    PartitionName, "partition name",
    "letters, digits, '-', '_' and '.', at most 253, beginning with a letter or digit",
    |text| is_word(text, 253, b"-_.")
);

name_type!(
    /// The cluster, as in our config and in the tags of every VM.
    ClusterName, "cluster name",
    "lower-case letters, digits and '-', at most 40, beginning and ending with a letter or digit",
    |text| is_dns_label(text, 40)
);

name_type!(
    /// A `[site.NAME]` of the config: a place where VMs can be made.
    SiteName, "site name",
    "lower-case letters, digits and '-', at most 40, beginning and ending with a letter or digit",
    |text| is_dns_label(text, 40)
);

name_type!(
    /// A `[nodeset.NAME]` of the config: nodes that get the same kind of VM.
    NodesetName, "nodeset name",
    "lower-case letters, digits and '-', at most 40, beginning and ending with a letter or digit",
    |text| is_dns_label(text, 40)
);

name_type!(
    /// A VM resource in Azure. Ours are made by [`VmName::of`]; Azure's own rule is wider
    /// (Naming rules and restrictions for Azure resources: 1–64, unique without case).
    VmName, "VM name",
    "letters, digits, '-', '_' and '.', at most 64, beginning with a letter or digit",
    |text| is_word(text, 64, b"-_.")
);

/// The longest name of a node that gets VMs: `<node>-<attempt>` must fit into Azure's 64
/// characters.
pub const NODE_NAME_LENGTH_MAX: usize = 64 - 1 - ATTEMPT_DIGITS;

impl NodeName {
    /// Whether this node can be a VM: its name becomes `computerName` and a DNS label, and the VM's
    /// name is made from it.
    pub fn is_vm_capable(&self) -> bool {
        is_dns_label(self.as_str(), NODE_NAME_LENGTH_MAX)
    }
}

impl VmName {
    /// The name of the VM that `attempt` makes for `node`. The caller has checked
    /// [`NodeName::is_vm_capable`] (the config does, for every node of a nodeset).
    pub fn of(node: &NodeName, attempt: AttemptId) -> VmName {
        VmName(format!("{node}-{attempt}").into())
    }

    /// Node and attempt out of a name that [`VmName::of`] made; `None` for any other name.
    pub fn split(&self) -> Option<(NodeName, AttemptId)> {
        let (node, attempt) = self.0.rsplit_once('-')?;
        let node: NodeName = node.parse().ok()?;
        node.is_vm_capable().then_some(())?;
        Some((node, attempt.parse().ok()?))
    }
}

/// Eight base-36 digits hold milliseconds from 2024 to 2113.
const ATTEMPT_DIGITS: usize = 8;
const ATTEMPT_MAX: u64 = 36u64.pow(8) - 1;
/// 2024-01-01T00:00:00Z.
const ATTEMPT_EPOCH_MILLIS: i64 = 1_704_067_200_000;

/// One try to make a VM for a node: milliseconds since 2024 in base 36, eight digits. It grows with
/// time, so that it never repeats for a node, also after the ledger was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId(u64);

impl TryFrom<String> for AttemptId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AttemptId> for String {
    fn from(attempt: AttemptId) -> String {
        attempt.to_string()
    }
}

impl AttemptId {
    /// The attempt that begins `now`, after `last` (the highest attempt known for the node, if
    /// any): also when the clock stepped back or stands still it is greater than `last`.
    pub fn next(now: Timestamp, last: Option<AttemptId>) -> AttemptId {
        let clock = u64::try_from(now.as_millis() - ATTEMPT_EPOCH_MILLIS).unwrap_or(0);
        let floor = last.map_or(0, |last| last.0 + 1);
        AttemptId(clock.max(floor).min(ATTEMPT_MAX))
    }

    /// When the attempt began, as far as its number tells.
    pub fn began_at(self) -> Timestamp {
        Timestamp::from_millis(
            ATTEMPT_EPOCH_MILLIS.saturating_add(i64::try_from(self.0).unwrap_or(i64::MAX)),
        )
    }

    /// The number itself, for the ledger.
    pub fn number(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From the ledger's number; `None` if it cannot be one.
    pub fn from_number(number: i64) -> Option<AttemptId> {
        u64::try_from(number).ok().filter(|number| *number <= ATTEMPT_MAX).map(AttemptId)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; ATTEMPT_DIGITS];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        f.write_str(std::str::from_utf8(&digits).expect("base-36 digits are ASCII"))
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttemptId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "eight base-36 digits in lower case";
        let wellformed = text.len() == ATTEMPT_DIGITS
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if !wellformed {
            return Err(name_error("attempt", text, rule));
        }
        u64::from_str_radix(text, 36).map(AttemptId).map_err(|_| name_error("attempt", text, rule))
    }
}

/// A Slurm job's number (`JobId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_break_out_of_a_url_or_a_query_are_refused() {
        for bad in ["", "a/b", "a b", "a'b", "-a", "a\nb", "é", "a%2f", "..", ".a", "a,b", "a[1]"]
        {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
        for good in ["n1", "hpc-001", "Login.example", "a_b"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_name_is_the_same_in_place_and_beside() {
        assert_eq!(size_of::<NodeName>(), size_of::<String>());
        let texts: Vec<String> = (20..26).map(|length| "x".repeat(length)).collect();
        let names: Vec<NodeName> = texts.iter().map(|text| text.parse().unwrap()).collect();
        for (text, name) in texts.iter().zip(&names) {
            assert_eq!((name.as_str(), name.to_string().as_str()), (text.as_str(), text.as_str()));
            assert_eq!(serde_json::to_string(name).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<NodeName>(&format!("{text:?}")).unwrap(), *name);
        }
        assert!(names.is_sorted() && names[0] < "y".parse().unwrap());
    }

    #[test]
    fn a_vm_name_carries_its_node_and_attempt() {
        let node: NodeName = "hpc-001".parse().unwrap();
        let attempt = AttemptId::next(Timestamp::from_millis(1_795_225_985_468), None);
        let vm = VmName::of(&node, attempt);
        assert_eq!(vm.as_str().len(), "hpc-001-".len() + 8);
        assert_eq!(vm.split(), Some((node, attempt)));
        assert_eq!("login".parse::<VmName>().unwrap().split(), None);
    }

    #[test]
    fn an_attempt_never_repeats_and_sorts_by_time() {
        let now = Timestamp::from_millis(1_795_225_985_468);
        let first = AttemptId::next(now, None);
        let again = AttemptId::next(now, Some(first));
        let stepped_back = AttemptId::next(Timestamp::from_millis(1), Some(again));
        assert!(first < again && again < stepped_back);
        assert!(first.to_string() < again.to_string());
        assert_eq!(first.began_at(), now);
        assert_eq!(first.to_string().parse(), Ok(first));
    }

    #[test]
    fn only_a_dns_label_short_enough_can_become_a_vm() {
        for bad in ["HPC1", "a_b", "a.b", "a-", &"x".repeat(56)] {
            assert!(!bad.parse::<NodeName>().unwrap().is_vm_capable(), "{bad:?}");
        }
        assert!("x".repeat(55).parse::<NodeName>().unwrap().is_vm_capable());
    }
}
