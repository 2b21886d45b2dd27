//! The files of a cluster: slurm.conf, azslurm.toml, the boot script.

use std::path::Path;
use std::time::Duration;

use crate::emulator::Endpoints;
use crate::heads::Head;
use crate::spec::ClusterSpec;

/// The subscription that the emulator has without being told.
pub(crate) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// What slurm.conf needs besides the spec.
pub(crate) struct Machine<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) host: &'a str,
    /// slurmctld's port; the nodes have the following ones.
    pub(crate) port: u16,
    pub(crate) version: (u32, u32),
    /// ResumeProgram, SuspendProgram, ResumeFailProgram.
    pub(crate) programs: [&'a Path; 3],
}

/// slurm.conf: `texts/slurm.conf`, filled in.
pub(crate) fn slurm_conf(spec: &ClusterSpec, machine: &Machine<'_>) -> String {
    // Before 23.11 addresses of cloud nodes have to be asked for, and are cached; 22.05 hides cloud
    // nodes that are off without PrivateData=cloud.
    let (parameters, old) = if machine.version < (23, 11) {
        let old = "CommunicationParameters=NoAddrCache\nPrivateData=cloud\nTreeWidth=65533";
        ("cloud_reg_addrs,idle_on_node_suspend,power_save_interval=2", old)
    } else {
        ("idle_on_node_suspend,power_save_interval=2", "")
    };
    // Without a host of its own a node is one whose host has its name.
    let (parameters, node_host) = match spec.boots_user_data {
        true => (format!("{parameters},enable_configless"), String::new()),
        false => (parameters.to_owned(), format!(" NodeHostname={}", machine.host)),
    };
    let [resume, suspend, resume_fail] = machine.programs.map(|path| path.display().to_string());
    let text = filled(
        include_str!("texts/slurm.conf"),
        &[
            ("name", spec.name.clone()),
            ("host", machine.host.to_owned()),
            ("port", machine.port.to_string()),
            ("dir", machine.dir.display().to_string()),
            ("parameters", parameters),
            ("node_host", node_host),
            ("slurmd_timeout", seconds(spec.slurmd_timeout)),
            ("suspend_time", seconds(spec.suspend_time)),
            ("suspend_timeout", seconds(spec.suspend_timeout)),
            ("resume_timeout", seconds(spec.resume_timeout)),
            ("resume", resume),
            ("suspend", suspend),
            ("resume_fail", resume_fail),
            ("old", old.to_owned()),
            ("nodes", spec.node_list()),
            ("first", (machine.port + 1).to_string()),
            ("last", (u32::from(machine.port) + spec.nodes).to_string()),
            ("cpus", spec.cpus.to_string()),
            ("prefix", spec.prefix.clone()),
        ],
    );
    if spec.rendered.is_some() {
        return with_includes(&text, &spec.extra_conf);
    }
    let topology = spec.block_nodes.map(|_| "TopologyPlugin=topology/tree".to_owned());
    let heads = if spec.has_two_heads { heads(machine.version) } else { Vec::new() };
    let extra: Vec<String> = spec.extra_conf.iter().cloned().chain(topology).chain(heads).collect();
    with_extra(&text, &extra)
}

/// Two controllers on one port: each listens on its own address only.
fn heads(version: (u32, u32)) -> Vec<String> {
    let old = if version < (23, 11) { "NoAddrCache," } else { "" };
    let host = |head: Head| format!("SlurmctldHost={}({})", head.name(), head.address());
    let mut lines: Vec<String> = Head::ALL.into_iter().map(host).collect();
    lines.push(format!("CommunicationParameters={old}NoCtldInAddrAny"));
    lines
}

/// Replaces every `@key@`.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let text = values
        .iter()
        .fold(template.to_owned(), |text, (key, value)| text.replace(&format!("@{key}@"), value));
    assert!(!text.contains("\n@") && !text.contains("=@"), "a key without a value in {text}");
    text
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}

/// Slurm refuses a key that is given twice, so an extra line takes the place of the template's.
/// Nodes and partitions are added.
fn with_extra(text: &str, extra: &[String]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    let replaced: Vec<String> = extra
        .iter()
        .map(|line| key(line))
        .filter(|key| !["nodename", "partitionname", "nodeset"].contains(&key.as_str()))
        .collect();
    let kept = text.lines().filter(|line| !replaced.contains(&key(line)));
    kept.chain(extra.iter().map(String::as_str)).map(|line| format!("{line}\n")).collect()
}

/// What is rendered, each key of slurm.conf once.
const RENDERED: [&str; 14] = [
    "nodename",
    "partitionname",
    "returntoservice",
    "suspendtime",
    "suspendtimeout",
    "resumetimeout",
    "suspendrate",
    "resumerate",
    "resumeprogram",
    "suspendprogram",
    "resumefailprogram",
    "privatedata",
    "treewidth",
    "communicationparameters",
];

/// Without what is rendered, and with the files that are.
fn with_includes(text: &str, extra: &[String]) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_theirs = |line: &&str| !RENDERED.contains(&key(line).as_str());
    let kept: String = text.lines().filter(is_theirs).map(|line| format!("{line}\n")).collect();
    let includes = "include azslurm-power.conf\ninclude azslurm-nodes.conf\n";
    with_extra(&format!("{kept}{includes}"), extra)
}

/// The nodesets of azslurm.toml.
fn nodesets(spec: &ClusterSpec, machine: &Machine<'_>) -> String {
    let Some(nodesets) = &spec.rendered else { return nodeset(spec, machine) };
    let mut port = u32::from(machine.port) + 1;
    let dir = machine.dir.display();
    let power = format!(
        "[power]\nsuspend_time_seconds = {}\nsuspend_timeout_seconds = {}\nprogram_dir = {:?}\n",
        seconds(spec.suspend_time),
        seconds(spec.suspend_timeout),
        machine.programs[0].parent().unwrap_or(Path::new("/")),
    );
    let mut text = format!("# rendered into {dir}/etc\n{power}");
    for nodeset in nodesets {
        let ports = nodeset.has_ports.then(|| {
            let first = port;
            port += nodeset.nodes;
            let host = format!("\"NodeHostname={}\", \"NodeAddr=127.0.0.1\"", machine.host);
            format!("node_options = [{host}, \"Port=[{first}-{}]\"]", port - 1)
        });
        text.push_str(&format!("\n[nodeset.{}]\n", nodeset.name));
        let own = ["image = \"Canonical:ubuntu-24_04-lts:server:latest\"", SSH_KEY];
        let nodes = format!("nodes = \"{}\"", nodeset.node_list());
        let lines = own.into_iter().chain([nodes.as_str()]).chain(ports.as_deref());
        for line in lines.chain(nodeset.lines.iter().map(String::as_str)) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

const SSH_KEY: &str = "ssh_public_key = \"ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIGCrwXmJHmFnEbUyyWFVhwKTVpRqXoJ6Q0kRZ1kT0bLq test\"";

/// The one nodeset of a cluster whose slurm.conf is the harness's.
fn nodeset(spec: &ClusterSpec, machine: &Machine<'_>) -> String {
    let user_data = spec
        .user_data
        .as_ref()
        .map(|_| format!("user_data_file = \"{}/etc/user-data\"", machine.dir.display()));
    let mut lines = vec![
        format!("[nodeset.{}]", spec.prefix),
        format!("nodes = \"{}\"", spec.node_list()),
        format!("sites = [{}]", quoted(&spec.sites)),
        format!("sku = \"{}\"", spec.sku),
        "image = \"Canonical:ubuntu-24_04-lts:server:latest\"".to_owned(),
        SSH_KEY.to_owned(),
    ];
    lines.extend(user_data);
    lines.extend(spec.nodeset_lines.iter().cloned());
    if let Some(nodes) = spec.block_nodes {
        lines.push(format!("interconnect = \"infiniband\"\nblock_nodes = {nodes}"));
    }
    lines.join("\n")
}

/// azslurm.toml. It stands beside slurm.conf, where the programs look when slurmctld starts them.
/// With a gate Resource Manager is where the gate is; tokens are for the emulator all the same.
pub(crate) fn azslurm_toml(
    spec: &ClusterSpec,
    machine: &Machine<'_>,
    (azure, gate): (&Endpoints, Option<String>),
) -> String {
    let dir = machine.dir.display();
    filled(
        include_str!("texts/azslurm.toml"),
        &[
            ("name", spec.name.clone()),
            ("dir", dir.to_string()),
            ("ledger", spec.ledger_folder.clone()),
            ("host", machine.host.to_owned()),
            ("resume_timeout", seconds(spec.resume_timeout)),
            ("slurm_lines", spec.slurm_lines.join("\n")),
            ("level", spec.log_level.clone()),
            ("authority", azure.authority.clone()),
            ("audience", azure.arm_https.clone()),
            ("arm", gate.clone().unwrap_or_else(|| azure.arm_https.clone())),
            ("graph", gate.unwrap_or_else(|| azure.resource_graph.clone())),
            ("imds", azure.imds.clone()),
            ("subscription", SUBSCRIPTION.to_owned()),
            ("nodesets", nodesets(spec, machine)),
            ("extra", spec.config_text.clone()),
        ],
    )
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// topology.conf: each block is a leaf switch, and no switch is above them, so that no job spans
/// two. `None`: a cluster without blocks.
pub(crate) fn topology(spec: &ClusterSpec) -> Option<String> {
    let size = spec.block_nodes?;
    let block = |number: u32| {
        let (first, last) = (number * size + 1, ((number + 1) * size).min(spec.nodes));
        let prefix = &spec.prefix;
        format!("SwitchName={prefix}-b{} Nodes={prefix}-[{first:03}-{last:03}]\n", number + 1)
    };
    Some((0..spec.nodes.div_ceil(size)).map(block).collect())
}

/// What a VM runs when it has booted. `agent`: the program that has the node agent.
pub(crate) fn boot_script(
    spec: &ClusterSpec,
    dir: &Path,
    agent: &Path,
    has_namespaces: bool,
) -> String {
    if spec.boots_user_data {
        let keep = agent.parent().unwrap_or(agent).display().to_string();
        let text = include_str!("texts/boot-vm.sh").replace("@KEEP@", &keep);
        return text.replace("@DIR@", &dir.display().to_string());
    }
    let unshare =
        if has_namespaces { "unshare --pid --fork --kill-child --mount-proc" } else { "" };
    let agent = format!("{} node-agent", agent.display());
    let log = ">>\"$dir/log/agent-$node.log\" 2>&1";
    let watching = spec
        .agent_options
        .as_ref()
        .map(|options| format!("{agent} {options} --imds \"$VM_IMDS\" --node \"$node\" {log} &"));
    let size = spec.block_nodes.filter(|_| spec.checks_infiniband);
    let check = size.map(|size| {
        let block = format!("--nodes '{}' --block-nodes {size} --wait 0", spec.node_list());
        let sysfs = "--sysfs \"$dir/sysfs/$node\" --node \"$node\"";
        format!("{agent} check-infiniband {block} {sysfs} {log} || exit 1")
    });
    include_str!("texts/boot.sh")
        .replace("@DIR@", &dir.display().to_string())
        .replace("@UNSHARE@", unshare)
        .replace("@AGENT@", &watching.unwrap_or_default())
        .replace("@CHECK@", &check.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(version: (u32, u32), extra: &[&str]) -> String {
        let spec = ClusterSpec {
            extra_conf: extra.iter().map(|line| (*line).to_owned()).collect(),
            ..ClusterSpec::default()
        };
        let program = Path::new("/bin/true");
        let machine = Machine {
            dir: Path::new("/tmp/x"),
            host: "vm",
            port: 20_000,
            version,
            programs: [program; 3],
        };
        slurm_conf(&spec, &machine)
    }

    #[test]
    fn old_slurm_is_told_what_new_slurm_knows_by_itself() {
        assert!(conf((22, 5), &[]).contains("PrivateData=cloud\n"));
        assert!(conf((22, 5), &[]).contains("=cloud_reg_addrs,"));
        assert!(!conf((24, 11), &[]).contains("cloud_reg_addrs"));
        assert!(conf((24, 11), &[]).contains("NodeName=hpc-[001-004] NodeHostname=vm"));
        assert!(conf((24, 11), &[]).contains("Port=[20001-20004]"));
    }

    #[test]
    fn an_extra_line_takes_the_place_of_the_templates() {
        let text = conf((22, 5), &["SuspendTime=77", "PartitionName=p2 Nodes=ALL"]);
        assert_eq!(text.matches("\nSuspendTime=").count(), 1);
        assert!(text.contains("SuspendTime=77\n"));
        assert_eq!(text.matches("PartitionName=").count(), 2);
    }
}
