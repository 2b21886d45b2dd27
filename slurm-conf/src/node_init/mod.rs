//! `azslurm-conf node-init`: the user data of a nodeset's VMs. A pure function of the config: the
//! same config gives the same bytes.
//!
//! ```text
//! config ─► script::script (steps/*.sh) ─┐
//!           packaging/*.service ─────────┴─► #cloud-config: write_files ─► cloud-init runs the
//!                                            script at every boot ─► systemctl start slurmd
//! ```
//!
//! Must never hold a secret: every process on a VM can read its user data.

mod out;
mod script;

pub use out::run;

use azslurm_core::NodesetName;
use azslurm_core::config::{CloudName, Config, Interconnect, MungeKey, Nodeset};

/// Azure's limit for user data before base64, which the names of nodes must fit into too.
const BYTES_MAX: usize = 60_000;
/// Where cloud-init finds what it runs at every boot, the first one included.
const SCRIPT_PATH: &str = "/var/lib/cloud/scripts/per-boot/azslurm-node-init";
const DROP_IN_PATH: &str = "/etc/systemd/system/slurmd.service.d/azslurm.conf";
const AGENT_PATH: &str = "/etc/systemd/system/azslurm-node-agent.service";
/// What the first line of every user data of ours begins with, behind cloud-init's own.
const MARK: &str = "# azslurm-conf node-init ";

/// The unit of slurmd that comes with the distribution's package, or with Slurm's own.
const DROP_IN: &str = include_str!("slurmd-drop-in.conf");
const AGENT: &str = include_str!("../../../packaging/azslurm-node-agent.service");
/// Lines of that unit that are others here.
const AGENT_PROGRAM: &str = "ExecStart=/usr/sbin/azslurm-sync ";
const AGENT_ENVIRONMENT: &str = "EnvironmentFile=-/etc/azslurm/node-agent.env\n";

/// Why there is no user data for a nodeset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeInitError {
    /// There is no such nodeset.
    #[error("{wanted}: the config has the nodesets {known}")]
    UnknownNodeset {
        /// What was asked for.
        wanted: NodesetName,
        /// All there are.
        known: String,
    },
    /// slurmd cannot know where slurmctld is.
    #[error("[slurm] controller is missing: slurmd on the nodes gets its configuration from it")]
    NoController,
    /// The VMs have no identity that may read the secret.
    #[error(
        "[nodeset.{0}] identities is missing: munge_key_secret is read with the first of them, \
         which needs the role Key Vault Secrets User on the secret"
    )]
    NoIdentity(NodesetName),
    /// Somebody must check it before slurmd starts.
    #[error(
        "[node_init] program is empty, and nodeset {0} has InfiniBand: azslurm-sync must check it \
         before slurmd starts"
    )]
    NoProgram(NodesetName),
    /// It would not fit.
    #[error("the user data has {0} bytes, Azure takes {BYTES_MAX}: fewer mounts, hosts, packages")]
    TooLong(usize),
}

/// What is asked for: one nodeset of a config.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) config: &'a Config,
    pub(crate) name: &'a NodesetName,
    pub(crate) nodeset: &'a Nodeset,
}

/// The user data of a nodeset's VMs, for `user_data_file`. `{node}`, `{cluster}` and `{controller}`
/// in it are for azslurm-resume.
pub fn user_data(config: &Config, name: &NodesetName) -> Result<String, NodeInitError> {
    let Some(nodeset) = config.nodesets.get(name) else {
        let known: Vec<&str> = config.nodesets.keys().map(NodesetName::as_str).collect();
        return Err(NodeInitError::UnknownNodeset {
            wanted: name.clone(),
            known: known.join(", "),
        });
    };
    let wanted = Wanted { config, name, nodeset };
    check(&wanted)?;
    let script = script::script(&wanted);
    let mut text = format!("#cloud-config\n{}", script::header(&wanted));
    text += "write_files:\n";
    text += &file(SCRIPT_PATH, "0700", &script);
    text += &file(DROP_IN_PATH, "0644", DROP_IN);
    if let Some(unit) = agent_unit(&wanted) {
        text += &file(AGENT_PATH, "0644", &unit);
    }
    match text.len() {
        length if length > BYTES_MAX => Err(NodeInitError::TooLong(length)),
        _fits => Ok(text),
    }
}

/// Whether a text is user data of ours, which may be written anew.
pub fn is_ours(text: &str) -> bool {
    text.lines().nth(1).is_some_and(|line| line.starts_with(MARK))
}

/// Whether a text is user data of ours and no longer what the config means: it has to be made anew.
pub fn is_stale(config: &Config, name: &NodesetName, text: &str) -> bool {
    is_ours(text) && user_data(config, name).is_ok_and(|now| now != text)
}

fn check(wanted: &Wanted<'_>) -> Result<(), NodeInitError> {
    let Wanted { config, name, nodeset } = wanted;
    let init = &config.node_init;
    if init.conf_server.is_none() && config.slurm.controller.is_empty() {
        return Err(NodeInitError::NoController);
    }
    if matches!(init.munge_key, MungeKey::Secret(_)) && nodeset.identities.is_empty() {
        return Err(NodeInitError::NoIdentity((*name).clone()));
    }
    if nodeset.interconnect == Interconnect::Infiniband && init.program.is_none() {
        return Err(NodeInitError::NoProgram((*name).clone()));
    }
    Ok(())
}

/// An item of `write_files`. A literal block takes any text without tabs at its lines' beginnings
/// being lost: all is indented alike.
fn file(path: &str, mode: &str, content: &str) -> String {
    let mut text =
        format!("- path: {path}\n  owner: root:root\n  permissions: '{mode}'\n  content: |\n");
    for line in content.lines() {
        match line {
            "" => text += "\n",
            line => text += &format!("    {line}\n"),
        }
    }
    text
}

/// The packaged unit with what this config says of it.
fn agent_unit(wanted: &Wanted<'_>) -> Option<String> {
    let init = &wanted.config.node_init;
    let program = init.program.as_ref()?;
    let mut options = Vec::new();
    if wanted.config.cloud.name == CloudName::Custom {
        options.push(format!("--imds {}", wanted.config.cloud.endpoints.imds));
    }
    if !init.agent_options.is_empty() {
        options.push(init.agent_options.clone());
    }
    let environment = format!(
        "Environment=SLURM_CONF=/run/azslurm/slurm.conf\nEnvironment=\"NODE_AGENT_OPTIONS={}\"\n",
        options.join(" ")
    );
    let unit = AGENT.replace(AGENT_PROGRAM, &format!("ExecStart={} ", program.display()));
    Some(unit.replace(AGENT_ENVIRONMENT, &environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_unit_has_the_lines_that_are_changed_for_a_node() {
        for line in [AGENT_PROGRAM, AGENT_ENVIRONMENT] {
            assert_eq!(AGENT.matches(line).count(), 1, "{line}");
        }
    }
}
