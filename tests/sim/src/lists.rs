//! What processes were shown of VMs: the laws that nothing is taken over or deleted by the word of
//! a list, and nothing is deleted for one that broke off.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_arm_emulator::model::message::{Method, Request, Response};
use serde_json::Value;

use crate::libc_seam::FIRST_PID;
use crate::weather::is_graph;

/// Resource Graph among the lists.
const GRAPH: &str = "graph";
const VMS: &str = "/providers/microsoft.compute/virtualmachines";

/// What Azure has answered.
#[derive(Debug, Default)]
pub struct Lists {
    /// Of each process that lists VMs: whether its latest list of a resource group, by path in
    /// lower case, or of [`GRAPH`] in this pass is whole.
    whole: BTreeMap<u32, BTreeMap<String, bool>>,
    /// VMs that were asked for and are there, by name in lower case: where, and who asked.
    shown: BTreeMap<String, (String, BTreeSet<u32>)>,
}

impl Lists {
    /// A process begins a pass: what it was shown before counts no more.
    pub(crate) fn begins(&mut self, process: u32) {
        self.whole.remove(&process);
    }

    /// An answer reaches a process.
    pub(crate) fn answered(&mut self, process: u32, asked: &Request, answer: &Response) {
        let path = asked.path.to_ascii_lowercase();
        if is_graph(&path) && answer.status == 200 {
            let body = answer.body.as_ref();
            let is_whole = body.is_none_or(|body| body["$skipToken"].is_null());
            self.whole.entry(process).or_default().insert(GRAPH.to_owned(), is_whole);
        }
        let Some((group, rest)) = path.split_once(VMS).filter(|_| asked.method == Method::Get)
        else {
            return;
        };
        match rest.strip_prefix('/').map(|name| (name, name.contains('/'))) {
            Some((name, false)) if answer.status == 200 => {
                let (at, who) = self.shown.entry(name.to_owned()).or_default();
                group.clone_into(at);
                who.insert(process);
            }
            Some(_) => {}
            None if group.contains("/resourcegroups/") => {
                let link = answer.body.as_ref().map(|body| &body["nextLink"]);
                let is_whole = answer.status == 200 && link.is_none_or(Value::is_null);
                self.whole.entry(process).or_default().insert(group.to_owned(), is_whole);
            }
            None => {}
        }
    }

    /// What is wrong when a pass takes a VM over that its ledger did not know.
    pub(crate) fn adopted(&self, vm: &str, is_doomed: bool) -> Option<String> {
        let Some((group, who)) = self.shown.get(vm) else {
            return Some(format!("{vm} is adopted, and Azure was not asked for it"));
        };
        let mut lists = who.iter().filter_map(|process| self.whole.get(process)).peekable();
        // With a whole answer of Resource Graph the lists are only a second look.
        let is_by_part = lists.peek().is_some()
            && lists.all(|of_process| {
                of_process.get(GRAPH) != Some(&true) && of_process.get(group) == Some(&false)
            });
        (is_doomed && is_by_part)
            .then(|| format!("{vm} is deleted as an orphan for a list that broke off"))
    }
}

/// The process that began as a holder.
pub(crate) fn process_of(holder: &str) -> Option<u32> {
    holder.rsplit('-').next()?.parse::<u32>().ok()?.checked_sub(FIRST_PID)
}
