//! How `scontrol` is run, with a stand-in whose behaviour each test writes down as shell text.

use std::path::Path;
use std::time::{Duration, Instant};

use azslurm_core::NodeName;
use azslurm_core::config::Slurm as Config;
use azslurm_slurm::{NodeVerb, Slurm, SlurmError, SlurmVersion};
use nix::sys::signal::SigSet;

/// Longer than a loaded machine needs to start a shell.
const PLENTY: Duration = Duration::from_secs(60);

struct Fake {
    dir: tempfile::TempDir,
    config: Config,
}

impl Fake {
    fn new(behaviour: &str) -> Fake {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let conf = dir.path().join("slurm.conf");
        std::fs::write(&conf, behaviour).expect("write the behaviour");
        let config = Config {
            bin_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/bin"),
            conf: Some(conf),
            command_timeout: PLENTY,
            resume_timeout: PLENTY,
            ..Config::default()
        };
        Fake { dir, config }
    }

    fn slurm(&self) -> Slurm {
        Slurm::new(&self.config)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).expect(name)
    }
}

fn on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn names(list: &str) -> Vec<NodeName> {
    azslurm_core::hostlist::expand(list).expect(list)
}

#[test]
fn a_run_gets_four_variables_and_an_empty_signal_mask() {
    let fake = Fake::new(
        "tr '\\0' '\\n' < /proc/$$/environ > $here/environ; \
         grep SigBlk /proc/self/status > $here/mask; \
         readlink /proc/self/fd/0 > $here/stdin; echo 'SLURM_VERSION = 22.05.8'",
    );
    // As slurmctld 22.05 starts our programs.
    SigSet::all().thread_block().unwrap();
    let version = on(fake.slurm().version());
    SigSet::all().thread_unblock().unwrap();
    assert_eq!(version.unwrap(), SlurmVersion::new(22, 5, 8));
    let environ = fake.read("environ");
    let mut variables: Vec<&str> =
        environ.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    variables.sort_unstable();
    assert_eq!(variables, ["LC_ALL", "PATH", "SLURM_CONF", "TZ"]);
    assert_eq!(fake.read("mask").trim(), "SigBlk:\t0000000000000000");
    assert_eq!(fake.read("stdin").trim(), "/dev/null");
}

#[test]
fn a_run_that_does_not_end_is_killed() {
    let mut fake = Fake::new("echo $$ > $here/pid; exec sleep 1000");
    fake.config.command_timeout = Duration::from_millis(500);
    let error = on(async {
        let error = fake.slurm().nodes().await.unwrap_err();
        // tokio reaps what it has killed while the runtime lives.
        let deadline = Instant::now() + PLENTY;
        let proc_dir = format!("/proc/{}", fake.read("pid").trim());
        while Path::new(&proc_dir).exists() {
            assert!(Instant::now() < deadline, "{proc_dir} is still there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        error
    });
    assert!(matches!(error, SlurmError::TimedOut { .. }), "{error:?}");
    assert!(error.is_passing());
}

#[test]
fn a_missing_scontrol_is_named() {
    let mut fake = Fake::new("");
    fake.config.bin_dir = "/nowhere/at/all".into();
    let error = on(fake.slurm().nodes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot run /nowhere/at/all/scontrol: check `bin_dir` in [slurm]"
    );
}

#[test]
fn the_words_of_scontrol_become_kinds_of_errors() {
    let cases = [
        (
            "slurm_load_node error: Unable to contact slurm controller (connect failure)",
            "NotResponding",
        ),
        ("slurm_update error: Socket timed out on send/recv operation", "NotResponding"),
        ("slurm_update error: Invalid node state specified", "NotAllowed"),
        ("slurm_update error: Invalid node state transition", "NotAllowed"),
        ("slurm_update error: Invalid user id", "NotPermitted"),
        ("something that nobody foresaw", "Failed"),
    ];
    for (words, kind) in cases {
        let fake = Fake::new(&format!("echo '{words}' >&2; exit 1"));
        let error = on(fake.slurm().update(&names("n1"), NodeVerb::Resume, None)).unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{words}: {error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn both_pipes_may_be_full_at_once() {
    let fake = Fake::new(
        "for i in 1 2 3; do head -c 300000 /dev/zero | tr '\\0' x >&2; \
         head -c 300000 /dev/zero | tr '\\0' '\\n'; done; \
         echo 'NodeName=n1 State=IDLE'",
    );
    let nodes = on(fake.slurm().nodes()).unwrap();
    assert_eq!(nodes.len(), 1);
}

#[test]
fn an_answer_in_which_nothing_can_be_read_is_no_empty_cluster() {
    let fake = Fake::new("echo '<html>moved</html>'");
    let error = on(fake.slurm().nodes()).unwrap_err();
    assert!(matches!(error, SlurmError::Unreadable { .. }), "{error:?}");
    let fake = Fake::new("echo 'No nodes in the system'");
    assert!(on(fake.slurm().nodes()).unwrap().is_empty());
}

#[test]
fn an_update_is_folded_and_cut_into_runs() {
    let fake = Fake::new("printf '%s|' \"$@\" >> $here/runs; echo >> $here/runs");
    let slurm = fake.slurm();
    on(slurm.update(&names("n[1-2500]"), NodeVerb::Down, Some("azslurm: quota: used up"))).unwrap();
    assert_eq!(slurm.runs(), 3);
    let runs = fake.read("runs");
    assert_eq!(
        runs.lines().next(),
        Some("update|nodename=n[1-1000]|state=down|reason=azslurm: quota: used up|")
    );
    assert!(
        runs.ends_with("update|nodename=n[2001-2500]|state=down|reason=azslurm: quota: used up|\n")
    );
    on(slurm.update(&[], NodeVerb::Resume, None)).unwrap();
    assert_eq!(slurm.runs(), 3, "nothing is run for no nodes");
}

#[test]
fn down_and_drain_need_a_reason() {
    let fake = Fake::new("exit 0");
    for verb in [NodeVerb::Down, NodeVerb::Drain] {
        let error = on(fake.slurm().update(&names("n1"), verb, None)).unwrap_err();
        assert!(matches!(error, SlurmError::ReasonMissing { .. }));
    }
    on(fake.slurm().update(&names("n1"), NodeVerb::PowerDownForce, None)).unwrap();
}

#[test]
fn a_refusal_for_one_batch_does_not_keep_the_others_from_being_told() {
    let fake = Fake::new(
        "echo \"$2\" >> $here/runs; case $2 in *'[1-1000]'*) \
         echo 'slurm_update error: Invalid node state specified' >&2; exit 1;; esac",
    );
    let error = on(fake.slurm().update(&names("n[1-1500]"), NodeVerb::Resume, None)).unwrap_err();
    assert!(matches!(error, SlurmError::NotAllowed { .. }), "{error:?}");
    assert_eq!(fake.read("runs").lines().count(), 2);
}

/// T55: one unknown name among 61, and nothing was done for the others.
#[test]
fn one_unknown_name_does_not_keep_the_others_from_being_told() {
    let fake = Fake::new(
        "case \"$*\" in \
         update*n3*|update*'n[1-3]'*) \
         echo 'slurm_update error: Invalid node name specified' >&2; exit 1;; \
         update*) echo \"$2 $3\" >> $here/told;; \
         *show*) echo 'NodeName=n1 State=IDLE'; echo 'NodeName=n2 State=IDLE'; \
         echo 'Node n3 not found'; exit 1;; esac",
    );
    let error =
        on(fake.slurm().update(&names("n[1-3]"), NodeVerb::PowerDownForce, None)).unwrap_err();
    assert!(matches!(&error, SlurmError::UnknownNodes { nodes } if nodes == "n3"), "{error:?}");
    assert_eq!(fake.read("told"), "nodename=n[1-2] state=power_down_force\n");
}

#[test]
fn settings_and_controllers_are_read_from_a_capture() {
    let capture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/22.05.8/scontrol-show-config.txt");
    let fake = Fake::new(&format!("cat {}", capture.display()));
    let slurm = fake.slurm();
    on(async {
        assert_eq!(slurm.config_value("ResumeTimeout").await.unwrap().as_deref(), Some("600 sec"));
        assert_eq!(slurm.config_value("accountingstoreflags").await.unwrap(), None);
        assert_eq!(slurm.config_value("NoSuchKey").await.unwrap(), None);
        let controllers = slurm.ping().await.unwrap();
        assert!(controllers.len() == 1 && controllers[0].is_up);
    });
}
