//! InfiniBand partition keys: what a VM reads of its own, how it tells them to its block, and
//! whether they agree. (FACTS §6.1: a tenant's key belongs to its availability set; VMs with
//! different keys cannot talk.)

use std::collections::BTreeSet;
use std::fmt;

use crate::NodeName;

/// The bit that tells a full member of a partition from a limited one.
const FULL_MEMBER: u16 = 0x8000;
/// The partition that every port is in; the other one is the tenant's.
const DEFAULT_PARTITION: u16 = 0x7fff;

/// The partition keys of a VM, of all its ports: one, as far as Azure is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKeys(BTreeSet<u16>);

impl PartitionKeys {
    /// From what the files `pkeys/0` and `pkeys/1` of all ports hold (`0x8012`). `None`: there is
    /// no key of a tenant among them.
    pub fn of_tenant<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<PartitionKeys> {
        let keys = texts.into_iter().filter_map(|text| {
            let digits = text.trim().strip_prefix("0x")?;
            let partition = u16::from_str_radix(digits, 16).ok()? & !FULL_MEMBER;
            (partition != DEFAULT_PARTITION && partition != 0).then_some(partition | FULL_MEMBER)
        });
        let keys: BTreeSet<u16> = keys.collect();
        (!keys.is_empty()).then_some(PartitionKeys(keys))
    }
}

impl fmt::Display for PartitionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|key| format!("{key:#06x}")).collect();
        f.write_str(&words.join(","))
    }
}

/// What stands before the keys in a node's `Comment`.
const TOLD: &str = "azslurm infiniband-key ";
/// Between our words and a person's.
const BETWEEN: &str = "; ";

/// The keys that a node's `Comment` tells.
pub fn told(comment: Option<&str>) -> Option<PartitionKeys> {
    let word = comment?.split(BETWEEN).find_map(|part| part.strip_prefix(TOLD))?;
    PartitionKeys::of_tenant(word.split(','))
}

/// The `Comment` that tells `keys`; a person's words in it stay.
pub fn telling(comment: Option<&str>, keys: &PartitionKeys) -> String {
    let others = comment.unwrap_or("").split(BETWEEN);
    let others = others.filter(|part| !part.is_empty() && !part.starts_with(TOLD));
    let ours = format!("{TOLD}{keys}");
    others.map(str::to_owned).chain([ours]).collect::<Vec<_>>().join(BETWEEN)
}

/// The first node, by name, whose keys are others than `own`.
pub fn differing<'a>(
    own: &PartitionKeys,
    others: &'a [(NodeName, PartitionKeys)],
) -> Option<&'a (NodeName, PartitionKeys)> {
    others.iter().filter(|(_, keys)| keys != own).min_by_key(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Option<PartitionKeys> {
        PartitionKeys::of_tenant(texts.iter().copied())
    }

    #[test]
    fn the_tenants_key_is_the_one_that_is_not_the_default() {
        for texts in [&["0xffff", "0x8012\n"][..], &["0x8012", "0x7fff"], &["0x0012", "0xffff"]] {
            assert_eq!(keys(texts).unwrap().to_string(), "0x8012", "{texts:?}");
        }
        assert_eq!(
            keys(&["0xffff", "0x8012", "0x8012", "0x8013"]).unwrap().to_string(),
            "0x8012,0x8013"
        );
        for texts in [&["0xffff", "0x7fff"][..], &["0x0000"], &["", "junk", "0xfffff"], &[]] {
            assert_eq!(keys(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn a_comment_tells_the_key_beside_a_persons_words() {
        let (one, two) = (keys(&["0x8012"]).unwrap(), keys(&["0x8013"]).unwrap());
        let told_one = telling(None, &one);
        assert_eq!(told_one, "azslurm infiniband-key 0x8012");
        assert_eq!(telling(Some(&told_one), &two), "azslurm infiniband-key 0x8013");
        let beside = telling(Some("rack 7; slow disk"), &one);
        assert_eq!(beside, "rack 7; slow disk; azslurm infiniband-key 0x8012");
        assert_eq!(told(Some(&telling(Some(&beside), &two))), Some(two));
        assert_eq!((told(None), told(Some("rack 7"))), (None, None));
    }

    #[test]
    fn the_first_node_with_another_key_is_named() {
        let (one, two) = (keys(&["0x8012"]).unwrap(), keys(&["0x8013"]).unwrap());
        let node = |name: &str| name.parse::<NodeName>().unwrap();
        let others = [(node("c"), two.clone()), (node("a"), one.clone()), (node("b"), two.clone())];
        assert_eq!(differing(&one, &others).unwrap().0, node("b"));
        assert_eq!(differing(&one, &others[1..2]), None);
        assert_eq!(differing(&one, &[]), None);
    }
}
