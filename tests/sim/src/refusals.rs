//! The law that a place which refuses a node again and again is not asked again at once.

use std::collections::BTreeMap;

use crate::script::SECOND;

/// A place that has refused so many VMs of one node within [`WITHIN`] is not asked again.
const REFUSALS_MAX: usize = 4;
/// See there.
const WITHIN: i64 = 60 * SECOND;

/// When VMs of a node were refused at a resource group.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(String, String), Vec<i64>>);

impl Refusals {
    /// One more VM is refused: what is wrong with that.
    pub(crate) fn another(&mut self, vm: &str, path: &str, now: i64) -> Option<String> {
        let node = vm.rsplit_once('-').map_or(vm, |(node, _)| node).to_owned();
        let group = path.trim_end_matches(vm).to_ascii_lowercase();
        let times = self.0.entry((node.clone(), group)).or_default();
        times.retain(|at| now - at < WITHIN);
        times.push(now);
        (times.len() > REFUSALS_MAX)
            .then(|| format!("{} VMs of {node} were refused at one place in a row", times.len()))
    }
}
