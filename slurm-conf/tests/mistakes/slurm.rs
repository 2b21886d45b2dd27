//! Slurm's files as files, who may talk to slurmctld, the head nodes, and what else is installed.

use azslurm_conf::check::seen::Running;
use azslurm_program::check::Finding;
use azslurm_program::check::disk::Disk;

use crate::good::{CONF, CONFIG, MUNGE_KEY, SLURM, STATE};
use crate::mistakes;

const NODES: &str = "/etc/slurm/azslurm-nodes.conf";

mistakes! {
    a_part_of_slurm_conf_that_is_not_there: Error,
        "/etc/slurm/site.conf is included and cannot be read",
        (CONF, "include site.conf"), |good| good.append(CONF, "include site.conf");
    a_part_that_includes_its_whole: Error, "it is included above already",
        (NODES, "include slurm.conf"), |good| good.append(NODES, "include slurm.conf");
    a_key_without_a_value: Error, "SuspendExcParts has no value",
        (CONF, "SuspendExcParts="), |good| good.append(CONF, "SuspendExcParts=");
    a_key_that_swallows_the_next: Error,
        "Features has no value, and Slurm takes \"Weight=9\" for it",
        (CONF, "NodeName=cpu-[1-4]"),
        |good| good.replace(
            CONF,
            "RealMemory=250000 State",
            "RealMemory=250000 Features= Weight=9 State",
        );
    a_setting_that_is_made_twice: Warning, "KillWait is set here again: /etc/slurm/slurm.conf:",
        (NODES, "KillWait="), |good| good.append(NODES, "KillWait=15");
    a_slurm_conf_that_others_may_write: Error, "/etc/slurm/slurm.conf may be written by others",
        ("", ""), |good| good.mode(CONF, (0, 0o666));
    a_part_that_slurm_user_cannot_read: Error,
        "SlurmUser cannot read Slurm's file /etc/slurm/azslurm-no",
        ("", ""), |good| good.mode(NODES, (0, 0o640));
    no_scontrol: Error, "/usr/bin/scontrol is not there", (CONFIG, "[slurm]"),
        |good| good.remove("/usr/bin/scontrol");
    a_scontrol_for_root_only: Error, "SlurmUser cannot run /opt/slurm/bin/scontrol",
        (CONFIG, "bin_dir"), |good| {
            good.replace(CONFIG, "[slurm]\n", "[slurm]\nbin_dir = \"/opt/slurm/bin\"\n");
            good.mode("/opt/slurm/bin", (0, 0o700));
        };
    slurm_user_is_root: Warning, "SlurmUser is root", (CONF, "SlurmUser="), |good| {
        good.replace(CONF, "SlurmUser=slurm", "SlurmUser=root");
        good.mode(STATE, (0, 0o700));
        good.ledger_of_root();
    };
    no_authentication: Error, "AuthType is auth/none", (CONF, "AuthType="),
        |good| good.replace(CONF, "auth/munge", "auth/none");
    an_authentication_that_this_slurm_does_not_have: Error,
        "auth/slurm is there from Slurm 23.11 on",
        (CONF, "AuthType="), |good| {
            good.replace(CONF, "auth/munge", "auth/slurm");
            good.mode("/etc/slurm/slurm.key", (SLURM, 0o600));
        };
    a_munged_that_does_not_run: Error, "munged does not answer at /run/munge/munge.socket.2",
        (CONF, "AuthInfo="),
        |good| good.tweak(|seen| seen.munge = Err("No such file or directory".into()));
    no_munge_key: Error, "there is no key /etc/munge/munge.key", ("", ""),
        |good| good.remove(MUNGE_KEY);
    a_munge_key_for_everybody: Error, "the key /etc/munge/munge.key is open to others (mode 0444)",
        ("", ""), |good| good.mode(MUNGE_KEY, (110, 0o444));
    one_head_node: Note, "head1 is the only head node", (CONF, "SlurmctldHost=head1"),
        |good| good.replace(CONF, "SlurmctldHost=head2(10.0.0.5)\n", "");
    two_head_nodes_and_a_disk_for_each: Error, "there are 2 head nodes, and StateSaveLocation",
        (CONF, "StateSaveLocation="), |good| good.disk(STATE, Disk::Local);
    state_in_memory: Error, "StateSaveLocation /shared/slurm/state is in memory",
        (CONF, "StateSaveLocation="), |good| good.disk(STATE, Disk::Memory);
    no_folder_for_state: Error, "StateSaveLocation /shared/slurm/state is not there",
        (CONF, "StateSaveLocation="), |good| good.remove(STATE);
    state_of_another_user: Error, "SlurmUser cannot write StateSaveLocation",
        (CONF, "StateSaveLocation="), |good| good.mode(STATE, (0, 0o755));
    state_that_others_may_write: Error,
        "StateSaveLocation /shared/slurm/state may be written by others",
        (CONF, "StateSaveLocation="), |good| good.mode(STATE, (SLURM, 0o777));
    a_head_node_that_is_a_node: Error, "the head node hb-01.hpc.internal is a node of a nodeset",
        (CONF, "SlurmctldHost=hb-01"), |good| good.replace(CONF, "=head2(", "=hb-01.hpc.internal(");
    one_pid_file_for_two: Error, "slurmctld and slurmd share the PID file",
        (CONF, "SlurmdPidFile="),
        |good| good.replace(CONF, "/run/slurmd/slurmd.pid", "/run/slurmctld/slurmctld.pid");
    cyclecloud_beside: Warning, "CycleCloud's azslurm is installed too", ("", ""),
        |good| good.add("/opt/azurehpc/slurm/resume_program.sh");
    a_slurmctld_that_does_not_answer: Error, "scontrol show config", ("", ""), |good| {
        good.tweak(|seen| {
            let said = "scontrol show config: no answer";
            let finding = Finding::error("slurmctld", said, "start it");
            seen.running = Running::Silent(Box::new(finding));
        });
    };
}

#[test]
fn without_slurm_conf_only_that_is_said_of_slurm() {
    let mut good = crate::good::Good::new();
    good.remove(CONF);
    let findings = good.findings();
    let texts: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(texts, ["/etc/slurm/slurm.conf cannot be read: No such file"]);
}
