//! Settings of Slurm against the config: what fits neither the blocks, nor Spot, nor the sites.
//! What holds for every config is [`azslurm_program::check::slurm_conf`]'s.

use std::collections::BTreeSet;

use azslurm_core::NodeName;
use azslurm_core::hostlist;
use azslurm_program::check::settings::Settings;
use azslurm_program::check::slurm_conf;
use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::SlurmVersion;

use super::{access, lines};
use crate::check::scene::Scene;
use crate::check::seen::Running;

const CHECK: &str = "slurm-conf";
/// Azure's notice before it takes a Spot VM is 30 s, best effort (FACTS §6); some seconds of it
/// pass until the job is told.
const SPOT_NOTICE_LEFT: u64 = 25;
/// So long a requeued job waits: the life of a credential, unless cred_expire says otherwise.
const CRED_EXPIRE: u64 = 120;
/// From here on `requeue_delay` says it.
const REQUEUE_DELAY: SlurmVersion = SlurmVersion::new(25, 11, 0);
/// From here on messages fan out to cloud nodes, and 16 is the default.
const FAN_OUT: SlurmVersion = SlurmVersion::new(23, 11, 0);
/// Wider is no tree: slurmctld speaks with each node itself.
const TREE_WIDTH_EXPECTED_MAX: u64 = 1000;
/// What fills a disk within hours at a thousand nodes.
const LOUD_FLAGS: [&str; 6] = ["protocol", "network", "steps", "selecttype", "tracejobs", "script"];
/// Settings that must be the same in the files and in the running slurmctld. Those that Slurm
/// prints in other words than it reads are left out.
const COMPARED: [&str; 12] = [
    "resumeprogram",
    "suspendprogram",
    "resumefailprogram",
    "resumetimeout",
    "suspendtimeout",
    "resumerate",
    "suspendrate",
    "returntoservice",
    "slurmdtimeout",
    "killwait",
    "treewidth",
    "topologyplugin",
];

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = everywhere(scene);
    findings.extend(gangs(scene));
    findings.extend(spot(scene));
    findings.extend(addresses(scene));
    findings.extend(kept_up(scene));
    findings.extend(resources(scene));
    findings.extend(words(scene));
    findings.extend(drift(scene));
    findings
}

fn of(scene: &Scene<'_>, key: &str, finding: Finding) -> Finding {
    finding.at(scene.settings.place(key))
}

/// The rules that hold without a config too. A partition may have a longer ResumeTimeout.
fn everywhere(scene: &Scene<'_>) -> Vec<Finding> {
    let longest = scene
        .conf()
        .into_iter()
        .flat_map(|conf| lines::lines(conf, "PartitionName"))
        .filter_map(|line| line.number("ResumeTimeout"))
        .max()
        .unwrap_or(0);
    let ours = scene.config.slurm.resume_timeout;
    let ours = (ours.as_secs() > longest).then_some(ours);
    slurm_conf::check(&scene.settings, ours, |path| access::program(scene.seen, path))
}

/// What keeps a whole block from starting.
fn gangs(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(block) = scene.largest_block().map(|count| count as u64) else { return findings };
    let key = "ResumeRate";
    if let Some(rate) = scene.settings.number(key).filter(|rate| (1..block).contains(rate)) {
        let said = format!("ResumeRate is {rate}, and an InfiniBand block has {block} nodes");
        let finding = Finding::error(CHECK, said, "set ResumeRate=0")
            .because("slurmctld asks for a part of a block, and waits a minute with the rest");
        findings.push(of(scene, key, finding.of(Pitfall::Autoscaling)));
    }
    let key = "SlurmctldParameters";
    let most = scene.settings.parameter(key, "max_powered_nodes");
    let most = most.and_then(|text| text.parse::<u64>().ok());
    if let Some(most) = most.filter(|most| *most < block) {
        let said =
            format!("max_powered_nodes is {most}, and an InfiniBand block has {block} nodes");
        let finding = Finding::error(CHECK, said, "raise it, or use cores_max of azslurm.toml")
            .because("a job of a whole block never starts");
        findings.push(of(scene, key, finding.of(Pitfall::Autoscaling)));
    }
    findings
}

/// What Spot VMs need.
fn spot(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !scene.has_spot() {
        return findings;
    }
    let settings = &scene.settings;
    let mut add = |key: &str, finding: Finding| {
        findings.push(of(scene, key, finding.of(Pitfall::Preemption)));
    };
    if settings.number("JobRequeue") == Some(0) {
        let said = "JobRequeue is 0, and there are Spot nodes";
        let fix = "set JobRequeue=1 (a job may still say --no-requeue)";
        let why = "a job whose VM Azure takes is over, and nobody begins it again";
        add("JobRequeue", Finding::warning(CHECK, said, fix).because(why));
    }
    if let Some(wait) = settings.number("KillWait").filter(|wait| *wait > SPOT_NOTICE_LEFT) {
        let said = format!("KillWait is {wait} s, and Azure takes a Spot VM within 30 s");
        let fix = "set KillWait=20: a job then gets SIGKILL before its VM is gone";
        let why = "a job that is told to end is cut off with its VM, wherever it is";
        add("KillWait", Finding::warning(CHECK, said, fix).because(why));
    }
    let has_delay = settings.version().is_some_and(|version| version >= REQUEUE_DELAY)
        && settings.parameter("SchedulerParameters", "requeue_delay").is_some();
    let expire = settings.parameter("AuthInfo", "cred_expire");
    let expire = expire.and_then(|text| text.parse().ok()).unwrap_or(CRED_EXPIRE);
    if expire >= CRED_EXPIRE && !has_delay {
        let said = format!("a requeued job waits {} s before it may start again", expire + 1);
        let fix = "set cred_expire=30 in AuthInfo (from Slurm 25.11 on: requeue_delay in \
                   SchedulerParameters), if all clocks are right";
        add("AuthInfo", Finding::note(CHECK, said, fix));
    }
    findings
}

/// How nodes are found.
fn addresses(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = &scene.settings;
    let key = "SlurmctldParameters";
    if settings.has_word(key, "cloud_dns") {
        let fix = "take cloud_dns out: slurmctld learns addresses from the nodes (cloud_reg_addrs \
                   before Slurm 23.11)";
        let why = "a record stays for a while when its VM is gone, and leads to another's";
        let said = match scene.config.sites.len() {
            1 => "nodes are found by DNS (cloud_dns)".to_owned(),
            sites => format!("nodes of {sites} sites are found by DNS (cloud_dns)"),
        };
        let finding = match scene.config.sites.len() {
            1 => Finding::warning(CHECK, said, fix).because(why),
            _ => Finding::error(CHECK, said, fix)
                .because("each virtual network registers names in its own zone only"),
        };
        findings.push(of(scene, key, finding.of(Pitfall::Network)));
    }
    let key = "TreeWidth";
    let is_new = settings.version().is_some_and(|version| version >= FAN_OUT);
    let width = settings.number(key).filter(|width| *width > TREE_WIDTH_EXPECTED_MAX);
    if let Some(width) = width.filter(|_| is_new) {
        let said = format!("TreeWidth is {width}: slurmctld speaks with each node itself");
        let finding = Finding::note(CHECK, said, "take it out: Slurm 23.11 and later fan out");
        findings.push(of(scene, key, finding.of(Pitfall::Network)));
    }
    findings
}

/// Nodes of ours that are never powered off.
fn kept_up(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = "SuspendExcNodes";
    let excepted: BTreeSet<NodeName> = scene
        .settings
        .value(key)
        .split([' ', ';'])
        .filter(|list| !list.contains(':'))
        .flat_map(|list| hostlist::expand(list).unwrap_or_default())
        .filter(|node| scene.config.nodeset_of(node).is_some())
        .collect();
    let why = "a VM that has no job is paid for, by the hour, until somebody notices";
    if !excepted.is_empty() {
        let said = format!("{} are never powered off", hostlist::fold_set(&excepted));
        let fix = "take them out, or keep a number of them only: SuspendExcNodes=LIST:COUNT";
        let finding = Finding::warning(CHECK, said, fix).because(why);
        findings.push(of(scene, key, finding.of(Pitfall::Cost)));
    }
    let key = "SuspendExcParts";
    let ours =
        |name: &&str| name.parse().is_ok_and(|name| scene.config.partitions.contains_key(&name));
    let parts: Vec<&str> = scene.settings.words(key).filter(ours).collect();
    if !parts.is_empty() {
        let said = format!("nodes of partition {} are never powered off", parts.join(", "));
        let finding = Finding::warning(CHECK, said, "take it out").because(why);
        findings.push(of(scene, key, finding.of(Pitfall::Cost)));
    }
    let key = "SuspendExcStates";
    let kept = |state: &&str| !["", "(null)"].contains(state);
    let states: Vec<&str> = scene.settings.words(key).filter(kept).collect();
    if !states.is_empty() {
        let said = format!("nodes that are {} are never powered off", states.join(", "));
        let fix = "take it out when you have seen what is wrong with them";
        let finding = Finding::note(CHECK, said, fix).because(why);
        findings.push(of(scene, key, finding.of(Pitfall::Cost)));
    }
    findings
}

/// What is given to jobs.
fn resources(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = &scene.settings;
    let kinds: BTreeSet<&str> = scene
        .config
        .nodesets
        .values()
        .flat_map(|nodeset| {
            let has_gpus = scene.size(nodeset).is_some_and(|size| size.gpus > 0);
            let own = nodeset.line.gres.iter().filter_map(|gres| gres.split(':').next());
            own.chain(has_gpus.then_some("gpu"))
        })
        .collect();
    let key = "GresTypes";
    let missing: Vec<&str> =
        kinds.into_iter().filter(|kind| !settings.has_word(key, kind)).collect();
    if !missing.is_empty() {
        let said = format!("GresTypes lacks {}, which nodes have", missing.join(", "));
        let finding =
            Finding::error(CHECK, said, format!("add {} to GresTypes", missing.join(",")))
                .because("slurmctld refuses the nodes' Gres, and no job gets a GPU");
        findings.push(of(scene, key, finding.of(Pitfall::InstanceTypes)));
    }
    let key = "SelectType";
    if settings.value(key) == "select/linear" {
        let said = "SelectType is select/linear: each job gets whole nodes";
        let fix = "set SelectType=select/cons_tres, unless every job fills its nodes";
        let finding =
            Finding::note(CHECK, said, fix).because("a job of one CPU pays for a whole VM");
        findings.push(of(scene, key, finding.of(Pitfall::Cost)));
    }
    let key = "SlurmdParameters";
    if settings.has_word(key, "config_overrides") {
        let said = "config_overrides: slurm.conf is believed, whatever a node has";
        let finding = Finding::warning(CHECK, said, "take it out of SlurmdParameters")
            .because("a wrong size or image is noticed when jobs die, not when the node comes");
        findings.push(of(scene, key, finding.of(Pitfall::InstanceTypes)));
    }
    let key = "MaxNodeCount";
    let count: usize = scene.config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum();
    if let Some(most) = settings.number(key).filter(|most| (1..count as u64).contains(most)) {
        let said = format!("MaxNodeCount is {most}, and the nodesets have {count} nodes");
        let finding = Finding::error(CHECK, said, "raise it, or take it out");
        findings.push(of(scene, key, finding));
    }
    findings
}

/// Names and logs.
fn words(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = &scene.settings;
    let key = "ClusterName";
    let (theirs, ours) = (settings.value(key), scene.config.cluster.as_str());
    if !theirs.is_empty() && theirs != ours {
        let said = format!("Slurm's cluster is {theirs}, and that of azslurm.toml {ours}");
        let fix = "give both the same name before the first VM: it is in the VMs' tags";
        findings.push(of(scene, key, Finding::note(CHECK, said, fix)));
    }
    let key = "DebugFlags";
    let is_loud = |word: &&str| LOUD_FLAGS.contains(&word.to_ascii_lowercase().as_str());
    let loud: Vec<&str> = settings.words(key).filter(is_loud).collect();
    if !loud.is_empty() {
        let said = format!("DebugFlags has {}: much is logged", loud.join(", "));
        let fix = "take it out when you have seen enough; Power is the one for power saving";
        findings.push(of(scene, key, Finding::note(CHECK, said, fix).of(Pitfall::Storage)));
    }
    findings
}

/// What the files say and slurmctld does not do.
fn drift(scene: &Scene<'_>) -> Vec<Finding> {
    let (Running::Answered { settings: running, .. }, Some(conf)) =
        (&scene.seen.running, scene.conf())
    else {
        return Vec::new();
    };
    let files = Settings::of_conf(conf);
    let word = |settings: &Settings, key: &str| {
        settings.value(key).split_whitespace().next().unwrap_or_default().to_ascii_lowercase()
    };
    let changed = |key: &&str| {
        files.place(key).is_some()
            && running.is_known(key)
            && word(&files, key) != word(running, key)
    };
    COMPARED
        .iter()
        .copied()
        .filter(changed)
        .map(|key| {
            let place = files.place(key);
            let (new, old) = (files.value(key), running.value(key));
            let said = format!("it says {new}, and slurmctld runs with {old}");
            Finding::warning(CHECK, said, "`scontrol reconfigure`").at(place)
        })
        .collect()
}
