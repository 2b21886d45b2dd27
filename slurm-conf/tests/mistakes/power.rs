//! Power saving: the settings that make nodes come and go.

use azslurm_slurm::SlurmVersion;

use crate::good::{CONF, CONFIG, Good};
use crate::mistakes;

const POWER: &str = "/etc/slurm/azslurm-power.conf";
const NODES: &str = "/etc/slurm/azslurm-nodes.conf";

/// A Slurm in which addresses come by themselves, and its settings.
fn newer(good: &mut Good) {
    good.version = SlurmVersion::new(24, 11, 5);
    good.replace(POWER, "TreeWidth=65533", "");
    good.replace(POWER, "CommunicationParameters=NoAddrCache", "");
}

mistakes! {
    no_resume_program: Error, "ResumeProgram is not set", ("", ""),
        |good| good.replace(POWER, "ResumeProgram=/usr/sbin/azslurm-resume\n", "\n");
    a_suspend_program_of_somebody_else: Error,
        "SuspendProgram is /opt/azurehpc/slurm/suspend_program.sh",
        (POWER, "SuspendProgram="), |good| {
            good.replace(
                POWER,
                "/usr/sbin/azslurm-suspend",
                "/opt/azurehpc/slurm/suspend_program.sh",
            );
        };
    no_resume_fail_program: Error, "ResumeFailProgram is not set", ("", ""),
        |good| good.replace(POWER, "ResumeFailProgram=/usr/sbin/azslurm-resume-fail", "");
    a_program_without_its_folder: Error,
        "ResumeProgram is azslurm-resume, which does not begin with /",
        (POWER, "ResumeProgram="),
        |good| good.replace(POWER, "/usr/sbin/azslurm-resume\n", "azslurm-resume\n");
    a_program_that_is_not_installed: Error, "/usr/sbin/azslurm-suspend is not on this machine",
        (POWER, "SuspendProgram="), |good| good.remove("/usr/sbin/azslurm-suspend");
    a_program_that_is_not_executable: Error, "is not executable (mode 0644)",
        (POWER, "ResumeProgram="), |good| good.mode("/usr/sbin/azslurm-resume", (0, 0o644));
    a_program_that_its_group_may_write: Error, "may be written by others (mode 0775)",
        (POWER, "ResumeProgram="), |good| good.mode("/usr/sbin/azslurm-resume", (0, 0o775));
    a_program_that_slurm_user_cannot_run: Error, "SlurmUser cannot run /usr/sbin/azslurm-resume",
        (POWER, "ResumeProgram="), |good| good.mode("/usr/sbin/azslurm-resume", (0, 0o750));
    a_program_in_a_folder_that_others_may_write: Error, "/srv/azslurm is of user 0 with mode 0777",
        (POWER, "ResumeProgram="), |good| {
            good.replace(POWER, "/usr/sbin/azslurm-resume\n", "/srv/azslurm/azslurm-resume\n");
            good.mode("/srv/azslurm", (0, 0o777));
        };
    a_short_resume_timeout: Warning, "ResumeTimeout is 60 s: slower VMs are given up",
        (POWER, "ResumeTimeout="),
        |good| good.replace(POWER, "ResumeTimeout=1800", "ResumeTimeout=60");
    the_default_resume_timeout: Warning, "ResumeTimeout is 60 s", ("", ""),
        |good| good.replace(POWER, "ResumeTimeout=1800", "");
    a_resume_timeout_less_than_ours: Warning, "resume_timeout_seconds of the config is 1800",
        (POWER, "ResumeTimeout="),
        |good| good.replace(POWER, "ResumeTimeout=1800", "ResumeTimeout=900");
    no_end_of_resuming: Warning, "ResumeTimeout is INFINITE",
        (POWER, "ResumeTimeout="), |good| {
            good.replace(POWER, "ResumeTimeout=1800", "ResumeTimeout=INFINITE");
        };
    a_short_suspend_timeout: Warning, "SuspendTimeout is 30 s: a node may be resumed",
        (POWER, "SuspendTimeout="),
        |good| good.replace(POWER, "SuspendTimeout=300", "SuspendTimeout=30");
    a_long_suspend_timeout: Warning, "SuspendTimeout is 3600 s",
        (POWER, "SuspendTimeout="),
        |good| good.replace(POWER, "SuspendTimeout=300", "SuspendTimeout=3600");
    a_resume_rate: Warning, "ResumeRate lets slurmctld resume 300 nodes",
        (POWER, "ResumeRate="), |good| good.replace(POWER, "ResumeRate=0", "ResumeRate=300");
    a_suspend_rate: Warning, "SuspendRate lets slurmctld suspend 60 nodes",
        (POWER, "SuspendRate="), |good| good.replace(POWER, "SuspendRate=0", "SuspendRate=60");
    fewer_powered_nodes_than_a_block: Error,
        "max_powered_nodes is 20, and an InfiniBand block has 32",
        (CONF, "SlurmctldParameters="),
        |good| good.replace(
            CONF,
            "idle_on_node_suspend,",
            "idle_on_node_suspend,max_powered_nodes=20,",
        );
    nodes_that_nothing_powers_off: Error, "hb-[01-64] are never powered off",
        (POWER, "SuspendTime="), |good| {
            good.replace(NODES, "Nodes=hb SuspendTime=600", "Nodes=hb");
        };
    nodes_of_a_partition_without_an_end: Error, "htc-[001-100] are never powered off",
        (POWER, "SuspendTime="), |good| {
            good.replace(NODES, "Default=YES SuspendTime=600", "Default=YES SuspendTime=INFINITE");
        };
    excepted_nodes: Warning, "gpu-[1-2] are never powered off",
        (CONF, "SuspendExcNodes="), |good| good.append(CONF, "SuspendExcNodes=gpu-[1-2],cpu-1");
    an_excepted_partition: Warning, "nodes of partition gpu are never powered off",
        (CONF, "SuspendExcParts="), |good| good.append(CONF, "SuspendExcParts=gpu,own");
    excepted_states: Note, "nodes that are DOWN are never powered off",
        (CONF, "SuspendExcStates="), |good| good.append(CONF, "SuspendExcStates=DOWN");
    a_slurmd_timeout_without_end: Warning, "SlurmdTimeout is 0",
        (CONF, "SlurmdTimeout="), |good| good.replace(CONF, "SlurmdTimeout=300", "SlurmdTimeout=0");
    a_long_slurmd_timeout: Warning, "SlurmdTimeout is 1800 s",
        (CONF, "SlurmdTimeout="),
        |good| good.replace(CONF, "SlurmdTimeout=300", "SlurmdTimeout=1800");
    a_long_power_save_interval: Warning, "power_save_interval is 300 s",
        (CONF, "SlurmctldParameters="), |good| {
            good.replace(CONF, "enable_configless", "enable_configless,power_save_interval=300");
        };
    a_long_gathering_of_nodes: Warning, "power_save_min_interval is 120 s",
        (CONF, "SlurmctldParameters="), |good| {
            good.replace(
                CONF,
                "enable_configless",
                "enable_configless,power_save_min_interval=120",
            );
        };
    a_long_gathering_of_jobs: Warning, "batch_sched_delay is 90 s",
        (CONF, "SchedulerParameters="),
        |good| good.replace(CONF, "batch_sched_delay=3", "batch_sched_delay=90");
    a_late_vm_that_may_not_serve: Warning, "ReturnToService is 1",
        (POWER, "ReturnToService="),
        |good| good.replace(POWER, "ReturnToService=2", "ReturnToService=1");
    nodes_that_stay_down: Warning, "SlurmctldParameters lacks idle_on_node_suspend",
        (CONF, "SlurmctldParameters="), |good| good.replace(CONF, "idle_on_node_suspend,", "");
    all_memory_or_none: Warning, "node_reg_mem_percent is 100", (CONF, "SlurmctldParameters="),
        |good| good.replace(CONF, "mem_percent=90", "mem_percent=100");
    nodes_that_are_not_shown: Error, "PrivateData lacks cloud: Slurm 22.05.8",
        (POWER, "PrivateData="),
        |good| good.replace(POWER, "PrivateData=cloud", "PrivateData=jobs");
    addresses_that_are_not_learned: Error, "SlurmctldParameters lacks cloud_reg_addrs",
        (CONF, "SlurmctldParameters="), |good| good.replace(CONF, "cloud_reg_addrs,", "");
    a_tree_of_strangers: Warning, "TreeWidth is 50", (POWER, "TreeWidth="),
        |good| good.replace(POWER, "TreeWidth=65533", "TreeWidth=50");
    no_tree_width: Warning, "TreeWidth is not set", ("", ""),
        |good| good.replace(POWER, "TreeWidth=65533", "");
    addresses_that_are_kept: Warning, "CommunicationParameters lacks NoAddrCache", ("", ""),
        |good| good.replace(POWER, "CommunicationParameters=NoAddrCache", "");
    no_tree_where_there_could_be_one: Note, "TreeWidth is 65533: slurmctld speaks with each node",
        (POWER, "TreeWidth="), |good| good.version = SlurmVersion::new(24, 11, 5);
    names_of_several_networks: Error, "nodes of 2 sites are found by DNS (cloud_dns)",
        (CONF, "SlurmctldParameters="), |good| good.replace(CONF, "cloud_reg_addrs,", "cloud_dns,");
    a_slurm_that_is_too_old: Error, "Slurm 21.08.8 is older than azslurm works with", ("", ""),
        |good| good.version = SlurmVersion::new(21, 8, 8);
    a_slurm_that_nobody_has_tested: Note, "Slurm 27.11.0 is newer than azslurm is tested with",
        ("", ""),
        |good| {
            newer(good);
            good.version = SlurmVersion::new(27, 11, 0);
        };
    jobs_that_end_with_their_spot_vm: Warning, "JobRequeue is 0, and there are Spot nodes",
        (CONF, "JobRequeue="), |good| good.replace(CONF, "JobRequeue=1", "JobRequeue=0");
    a_kill_wait_longer_than_the_notice: Warning, "KillWait is 60 s",
        (CONF, "KillWait="), |good| good.replace(CONF, "KillWait=20", "KillWait=60");
    the_default_kill_wait: Warning, "KillWait is 30 s", ("", ""),
        |good| good.replace(CONF, "KillWait=20\n", "");
    a_requeue_that_waits_for_its_credential: Note, "a requeued job waits 121 s",
        ("", ""), |good| good.replace(CONF, "AuthInfo=cred_expire=30\n", "");
    gpus_that_slurm_does_not_know: Error, "GresTypes lacks gpu",
        ("", ""), |good| good.replace(POWER, "GresTypes=gpu", "");
    whole_nodes_for_each_job: Note, "SelectType is select/linear", (CONF, "SelectType="),
        |good| good.replace(CONF, "select/cons_tres", "select/linear");
    a_slurm_conf_that_is_always_right: Warning, "config_overrides: slurm.conf is believed",
        (CONF, "SlurmdParameters="), |good| good.append(CONF, "SlurmdParameters=config_overrides");
    room_for_fewer_nodes: Error, "MaxNodeCount is 100, and the nodesets have 186 nodes",
        (CONF, "MaxNodeCount="), |good| good.append(CONF, "MaxNodeCount=100");
    two_names_of_one_cluster: Note, "Slurm's cluster is demo, and that of azslurm.toml other",
        (CONF, "ClusterName="), |good| good.replace(CONFIG, "name = \"demo\"", "name = \"other\"");
    a_loud_log: Note, "DebugFlags has Steps, Protocol", (CONF, "DebugFlags="),
        |good| good.replace(CONF, "DebugFlags=Power", "DebugFlags=Power,Steps,Protocol");
    a_setting_that_slurmctld_has_not_read: Warning, "it says 20, and slurmctld runs with 15",
        (CONF, "KillWait="), |good| {
            good.is_running = true;
            good.tweak(|seen| running(seen, "killwait", "15 sec"));
        };
    a_version_that_cannot_be_read: Warning, "slurmctld's version \"what\" cannot be read", ("", ""),
        |good| {
            good.is_running = true;
            good.tweak(|seen| {
                running(seen, "slurm_version", "what");
                seen.version = None;
            });
        };
}

/// slurmctld says something else.
fn running(seen: &mut azslurm_conf::check::seen::Seen, key: &str, value: &str) {
    use azslurm_conf::check::seen::Running;
    let Running::Answered { settings, .. } = &mut seen.running else { panic!("it runs") };
    *settings = settings.clone().with(key, value);
}

/// Two findings: any rate is one, and one that divides a block is worse.
#[test]
fn a_resume_rate_that_divides_a_block_is_an_error_besides() {
    let mut good = Good::new();
    good.replace(POWER, "ResumeRate=0", "ResumeRate=20");
    let texts: Vec<String> = good.findings().into_iter().map(|finding| finding.text).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(texts[1], "ResumeRate is 20, and an InfiniBand block has 32 nodes");
}

/// From 24.05 on.
#[test]
fn an_interval_and_a_rate_together_disable_power_saving() {
    let mut good = Good::new();
    newer(&mut good);
    assert_eq!(good.findings(), []);
    good.replace(CONF, "enable_configless", "enable_configless,power_save_interval=90");
    good.replace(POWER, "SuspendRate=0", "SuspendRate=60");
    let findings = good.findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert_eq!(findings[1].level, azslurm_program::check::Level::Error);
    assert!(findings[1].why.as_ref().unwrap().contains("disables power saving"));
}
