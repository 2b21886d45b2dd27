//! The harness itself: two clusters at once, with stand-ins for azslurm's programs, run a job each
//! and leave nothing behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use azslurm_test_cluster::{Cluster, ClusterSpec, Programs, WAIT_POLL};

/// slurmctld's 30 s tick, SuspendTime, SuspendTimeout, and a loaded machine.
const CYCLE_LIMIT: Duration = Duration::from_secs(180);

/// What the cloud does, in shell. slurmctld 22.05 starts its programs with nearly all signals
/// blocked, which no shell can undo and perl can.
const RESUME: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
dir=${SLURM_CONF%/etc/slurm.conf}
echo "resume $*" >> "$dir/log/calls.log"
for node in $(scontrol show hostnames "$1"); do
	VM_COMPUTER_NAME=$node VM_NAME=$node perl -MPOSIX -e '
		POSIX::setsid(); sigprocmask(SIG_SETMASK, POSIX::SigSet->new());
		exec @ARGV' "$dir/bin/boot" </dev/null >/dev/null 2>&1 &
	echo $! > "$dir/run/$node.vm"
done
exit 0
"#;

const SUSPEND: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
dir=${SLURM_CONF%/etc/slurm.conf}
echo "suspend $*" >> "$dir/log/calls.log"
for node in $(scontrol show hostnames "$1"); do
	[ -e "$dir/run/$node.vm" ] && kill -9 "$(cat "$dir/run/$node.vm")" && rm "$dir/run/$node.vm"
done
exit 0
"#;

const JOB: &str =
    "#!/bin/sh\necho batch on $SLURMD_NODENAME\nsrun -l sh -c 'echo step on $SLURMD_NODENAME'\n";

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("write a program");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("make it executable");
    path
}

fn spec(name: &str, programs: &Path) -> ClusterSpec {
    ClusterSpec {
        name: name.to_owned(),
        nodes: 3,
        suspend_time: Duration::from_secs(5),
        suspend_timeout: Duration::from_secs(5),
        programs: Programs::Fake {
            resume: script(programs, "resume", RESUME),
            suspend: script(programs, "suspend", SUSPEND),
            resume_fail: script(programs, "resume-fail", SUSPEND),
        },
        ..ClusterSpec::default()
    }
}

/// Processes whose environment names the cluster.
fn processes_of(dir: &Path) -> Vec<String> {
    let needle = format!("={}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(&needle) {
            found.push(fs::read_to_string(entry.path().join("comm")).unwrap_or_default());
        }
    }
    found
}

/// Processes whose working directory is in `dir`: slurmd and slurmstepd, which writes over its
/// environment.
fn living_in(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)) {
            found.push(fs::read_to_string(entry.path().join("comm")).unwrap_or_default());
        }
    }
    found
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + CYCLE_LIMIT;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", CYCLE_LIMIT.as_secs());
        std::thread::sleep(WAIT_POLL);
    }
}

fn a_job_runs_on_nodes_that_were_off(cluster: &Cluster) -> anyhow::Result<()> {
    let states = cluster.node_states()?;
    assert!(states.values().all(|state| state == "IDLE+CLOUD+POWERED_DOWN"), "{states:?}");
    let job = cluster.sbatch(&["-N2"], JOB)?;
    cluster.wait_for_job(CYCLE_LIMIT, job, "COMPLETED")?;
    let output = cluster.job_output(job).unwrap_or_default();
    assert!(output.contains("batch on hpc-001"), "{output:?}");
    assert!(output.contains("1: step on hpc-002"), "{output:?}");
    cluster.wait_until_all_off(CYCLE_LIMIT)?;
    let calls = fs::read_to_string(cluster.dir().join("log/calls.log"))?;
    assert!(calls.contains("resume hpc-[001-002]\n"), "{calls}");
    assert!(calls.contains("suspend hpc-"), "{calls}");
    Ok(())
}

#[test]
fn two_clusters_at_once_run_a_job_each_and_leave_nothing_behind() {
    let programs = tempfile::tempdir().unwrap();
    let one = Cluster::start(&spec("self-one", programs.path())).unwrap();
    let two = Cluster::start(&spec("self-two", programs.path())).unwrap();
    let dirs = [one.dir().to_owned(), two.dir().to_owned()];
    std::thread::scope(|scope| {
        for cluster in [&one, &two] {
            scope.spawn(|| a_job_runs_on_nodes_that_were_off(cluster).unwrap());
        }
    });
    assert!(!processes_of(&dirs[0]).is_empty(), "the check below can see processes");
    one.finish().unwrap();
    two.finish().unwrap();
    for dir in &dirs {
        assert_eq!(processes_of(dir), Vec::<String>::new());
        assert!(!dir.exists());
    }
}

/// The other half of the test below: a process that will be killed.
#[test]
#[ignore = "started by when_the_test_is_killed_its_cluster_ends"]
fn hold_a_cluster() {
    let programs = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&spec("self-killed", programs.path())).unwrap();
    let job = cluster.sbatch(&[], "#!/bin/sh\nsrun sleep 1000\n").unwrap();
    cluster.wait_for_job(CYCLE_LIMIT, job, "RUNNING").unwrap();
    fs::write(std::env::var_os("TOLD_TO").unwrap(), cluster.dir().to_str().unwrap()).unwrap();
    std::thread::park();
}

#[test]
fn when_the_test_is_killed_its_cluster_ends() {
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "hold_a_cluster"])
        .env("TOLD_TO", told.path())
        .spawn()
        .unwrap();
    let dir = until("a job to run", || {
        let dir = PathBuf::from(fs::read_to_string(told.path()).unwrap());
        assert_eq!(holder.try_wait().unwrap(), None, "the holder has ended");
        dir.is_absolute().then_some(dir)
    });
    let spool = dir.join("spool");
    assert!(!living_in(&spool).is_empty(), "the check below can see slurmstepd");
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The directory goes last.
    until("the cluster to end", || {
        let left = [processes_of(&dir), living_in(&spool)].concat();
        (left.is_empty() && !dir.exists()).then_some(())
    });
}

#[test]
fn a_restarted_slurmctld_remembers_its_jobs() {
    let programs = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&spec("self-restart", programs.path())).unwrap();
    let job = cluster.sbatch(&["--hold"], JOB).unwrap();
    cluster.restart_slurmctld().unwrap();
    assert_eq!(cluster.job_state(job).unwrap(), "PENDING");
    cluster.finish().unwrap();
}
