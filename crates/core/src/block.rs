//! Blocks: nodes of a nodeset that share one InfiniBand partition.
//!
//! Two VMs reach each other over InfiniBand only inside one availability set (FACTS §6.1). A
//! block's nodes follow from their names and never change; where it stands does: each time it is
//! filled anew it gets a new **incarnation**, a placement group and an availability set of its
//! own, which live as long as any VM in them.

use std::fmt;
use std::str::FromStr;

use crate::attempt::AttemptPlace;
use crate::config::{Region, Sku};
use crate::name::NameError;
use crate::{AttemptId, ClusterName, NodeName, NodesetName, SiteName, hostlist};

/// Most VMs of an availability set (FACTS §6.1).
pub const BLOCK_NODES_MAX: u32 = 200;
/// So much of a cluster's or nodeset's name is part of a resource's name: Azure allows 80
/// characters for both kinds, and what tells them apart is the incarnation.
const NAME_PART_MAX: usize = 24;

/// A block: `hb-b1` is the first of nodeset `hb`. A leaf switch of Slurm's topology has this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockName {
    nodeset: NodesetName,
    number: u32,
}

/// The block of each node of a nodeset, in the order of `nodes`. Blocks follow the numbers in the
/// names, whatever order the names sort in. `size`: nodes of a block, at least 1.
pub fn numbers(nodes: &[NodeName], size: u32) -> Vec<u32> {
    let mut blocks = vec![0; nodes.len()];
    for (rank, at) in hostlist::sorted_order(nodes).into_iter().enumerate() {
        blocks[at] = u32::try_from(rank).expect("at most a million names") / size.max(1) + 1;
    }
    blocks
}

impl BlockName {
    /// Block `number`, from 1, of a nodeset.
    pub fn new(nodeset: NodesetName, number: u32) -> BlockName {
        BlockName { nodeset, number }
    }

    /// Its nodeset.
    pub fn nodeset(&self) -> &NodesetName {
        &self.nodeset
    }

    /// Which block of its nodeset, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-b{}", self.nodeset, self.number)
    }
}

impl FromStr for BlockName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<BlockName, NameError> {
        let wrong = || NameError {
            what: "block",
            found: text.chars().take(80).collect(),
            rule: "a nodeset's name, \"-b\", and a number from 1",
        };
        let (nodeset, number) = text.rsplit_once("-b").ok_or_else(wrong)?;
        let is_plain = !number.starts_with(['0', '+']);
        let number = number.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?;
        Ok(BlockName { nodeset: nodeset.parse().map_err(|_| wrong())?, number })
    }
}

/// One life of a block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The block.
    pub block: BlockName,
    /// Which of its lives: made as an attempt's number is, so that it grows with time and does not
    /// repeat, also after the ledger was lost.
    pub number: AttemptId,
}

impl Incarnation {
    /// The name of its placement group and of its availability set.
    pub fn resource_name(&self, cluster: &ClusterName) -> String {
        let part = |name: &str| name.chars().take(NAME_PART_MAX).collect::<String>();
        let (cluster, nodeset) = (part(cluster.as_str()), part(self.block.nodeset.as_str()));
        format!("{cluster}-{nodeset}-b{}-{}", self.block.number, self.number)
    }
}

impl Incarnation {
    /// The life of `block` whose placement group and availability set have this name, in whatever
    /// case; `None` if it is not one of ours.
    pub fn of_resource(block: BlockName, name: &str, cluster: &ClusterName) -> Option<Incarnation> {
        let number = name.rsplit('-').next()?.to_ascii_lowercase().parse().ok()?;
        let life = Incarnation { block, number };
        life.resource_name(cluster).eq_ignore_ascii_case(name).then_some(life)
    }
}

impl FromStr for Incarnation {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Incarnation, NameError> {
        let wrong = || NameError {
            what: "life of a block",
            found: text.chars().take(80).collect(),
            rule: "a block, \"/\", and eight base-36 digits",
        };
        let (block, number) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Incarnation { block: block.parse()?, number: number.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.block, self.number)
    }
}

/// What we know of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockState {
    /// Committed to the ledger; its group and set may or may not be there.
    Intended,
    /// Group and set are there.
    Made,
    /// No VM is left in it and none will be made: group and set are to be deleted.
    DeleteIntended,
    /// Both are confirmed absent. An end.
    Gone,
}

impl BlockState {
    /// Every state, in the order of the life.
    pub const ALL: [BlockState; 4] =
        [BlockState::Intended, BlockState::Made, BlockState::DeleteIntended, BlockState::Gone];

    /// The word in the ledger and in reports.
    pub fn word(self) -> &'static str {
        match self {
            BlockState::Intended => "intended",
            BlockState::Made => "made",
            BlockState::DeleteIntended => "delete-intended",
            BlockState::Gone => "gone",
        }
    }

    /// The state with that word.
    pub fn from_word(word: &str) -> Option<BlockState> {
        BlockState::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether VMs may still be made in it.
    pub fn is_open(self) -> bool {
        match self {
            BlockState::Intended | BlockState::Made => true,
            BlockState::DeleteIntended | BlockState::Gone => false,
        }
    }
}

/// One life of a block, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which block, and which of its lives.
    pub life: Incarnation,
    /// Where.
    pub site: SiteName,
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Region.
    pub region: Region,
    /// The name of its placement group and of its availability set.
    pub name: String,
    /// The size that its VMs have.
    pub sku: Sku,
    /// What we know of it.
    pub state: BlockState,
}

/// The resource id of the availability set that a VM at `place` joins; `None` outside of blocks.
pub fn availability_set_id(cluster: &ClusterName, place: &AttemptPlace) -> Option<String> {
    let name = place.block.as_ref()?.resource_name(cluster);
    let AttemptPlace { subscription, resource_group, .. } = place;
    Some(format!(
        "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/\
         Microsoft.Compute/availabilitySets/{name}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_from_its_name() {
        for text in ["hb-b1", "hb-b-b12", "a-b1-b200"] {
            assert_eq!(text.parse::<BlockName>().unwrap().to_string(), text);
        }
        for text in ["", "hb", "hb-b", "hb-b0", "hb-b01", "hb-bx", "-b1", "hb-b+1", "HB-b1"] {
            assert!(text.parse::<BlockName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn resource_names_fit_into_azures_80_characters_and_differ_by_incarnation() {
        let cluster: ClusterName = "c".repeat(40).parse().unwrap();
        let block = BlockName::new("n".repeat(40).parse().unwrap(), u32::MAX);
        let of = |number| {
            let number = AttemptId::from_number(number).unwrap();
            Incarnation { block: block.clone(), number }.resource_name(&cluster)
        };
        assert!(of(7).len() <= 80, "{}", of(7));
        assert_ne!(of(7), of(8));
        for state in BlockState::ALL {
            assert_eq!(BlockState::from_word(state.word()), Some(state));
        }
    }
}
