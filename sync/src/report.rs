//! What a pass did, for people and for machines.

use azslurm_core::{NodeName, VmName};
use azslurm_resume::drive::Driven;
use serde::Serialize;

/// One decision that was more than "leave it".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The node.
    pub node: NodeName,
    /// The VM, where the decision is about one.
    pub vm: Option<VmName>,
    /// What slurmctld says of the node.
    pub slurm: String,
    /// What stands in the ledger.
    pub ledger: String,
    /// What is done.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Whether anything was only shown and not done.
    pub dry_run: bool,
    /// Nodes looked at.
    pub nodes: usize,
    /// VMs that are wanted or being deleted.
    pub vms: usize,
    /// Why slurmctld's nodes are not known, if so: then nothing that depends on them is done.
    pub slurm_unknown: Option<String>,
    /// Why Azure could not be spoken to at all, if so.
    pub azure_unknown: Option<String>,
    /// What Azure did not list, and why: VMs of it that nobody knows are not found now.
    pub azure_incomplete: Vec<String>,
    /// What was listed in another way than usual, and why.
    pub azure_instead: Vec<String>,
    /// VMs with our tags that the ledger does not know, or takes for ended.
    pub orphans: Vec<Line>,
    /// Orphans that are to be deleted and are left to the next pass.
    pub orphans_left: usize,
    /// Of a dry run: VMs that should run and that Azure's list shows otherwise or not at all. A
    /// pass asks for each by name; what is lost is told to slurmctld and cleared away.
    pub suspects: Vec<Line>,
    /// The decisions.
    pub lines: Vec<Line>,
    /// What came of them in Azure.
    pub driven: Driven,
    /// Nodes whose situation changed while the pass looked: left to the next.
    pub passed_over: Vec<NodeName>,
    /// VMs and blocks whose work is not finished.
    pub left: usize,
    /// Network cards and disks that VMs of ours left behind.
    pub leftovers: Vec<Left>,
    /// Blocks that Azure has and the ledger does not know as unfinished.
    pub forgotten: Vec<Forgotten>,
    /// What was asked.
    pub calls: Calls,
}

/// A network card or a disk that a VM left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Which of the two.
    pub what: String,
    /// Its name.
    pub name: String,
    /// The VM that it was made with.
    pub vm: VmName,
    /// What is done.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// A block's placement group and availability set that the ledger does not know as unfinished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// The block, if it is one of the config.
    pub block: Option<String>,
    /// The name of both.
    pub name: String,
    /// What is done.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// How often others were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Calls {
    /// Requests to Resource Manager and Resource Graph.
    pub azure: u64,
    /// Runs of `scontrol`.
    pub slurm: u64,
}

impl Calls {
    /// How often since then.
    pub(crate) fn since(self, before: Calls) -> Calls {
        Calls {
            azure: self.azure.saturating_sub(before.azure),
            slurm: self.slurm.saturating_sub(before.slurm),
        }
    }
}

impl Report {
    /// Whether a person should look.
    pub fn is_good(&self) -> bool {
        let Driven { failed, undeleted, .. } = self.driven;
        self.slurm_unknown.is_none()
            && self.azure_unknown.is_none()
            && self.azure_incomplete.is_empty()
            && self.orphans_left == 0
            && failed == 0
            && undeleted == 0
    }

    /// The report as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(why) = &self.slurm_unknown {
            text += &format!("slurmctld could not be asked: {why}\n");
        }
        if let Some(why) = &self.azure_unknown {
            text += &format!("Azure could not be spoken to: {why}\n");
        }
        for why in &self.azure_incomplete {
            text += &format!("not all VMs are known: {why}\n");
        }
        for why in &self.azure_instead {
            text += &format!("{why}\n");
        }
        for Line { node, vm, action, reason, .. } in &self.orphans {
            let vm = vm.as_ref().map_or("-", VmName::as_str);
            text += &format!("{node:16} {vm:26} not in the ledger: {action}: {reason}\n");
        }
        for Left { what, name, vm, action, reason } in &self.leftovers {
            text += &format!("{what} {name} of {vm}: {action}: {reason}\n");
        }
        for Forgotten { block, name, action, reason } in &self.forgotten {
            let block = block.as_deref().unwrap_or("-");
            text += &format!("block {block} {name} not in the ledger: {action}: {reason}\n");
        }
        if self.orphans_left > 0 {
            text += &format!(
                "{} more VMs that nobody waits for are left to the next pass; \
                `azslurm-sync pass --force` deletes all at once\n",
                self.orphans_left
            );
        }
        for Line { node, vm, slurm, ledger, action, reason } in
            self.suspects.iter().chain(&self.lines)
        {
            let vm = vm.as_ref().map_or("-", VmName::as_str);
            text += &format!(
                "{node:16} {vm:26} slurm {slurm:16} ledger {ledger:16} {action}: {reason}\n"
            );
        }
        for node in &self.passed_over {
            text += &format!("{node:16} changed meanwhile: left to the next pass\n");
        }
        let Driven { accepted, running, failed, moved, deleting, gone, undeleted } = self.driven;
        let head = if self.dry_run { "dry run" } else { "pass" };
        text += &format!(
            "{head}: {} nodes, {} VMs, {} decisions; accepted {accepted}, running {running}, \
             failed {failed}, begun again {moved}, deleting {deleting}, gone {gone}, \
             not deleted {undeleted}; {} unfinished; {} calls to Azure, {} to slurmctld\n",
            self.nodes,
            self.vms,
            self.lines.len(),
            self.left,
            self.calls.azure,
            self.calls.slurm,
        );
        text
    }
}
