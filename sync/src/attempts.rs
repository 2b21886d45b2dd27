//! The attempts that a pass sees, in one list by node and age: maps of ten thousand small lists
//! cost more than what is done with them.

use azslurm_core::NodeName;
use azslurm_core::attempt::Attempt;

/// Attempts by node, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Vec<Attempt>);

impl Attempts {
    /// Of several lists, each by node and age already.
    pub fn new(lists: [Vec<Attempt>; 2]) -> Attempts {
        let [mut all, others] = lists;
        all.extend(others);
        // What is in order already is only looked through.
        all.sort_by(|one, other| one.is.node.cmp(&other.is.node));
        Attempts(all)
    }

    /// Those of a node.
    pub fn of(&self, node: &NodeName) -> &[Attempt] {
        let from = self.0.partition_point(|attempt| attempt.is.node < *node);
        let count = self.0[from..].iter().take_while(|attempt| attempt.is.node == *node).count();
        &self.0[from..from + count]
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Attempt> {
        self.0.iter()
    }

    /// All of them, those of each node together.
    pub fn by_node(&self) -> impl Iterator<Item = &[Attempt]> {
        self.0.chunk_by(|one, other| one.is.node == other.is.node)
    }
}
