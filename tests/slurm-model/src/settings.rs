//! What a cluster of the model is made of: the settings of its slurm.conf that matter here, its
//! nodes, and the jobs that are submitted.

/// A release of Slurm, where the model knows differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 22.05.8, as Debian 12 has it.
    V22_05,
    /// 23.11.
    V23_11,
    /// 24.11.5, as Debian 13 has it.
    V24_11,
}

impl Version {
    /// As slurmctld says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V22_05 => "22.05.8",
            Version::V23_11 => "23.11.10",
            Version::V24_11 => "24.11.5",
        }
    }

    pub(crate) fn is_before_23(self) -> bool {
        self < Version::V23_11
    }
}

/// One cloud node of slurm.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// `NodeName`.
    pub name: String,
    /// The partition that it is in.
    pub partition: String,
    /// `Weight`: lighter ones are taken first.
    pub weight: u32,
    /// `CPUs`: so many jobs that are not exclusive fit on it.
    pub cpus: usize,
}

impl NodeSpec {
    /// A node of weight 1 with two CPUs.
    pub fn new(name: &str, partition: &str) -> NodeSpec {
        NodeSpec { name: name.to_owned(), partition: partition.to_owned(), weight: 1, cpus: 2 }
    }
}

/// The settings of slurmctld. Times are milliseconds; [`i64::MAX`] is never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// All nodes, in the order of slurm.conf.
    pub nodes: Vec<NodeSpec>,
    /// Which Slurm.
    pub version: Version,
    /// `SuspendTime`.
    pub suspend_time_ms: i64,
    /// `ResumeTimeout`.
    pub resume_timeout_ms: i64,
    /// `SuspendTimeout`.
    pub suspend_timeout_ms: i64,
    /// `ResumeRate`; 0 is no limit.
    pub resume_rate_per_min: u32,
    /// `SuspendRate`; 0 is no limit.
    pub suspend_rate_per_min: u32,
    /// `SlurmdTimeout`.
    pub slurmd_timeout_ms: i64,
    /// `KillWait`: from SIGTERM to SIGKILL.
    pub kill_wait_ms: i64,
    /// `cred_expire` of `AuthInfo`: a requeued job may begin so much and a second later.
    pub cred_expire_ms: i64,
    /// `ReturnToService`: 0, 1 or 2.
    pub return_to_service: u8,
    /// `idle_on_node_suspend` of `SlurmctldParameters`.
    pub idle_on_node_suspend: bool,
    /// slurmdbd keeps the accounting. Without it releases from 23.02 on keep the reason of a node
    /// that is well again, until a job gets the node.
    pub has_accounting: bool,
    /// From a change to the scheduler's next look.
    pub schedule_delay_ms: i64,
    /// From a change to the next pass of the power saving thread.
    pub power_delay_ms: i64,
    /// How often slurmctld looks whether the nodes of a configuring job are up: hard-coded 30 s.
    pub ready_check_ms: i64,
    /// How long it takes to clean up after a job that ran and minds SIGTERM.
    pub completing_ms: i64,
    /// The same for a job whose script had not started; 22.05 only, later ones take no time.
    pub completing_configuring_ms: i64,
    /// Who is named behind a reason: SlurmUser.
    pub user: String,
    /// `SlurmctldHost`, one or more.
    pub controllers: Vec<String>,
}

impl Default for Settings {
    /// Four nodes of one partition; timeouts of minutes, no limits of rate.
    fn default() -> Settings {
        Settings {
            nodes: (1..=4).map(|at| NodeSpec::new(&format!("n{at}"), "debug")).collect(),
            version: Version::V22_05,
            suspend_time_ms: 300_000,
            resume_timeout_ms: 600_000,
            suspend_timeout_ms: 120_000,
            resume_rate_per_min: 0,
            suspend_rate_per_min: 0,
            slurmd_timeout_ms: 300_000,
            kill_wait_ms: 30_000,
            cred_expire_ms: 120_000,
            return_to_service: 2,
            idle_on_node_suspend: true,
            has_accounting: false,
            schedule_delay_ms: 1_000,
            power_delay_ms: 1_000,
            ready_check_ms: 30_000,
            completing_ms: 1_000,
            completing_configuring_ms: 10_000,
            user: "slurm".to_owned(),
            controllers: vec!["head".to_owned()],
        }
    }
}

/// A job as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// `--job-name`.
    pub name: String,
    /// `--partition`; `None`: any node.
    pub partition: Option<String>,
    /// `--nodes`.
    pub nodes: usize,
    /// `--nodelist`: these, and more of others if `nodes` is greater.
    pub required: Vec<String>,
    /// `--exclude`.
    pub excluded: Vec<String>,
    /// How long its script runs.
    pub run_ms: i64,
    /// `--requeue`, against `--no-requeue`.
    pub requeue: bool,
    /// sbatch, against srun and salloc.
    pub is_batch: bool,
    /// `--exclusive`: whole nodes. Otherwise one CPU of each.
    pub is_exclusive: bool,
    /// Its script does not end on SIGTERM, but on SIGKILL after `KillWait`.
    pub ignores_term: bool,
}

impl Default for JobSpec {
    /// One whole node for a minute.
    fn default() -> JobSpec {
        JobSpec {
            name: "job".to_owned(),
            partition: None,
            nodes: 1,
            required: Vec::new(),
            excluded: Vec::new(),
            run_ms: 60_000,
            requeue: true,
            is_batch: true,
            is_exclusive: true,
            ignores_term: false,
        }
    }
}
