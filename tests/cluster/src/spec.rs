//! What a cluster is to be.

use std::path::PathBuf;
use std::time::Duration;

/// What a test wants. `ClusterSpec { name: "…".into(), ..Default::default() }` is fit for most.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// For the scratch directory, the kept logs and the cluster's name: lower-case letters, digits,
    /// `-`.
    pub name: String,
    /// How many CLOUD nodes.
    pub nodes: u32,
    /// `hpc` makes `hpc-[001-008]`, the nodeset `hpc` and the partition `hpc`.
    pub prefix: String,
    /// CPUs per node: with 1, every one-task job takes a node for itself.
    pub cpus: u32,
    /// SuspendTime.
    pub suspend_time: Duration,
    /// SuspendTimeout.
    pub suspend_timeout: Duration,
    /// ResumeTimeout, and `resume_timeout_seconds` of azslurm.
    pub resume_timeout: Duration,
    /// SlurmdTimeout.
    pub slurmd_timeout: Duration,
    /// Lines for slurm.conf. A line whose key the template has too takes its place.
    pub extra_conf: Vec<String>,
    /// `sites` of the nodeset: `west` (westeurope), `north` (northeurope).
    pub sites: Vec<String>,
    /// `sku` of the nodeset.
    pub sku: String,
    /// Nodes per InfiniBand block: the nodeset gets `interconnect = "infiniband"`, and Slurm a
    /// topology with a leaf switch for each block. `None`: every node is placed alone.
    pub block_nodes: Option<u32>,
    /// Lines for `[nodeset.<prefix>]` of azslurm.toml.
    pub nodeset_lines: Vec<String>,
    /// Lines for `[slurm]` of azslurm.toml.
    pub slurm_lines: Vec<String>,
    /// Text for the end of azslurm.toml: further tables.
    pub config_text: String,
    /// Text of the user data file; `None`: VMs without user data.
    pub user_data: Option<String>,
    /// `[log] level`.
    pub log_level: String,
    /// The emulator's `--config`, as text.
    pub emulator_config: Option<String>,
    /// Further arguments of the emulator, such as `--time-scale 10`.
    pub emulator_args: Vec<String>,
    /// Whether the programs reach Resource Manager through a gate that can be shut.
    pub has_gate: bool,
    /// Options of the node agent that each VM runs beside slurmd, as its image's unit would;
    /// `None`: VMs without an agent.
    pub agent_options: Option<String>,
    /// Whether a VM starts slurmd only if it is in the InfiniBand partition of its block, by what
    /// `sysfs/<node>` in the scratch directory says. For clusters with blocks.
    pub checks_infiniband: bool,
    /// Nodes, partitions and power saving come from `azslurm-conf render` over these nodesets, in
    /// place of the one that `nodes`, `prefix`, `sites`, `sku`, `block_nodes` and `nodeset_lines`
    /// describe. `nodes` says for how many nodes there are ports.
    pub rendered: Option<Vec<NodesetSpec>>,
    /// Whether a VM boots with its user data, as a machine of its own (`texts/vm.sh`), instead of
    /// only starting slurmd. slurmctld hands out its configuration then.
    pub boots_user_data: bool,
    /// Whether there are two head nodes, a primary and a backup. Then [`crate::Head`]'s verbs are
    /// for them, and not those for the one slurmctld and the one daemon.
    pub has_two_heads: bool,
    /// Who acts on slurmctld's wishes.
    pub programs: Programs,
    /// Where slurmctld finds our programs, in place of the built ones: wrappers that start them.
    pub program_dir: Option<PathBuf>,
    /// The folder of the ledger, in the scratch directory. With one of its own a file system can be
    /// mounted for it.
    pub ledger_folder: String,
}

/// A nodeset of a cluster whose configuration is rendered.
#[derive(Debug, Clone)]
pub struct NodesetSpec {
    /// `west` has the nodes `west-[001-004]`.
    pub name: String,
    /// How many nodes.
    pub nodes: u32,
    /// Whether they may boot: then each has a port of its own for its slurmd, of the cluster's
    /// ports in the order of the nodesets.
    pub has_ports: bool,
    /// Further lines of `[nodeset.<name>]`: `sites` and `sku` at least.
    pub lines: Vec<String>,
}

impl NodesetSpec {
    /// All of its nodes.
    pub fn node_list(&self) -> String {
        let width = self.nodes.to_string().len().max(3);
        format!("{}-[{:0width$}-{:0width$}]", self.name, 1, self.nodes)
    }
}

impl Default for ClusterSpec {
    fn default() -> Self {
        ClusterSpec {
            name: "cluster".to_owned(),
            nodes: 4,
            prefix: "hpc".to_owned(),
            cpus: 1,
            // slurmctld starts a job up to 30 s after its nodes are there (a fixed tick of its
            // own): a node must not be suspended for idleness before.
            suspend_time: Duration::from_secs(10),
            suspend_timeout: Duration::from_secs(10),
            resume_timeout: Duration::from_secs(60),
            slurmd_timeout: Duration::from_secs(20),
            extra_conf: Vec::new(),
            sites: vec!["west".to_owned()],
            sku: "Standard_D4s_v5".to_owned(),
            block_nodes: None,
            nodeset_lines: Vec::new(),
            slurm_lines: Vec::new(),
            config_text: String::new(),
            user_data: None,
            log_level: "debug".to_owned(),
            emulator_config: None,
            emulator_args: Vec::new(),
            has_gate: false,
            agent_options: None,
            checks_infiniband: false,
            rendered: None,
            boots_user_data: false,
            has_two_heads: false,
            programs: Programs::Azslurm,
            program_dir: None,
            ledger_folder: "state".to_owned(),
        }
    }
}

impl ClusterSpec {
    /// All of its nodes, as slurm.conf and azslurm.toml name them.
    pub fn node_list(&self) -> String {
        format!("{}-[001-{:03}]", self.prefix, self.nodes)
    }

    /// The name of node `number`, from 1.
    pub fn node(&self, number: u32) -> String {
        format!("{}-{number:03}", self.prefix)
    }
}

/// Two sites and blocks of `block_nodes` nodes with InfiniBand; a gang goes on to the next site.
pub fn infiniband(name: &str, nodes: u32, block_nodes: u32) -> ClusterSpec {
    ClusterSpec {
        name: name.to_owned(),
        nodes,
        sites: vec!["west".to_owned(), "north".to_owned()],
        sku: "Standard_HB120rs_v3".to_owned(),
        block_nodes: Some(block_nodes),
        nodeset_lines: vec!["spill = \"next-site\"".to_owned()],
        ..ClusterSpec::default()
    }
}

/// Who acts on slurmctld's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Programs {
    /// The built azslurm-resume, -suspend and -resume-fail with the emulator. slurmctld starts them
    /// itself: they see its bare environment.
    Azslurm,
    /// Stand-ins, to test the harness; no emulator. Each is a program that gets what slurmctld
    /// passes.
    Fake {
        /// ResumeProgram.
        resume: PathBuf,
        /// SuspendProgram.
        suspend: PathBuf,
        /// ResumeFailProgram.
        resume_fail: PathBuf,
    },
}
