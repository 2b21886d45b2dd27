//! The end of a schedule: nothing disturbs any more, and everything must agree again.

use azslurm_core::attempt::EndReason;
use azslurm_slurm_model::{Exit, JobState};

use crate::clients::of;
use crate::place::{NODESETS, STRANGER};
use crate::run::{ADMIN, Stage};
use crate::script::SECOND;

/// The quiet time ends in agreement within so many passes of the daemon. What takes longest are
/// holds that grew while the cluster was disturbed: an hour at most, and passes are five minutes
/// apart after the first ones.
const QUIET_PASSES_MAX: u32 = 45;

impl Stage<'_> {
    /// Whether all is over: quiet has come, and everything agrees again.
    pub(crate) fn is_over(&mut self) -> bool {
        self.end_what_is_over();
        if !self.is_quiet {
            let is_calm = {
                let world = of(&self.machine.world);
                self.next == self.steps.len() && world.weather.is_calm(world.now())
            };
            if !is_calm || !self.ends.is_empty() {
                return false;
            }
            self.be_quiet();
        }
        // What is left is asked for after each pass, and twice a minute for what Azure ends itself.
        let passes = self.machine.seen.quiet_passes();
        let moment = (passes, of(&self.machine.world).now() / (30 * SECOND));
        if self.looked_at == Some(moment) {
            return false;
        }
        self.looked_at = Some(moment);
        let left = self.left();
        if left.is_empty() {
            let mut world = of(&self.machine.world);
            let taken = world.laws.requeued(&world.slurm);
            taken.into_iter().for_each(|what| world.broken(what));
            return true;
        }
        self.power_off_stranger();
        if passes >= QUIET_PASSES_MAX {
            let mut world = of(&self.machine.world);
            world.broken(format!("after {passes} quiet passes: {}", left.join("; ")));
        }
        false
    }

    fn be_quiet(&mut self) {
        self.is_quiet = true;
        self.machine.seen.is_quiet_now();
        of(&self.machine.world).tell(|| "* quiet: administrators free what they kept".to_owned());
        let kept = {
            let mut world = of(&self.machine.world);
            world.processes.iter_mut().for_each(|process| process.dies_in = None);
            world.doomed.clear();
            let nodes = NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>());
            let is_kept = |name: &String| {
                let node = world.slurm.node(name);
                node.is_some_and(|node| {
                    node.reason.as_deref().is_some_and(|why| why.contains(ADMIN))
                })
            };
            nodes.filter(is_kept).collect::<Vec<_>>()
        };
        kept.iter().for_each(|node| self.says(node, "resume"));
    }

    /// Who has powered on by hand powers off by hand, until nobody has the VM any more.
    fn power_off_stranger(&self) {
        let is_there = {
            let mut world = of(&self.machine.world);
            let is_its = |vm: &str| vm.split('-').next() == Some(STRANGER);
            let unfinished = world.laws.unfinished().iter().any(|(vm, _)| is_its(vm));
            let mut vms = world.azure.history().alive("Microsoft.Compute/virtualMachines");
            unfinished || vms.any(is_its)
        };
        if is_there {
            self.machine.suspend(STRANGER.to_owned(), EndReason::Suspended);
        }
    }

    /// What does not agree yet, in words.
    fn left(&self) -> Vec<String> {
        let mut world = of(&self.machine.world);
        let mut left = Vec::new();
        for job in world.slurm.jobs() {
            let good = [Exit::Completed, Exit::Cancelled, Exit::LostWithState];
            if !good.map(JobState::Ended).contains(&job.state) {
                left.push(format!("job {} is {:?} on {:?}", job.id, job.state, job.nodes));
            }
        }
        let names = NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>());
        for name in names {
            let Some(seen) = world.slurm.node(&name) else { continue };
            if seen.is_down || !seen.flags.powered_down || seen.flags.drain {
                left.push(format!("node {name}: {} ({:?})", seen.state, seen.reason));
            }
        }
        let vms = world.azure.history().alive("Microsoft.Compute/virtualMachines");
        let (theirs, ours): (Vec<&str>, Vec<&str>) =
            vms.partition(|name| world.laws.others.contains(*name));
        left.extend(ours.into_iter().map(|name| format!("VM {name} is alive")));
        if theirs.len() < world.laws.others.len() {
            left.push(format!("of the VMs of others only {theirs:?} are there"));
        }
        for kind in
            ["Microsoft.Compute/availabilitySets", "Microsoft.Compute/proximityPlacementGroups"]
        {
            let parts = world.azure.history().alive(kind);
            left.extend(parts.map(|name| format!("{name} is left")));
        }
        let rows = world.laws.unfinished();
        left.extend(rows.into_iter().map(|(vm, state)| format!("{vm} is {state} in the ledger")));
        left
    }
}
