//! Node lines of slurm.conf against those that `azslurm-conf render` would write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use azslurm_core::config::Nodeset;
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodeName, NodesetName};
use azslurm_program::check::nodes::{self, Known};
use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::{Conf, SlurmVersion};

use super::lines::{Line, lines, places_of_nodes};
use crate::check::scene::Scene;
use crate::check::seen::Running;
use crate::render::{self, Around};

const CHECK: &str = "nodes";
/// Node lines do not depend on it.
const ANY_VERSION: SlurmVersion = SlurmVersion::new(24, 11, 0);
/// The guest sees at least this much less than Azure says of the size.
const MEMORY_SEEN_PERCENT: u64 = 98;
/// Less than this of the memory is no margin but a mistake.
const MEMORY_SAID_PERCENT: u64 = 50;
/// Slurm's own when a line says nothing (slurm.conf(5)).
const MEMORY_DEFAULT_MB: u64 = 1;
/// Files that CycleCloud's azslurm writes.
const CYCLECLOUD_FILES: [&str; 3] = ["azure.conf", "cyclecloud.conf", "keep_alive.conf"];

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let defined = scene.conf().map(|conf| lines(conf, "NodeName")).unwrap_or_default();
    let known = match &scene.seen.running {
        Running::Answered { nodes, .. } => Some(nodes::known(nodes)),
        Running::NotAsked | Running::Silent(_) => scene.conf().map(|_| known_of(&defined)),
    };
    findings.extend(known.map(|known| nodes::check(scene.config, &known)).unwrap_or_default());
    findings.extend(twice(scene, &defined));
    findings.extend(alike(scene, &defined));
    let rendered = rendered(scene);
    for line in &defined {
        for (name, nodeset) in &scene.config.nodesets {
            let ours: BTreeSet<&NodeName> = line
                .names
                .iter()
                .filter(|node| nodeset.nodes.binary_search(node).is_ok())
                .collect();
            if ours.is_empty() {
                continue;
            }
            let found = of_line(scene, (name, nodeset), (line, &ours), &rendered);
            findings.extend(found.into_iter().map(|finding| finding.at(Some(line.line.place()))));
        }
    }
    findings
}

fn known_of(defined: &[Line<'_>]) -> Known {
    let is_cloud =
        |line: &Line<'_>| line.get("State").is_some_and(|s| s.eq_ignore_ascii_case("CLOUD"));
    let all = defined.iter().flat_map(|line| {
        let is_cloud = is_cloud(line);
        line.names.iter().map(move |name| (name.clone(), is_cloud))
    });
    all.collect()
}

/// What our own line would say, by nodeset. Empty while sizes are not known.
fn rendered(scene: &Scene<'_>) -> Conf {
    let around = Around::new(scene.version().unwrap_or(ANY_VERSION), None);
    let files = render::files(scene.config, &scene.seen.sizes, &around).unwrap_or_default();
    let text = files.get(render::NODES).map(String::as_str).unwrap_or_default();
    Conf::of_text(Path::new(render::NODES), text)
}

fn twice(scene: &Scene<'_>, defined: &[Line<'_>]) -> Vec<Finding> {
    let mut by_places: BTreeMap<Vec<String>, Vec<NodeName>> = BTreeMap::new();
    for (node, places) in places_of_nodes(defined) {
        if places.len() > 1 && scene.config.nodeset_of(&node).is_some() {
            by_places.entry(places).or_default().push(node);
        }
    }
    let of = |(places, nodes): (Vec<String>, Vec<NodeName>)| {
        let said = format!("{} are defined at {} already", fold_set(&nodes), places[0]);
        let fix = "keep the line of azslurm-nodes.conf, and take the nodes out of the other";
        Finding::error(CHECK, said, fix)
            .because("slurmctld does not start with a node that is defined twice")
            .at(places.get(1).cloned())
    };
    by_places.into_iter().map(of).collect()
}

/// Nodes of others that have the name of one of ours but for its case.
fn alike(scene: &Scene<'_>, defined: &[Line<'_>]) -> Vec<Finding> {
    let is_alike = |node: &&NodeName| {
        let lower = node.as_str().to_ascii_lowercase();
        lower != node.as_str()
            && lower.parse().is_ok_and(|lower| scene.config.nodeset_of(&lower).is_some())
    };
    let mut findings = Vec::new();
    for line in defined {
        let alike: Vec<&NodeName> = line.names.iter().filter(is_alike).collect();
        if alike.is_empty() {
            continue;
        }
        let said = format!("{} differ from nodes of azslurm.toml only by case", fold_set(alike));
        let finding = Finding::error(CHECK, said, "rename one of them")
            .because("host names have no case: DNS and MUNGE take both for one machine");
        findings.push(finding.at(Some(line.line.place())).of(Pitfall::Network));
    }
    findings
}

fn of_line(
    scene: &Scene<'_>,
    (name, nodeset): (&NodesetName, &Nodeset),
    (line, ours): (&Line<'_>, &BTreeSet<&NodeName>),
    rendered: &Conf,
) -> Vec<Finding> {
    let nodes = fold_set(ours.iter().copied());
    let mut findings = state(&nodes, line).into_iter().collect::<Vec<_>>();
    findings.extend(owner(&nodes, line));
    findings.extend(address(&nodes, line));
    let all = lines(rendered, "NodeName");
    let first = ours.first().copied();
    let wanted = all.iter().find(|wanted| first.is_some_and(|node| wanted.names.contains(node)));
    let Some(wanted) = wanted else { return findings };
    findings.extend(cpus(&nodes, line, wanted));
    if let Some(size) = scene.size(nodeset) {
        findings.extend(memory((name, &nodes), line, (wanted, size.memory_mb)));
    }
    findings.extend(gres(&nodes, line, wanted));
    findings.extend(features(&nodes, line, wanted));
    findings
}

fn state(nodes: &str, line: &Line<'_>) -> Option<Finding> {
    let state = line.get("State").unwrap_or("UNKNOWN");
    (!state.eq_ignore_ascii_case("CLOUD")).then(|| {
        let said = format!("{nodes} are State={state}, and not CLOUD");
        Finding::error(CHECK, said, "set State=CLOUD")
            .because(
                "slurmctld takes them for machines that are always there, and never starts one",
            )
            .of(Pitfall::StaticThinking)
    })
}

/// Whose file it is.
fn owner(nodes: &str, line: &Line<'_>) -> Option<Finding> {
    let file = line.line.file.file_name()?.to_str()?;
    CYCLECLOUD_FILES.contains(&file).then(|| {
        let said = format!("{nodes} are defined in {file}, which CycleCloud's azslurm writes");
        let fix = "take its include out of slurm.conf, and include azslurm-nodes.conf";
        Finding::warning(CHECK, said, fix)
            .because("it is written anew when CycleCloud scales, and changes are lost")
    })
}

fn address(nodes: &str, line: &Line<'_>) -> Option<Finding> {
    let key = ["NodeAddr", "NodeHostname"].into_iter().find(|key| line.get(key).is_some())?;
    let said = format!("{nodes} have a {key} in slurm.conf");
    let finding = Finding::warning(CHECK, said, format!("take {key} out"))
        .because("every VM of a node has another address, and slurmctld learns it from the node");
    Some(finding.of(Pitfall::Network))
}

/// As Slurm counts them; one if nothing is said.
fn count_cpus(line: &Line<'_>) -> u64 {
    let of = |key, other| line.number(key).unwrap_or(other);
    let shape = of("Sockets", 1) * of("CoresPerSocket", 1) * of("ThreadsPerCore", 1);
    line.number("CPUs").or(line.number("Procs")).unwrap_or(shape.max(of("SocketsPerBoard", 1)))
}

fn cpus(nodes: &str, line: &Line<'_>, wanted: &Line<'_>) -> Option<Finding> {
    let (said, has) = (count_cpus(line), count_cpus(wanted));
    let fix = format!("set CPUs={has}, or `azslurm-conf render`");
    let finding = match said.cmp(&has) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => {
            let text = format!("{nodes} have {said} CPUs here, and their VMs {has}");
            Finding::error(CHECK, text, fix)
                .because("slurmd finds fewer, and Slurm drains the node, every time")
        }
        std::cmp::Ordering::Less => {
            let text = format!("{nodes} have {said} CPUs here, and their VMs {has}");
            Finding::warning(CHECK, text, fix).because("the others are paid for and never used")
        }
    };
    Some(finding.of(Pitfall::InstanceTypes))
}

fn memory(
    (name, nodes): (&NodesetName, &str),
    line: &Line<'_>,
    (wanted, of_size): (&Line<'_>, u64),
) -> Option<Finding> {
    let ours = wanted.number("RealMemory")?;
    let said = line.number("RealMemory").unwrap_or(MEMORY_DEFAULT_MB);
    let fix = format!("set RealMemory={ours}, or real_memory_mb of nodeset {name}");
    let finding = if said > ours && said > of_size * MEMORY_SEEN_PERCENT / 100 {
        let text = format!("{nodes} have RealMemory={said}, and their VMs hardly {of_size}");
        Finding::error(CHECK, text, fix).because(
            "Azure's guests see less than the size has; Slurm drains the node (INVALID_REG), every \
             time",
        )
    } else if said < ours * MEMORY_SAID_PERCENT / 100 {
        let text = format!("{nodes} have RealMemory={said}, and their VMs {of_size}");
        Finding::warning(CHECK, text, fix).because("jobs that ask for memory get no such node")
    } else {
        return None;
    };
    Some(finding.of(Pitfall::InstanceTypes))
}

fn gpus(line: &Line<'_>) -> u64 {
    let gres = line.get("Gres").unwrap_or_default().split(',');
    let gpus = gres.filter(|gres| gres.split([':', '(']).next() == Some("gpu"));
    let count = |gres: &str| {
        let gres = gres.split('(').next().unwrap_or_default();
        gres.rsplit(':').next().and_then(|count| count.parse().ok()).unwrap_or(1)
    };
    gpus.map(count).sum()
}

fn gres(nodes: &str, line: &Line<'_>, wanted: &Line<'_>) -> Option<Finding> {
    let (said, has) = (gpus(line), gpus(wanted));
    let text = format!("{nodes} have {said} GPUs here, and their VMs {has}");
    let fix = match wanted.get("Gres") {
        Some(gres) => format!("set Gres={gres}"),
        None => "take Gres=gpu out".to_owned(),
    };
    let finding = match said.cmp(&has) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => Finding::error(CHECK, text, fix)
            .because("slurmd finds fewer, and Slurm drains the node, every time"),
        std::cmp::Ordering::Less => Finding::warning(CHECK, text, fix)
            .because("the others are paid for, and no job gets them"),
    };
    Some(finding.of(Pitfall::InstanceTypes))
}

fn features(nodes: &str, line: &Line<'_>, wanted: &Line<'_>) -> Option<Finding> {
    let of = |line: &Line<'_>| -> BTreeSet<String> {
        let list = line.get("Features").or(line.get("Feature")).unwrap_or_default();
        list.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let (said, has) = (of(line), of(wanted));
    let missing: Vec<&str> = has.difference(&said).map(String::as_str).collect();
    (!missing.is_empty()).then(|| {
        let text = format!("{nodes} lack the features {}", missing.join(","));
        Finding::warning(CHECK, text, format!("add them: Features={}", missing.join(",")))
            .because("jobs that ask for one by --constraint wait for ever")
    })
}
