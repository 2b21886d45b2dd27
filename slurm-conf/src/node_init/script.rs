//! The script of a node: its head with what the config says, its steps in order, and the comment
//! before all that says what they cost.

use std::fmt::Write as _;

use azslurm_core::config::{CloudName, Interconnect, Mount, MungeKey};
use azslurm_core::hostlist::fold_sorted;

use super::{MARK, Wanted};

/// One step: its name, the parts of the script that it needs, and what it does and costs, for
/// people.
struct Step {
    name: &'static str,
    parts: &'static [&'static str],
    about: String,
}

const HOSTS: &[&str] = &[include_str!("steps/hosts.sh")];
const PACKAGES: &[&str] = &[include_str!("steps/packages.sh")];
const SLURMCTLD: &[&str] = &[include_str!("steps/slurmctld.sh")];
const MUNGE: &str = include_str!("steps/munge.sh");
const MUNGE_IMAGE: &[&str] = &[MUNGE, include_str!("steps/key-image.sh")];
const MUNGE_FILE: &[&str] = &[MUNGE, include_str!("steps/key-file.sh")];
const MUNGE_SECRET: &[&str] = &[MUNGE, include_str!("steps/key-secret.sh")];
const MOUNTS: &[&str] = &[include_str!("steps/mounts.sh")];
const SCRATCH: &[&str] = &[include_str!("steps/scratch.sh")];
const PROGRAM: &[&str] = &[include_str!("steps/program.sh")];
const INFINIBAND: &[&str] = &[include_str!("steps/infiniband.sh")];
const AGENT: &[&str] = &[include_str!("steps/agent.sh")];
const SLURMD: &[&str] = &[include_str!("steps/slurmd.sh")];
const HEAD: &str = include_str!("steps/head.sh");

/// The steps of a nodeset's nodes. Munge as early as can be: without it slurmctld cannot be told
/// what failed.
fn steps(wanted: &Wanted<'_>) -> Vec<Step> {
    let init = &wanted.config.node_init;
    let step = |name, parts, about: &str| Step { name, parts, about: about.to_owned() };
    let mut steps = vec![step("hosts", HOSTS, "the controller's name has an address: 0 s")];
    if !init.packages.is_empty() {
        let about = "missing packages: 20 to 120 s, and 1 s where the image has them";
        steps.push(step("packages", PACKAGES, about));
    }
    let mounts = (!mounts(wanted).is_empty()).then(|| Step {
        name: "mounts",
        parts: MOUNTS,
        about: format!("{} file systems: about 1 s each", mounts(wanted).len()),
    });
    let slurmctld = step("slurmctld", SLURMCTLD, "it answers: 0 s");
    match &init.munge_key {
        MungeKey::File(_) => {
            steps.extend(mounts);
            let about = "the key from its file, munged: about 1 s";
            steps.extend([step("munge", MUNGE_FILE, about), slurmctld]);
        }
        MungeKey::Secret(_) => {
            let about = "the key from Key Vault, which then only root can ask for, munged: \
                         1 to 3 s";
            steps.extend([step("munge", MUNGE_SECRET, about), slurmctld]);
            steps.extend(mounts);
        }
        MungeKey::Image => {
            let about = "munged, with the key of the image: about 1 s";
            steps.extend([step("munge", MUNGE_IMAGE, about), slurmctld]);
            steps.extend(mounts);
        }
    }
    if init.scratch.is_some() {
        steps.push(step("scratch", SCRATCH, "the VM's own NVMe disks: 0 to 5 s"));
    }
    if init.program.is_some() {
        steps.push(step("program", PROGRAM, "azslurm-sync runs: 0 s"));
    }
    if wanted.nodeset.interconnect == Interconnect::Infiniband {
        let about = "the VM is in the partition of its block: 0 s, up to 60 s for the devices";
        steps.push(step("infiniband", INFINIBAND, about));
    }
    if init.program.is_some() {
        steps.push(step("agent", AGENT, "the node agent starts: 0 s"));
    }
    steps.push(step("slurmd", SLURMD, "it starts and registers: 1 to 5 s"));
    steps
}

/// The mounts of the nodeset, a folder before what is mounted inside it.
fn mounts<'a>(wanted: &Wanted<'a>) -> Vec<&'a Mount> {
    let all = wanted.config.mounts.values();
    let mut mounts: Vec<&Mount> = all.filter(|mount| mount.is_of(wanted.name)).collect();
    mounts.sort_by(|one, other| one.path.cmp(&other.path));
    mounts
}

/// What a person reads first: comments of the cloud-config.
pub(super) fn header(wanted: &Wanted<'_>) -> String {
    let (name, init) = (wanted.name, &wanted.config.node_init);
    let mut text = format!("{MARK}{name}: from the boot of a VM to slurmd. Do not edit: change\n");
    text += "# azslurm.toml and make it anew. azslurm-resume puts in the names of node, \
             cluster and controller.\n#\n";
    text += "# What each boot does, and costs beside what Azure and the image need \
             (30 to 90 s):\n";
    for (number, step) in steps(wanted).iter().enumerate() {
        let _written = writeln!(text, "#   {:2} {:10} {}", number + 1, step.name, step.about);
    }
    let _written = writeln!(
        text,
        "# A step waits at most {} s for what is not there, then fails: the reason stands on the \
         serial console,\n# in /var/log/cloud-init-output.log, and with slurmctld as soon as \
         munge works.\n#",
        init.wait.as_secs()
    );
    text += "# Into the image belong: slurmd and scontrol of slurmctld's version, munge, curl, the \
             clients of the mounts";
    text += match &init.program {
        Some(program) => format!(",\n# and azslurm-sync as {}", program.display()),
        None => String::new(),
    }
    .as_str();
    text += ". To make one: start a VM of this nodeset, install them,\n# stop and disable slurmd, \
             remove /etc/munge/munge.key and /run/azslurm, then `cloud-init clean --logs` and\n\
             # `waagent -deprovision -force`, and capture the VM. This user data stays the same: \
             what is there is left as it is.\n";
    text
}

/// The whole script.
pub(super) fn script(wanted: &Wanted<'_>) -> String {
    let mut text =
        "#!/bin/sh\n# azslurm-node-init: at every boot, by cloud-init. Running it again \
                    changes nothing.\n"
            .to_owned();
    for (name, value) in variables(wanted) {
        let _written = writeln!(text, "{name}='{}'", value.replace('\'', "'\\''"));
    }
    text += HEAD;
    let steps = steps(wanted);
    for part in steps.iter().flat_map(|step| step.parts) {
        text += part;
        if part == &MOUNTS[0] {
            text += &mounting(wanted);
        }
    }
    text += "\nbegan_all=$(now)\nconsole \"begins, after $began_all s\"\n";
    for step in &steps {
        let _written = writeln!(text, "step {0} step_{0}", step.name);
    }
    text += "say \"the node is up: $(($(now) - began_all)) s, $(now) s after the kernel\"\n";
    text += "console \"the node is up\"\n";
    text
}

/// What the steps need to know. The config's checks leave nothing in it that a quote would need.
fn variables(wanted: &Wanted<'_>) -> Vec<(&'static str, String)> {
    let (config, init) = (wanted.config, &wanted.config.node_init);
    let server = init.conf_server.clone();
    let mut variables = vec![
        ("NODE", "{node}".to_owned()),
        ("CLUSTER", "{cluster}".to_owned()),
        ("CONF_SERVER", server.unwrap_or_else(|| "{controller}:6817".to_owned())),
        ("WAIT", init.wait.as_secs().to_string()),
        ("HOSTS", init.hosts.join("\n")),
    ];
    if !init.packages.is_empty() {
        variables.push(("PACKAGES", init.packages.join(" ")));
    }
    match &init.munge_key {
        MungeKey::Image => {}
        MungeKey::File(path) => variables.push(("MUNGE_KEY_FILE", path.display().to_string())),
        MungeKey::Secret(secret) => {
            variables.push(("MUNGE_SECRET", secret.url.clone()));
            variables.push(("TOKEN_URL", token_url(wanted, &secret.audience)));
            let (address, port) = metadata_address(&config.cloud.endpoints.imds);
            variables.push(("METADATA_ADDRESS", address.to_owned()));
            variables.push(("METADATA_PORT", port.to_owned()));
            let bundle = config.cloud.ca_bundle.as_ref();
            let bundle = bundle.filter(|_| config.cloud.name == CloudName::Custom);
            let option = bundle.map(|bundle| format!("--cacert {}", bundle.display()));
            variables.push(("CA_OPTION", option.unwrap_or_default()));
        }
    }
    if let Some(scratch) = &init.scratch {
        variables.push(("SCRATCH", scratch.display().to_string()));
    }
    if let Some(program) = &init.program {
        variables.push(("PROGRAM", program.display().to_string()));
    }
    if wanted.nodeset.interconnect == Interconnect::Infiniband {
        let size = wanted.nodeset.blocks.iter().filter(|block| **block == 1).count();
        variables.push(("BLOCK_NODES", fold_sorted(&wanted.nodeset.nodes)));
        variables.push(("BLOCK_SIZE", size.to_string()));
    }
    variables
}

/// Where a VM asks for its token: by the first identity of its nodeset, named because it may have
/// several.
fn token_url(wanted: &Wanted<'_>, audience: &str) -> String {
    let imds = &wanted.config.cloud.endpoints.imds;
    let identity = wanted.nodeset.identities.first().map_or("", String::as_str);
    let escaped = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
    format!(
        "{imds}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}&msi_res_id={}",
        escaped(audience),
        escaped(identity)
    )
}

/// Address and port of the metadata service. Its URL is one of http, and has an address in it:
/// otherwise the rule that is made of them is refused, and the node says so.
fn metadata_address(imds: &str) -> (&str, &str) {
    let rest = imds.split_once("://").map_or(imds, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    host.split_once(':').unwrap_or((host, "80"))
}

fn mounting(wanted: &Wanted<'_>) -> String {
    let mut text = "step_mounts() {\n".to_owned();
    for mount in mounts(wanted) {
        let Mount { kind, source, path, options, .. } = mount;
        let (kind, path) = (kind.word(), path.display());
        let _written = writeln!(
            text,
            "\tuntil_done \"$WAIT\" mount_one {kind} {source} {path} {options} || return 1"
        );
    }
    text + "}\n"
}
