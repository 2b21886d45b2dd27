//! diff and apply as programs, with a stand-in for scontrol: what is shown, what is refused, and
//! what stands in Slurm's folder afterwards.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use azslurm_core::size::{Size, Sizes};
use azslurm_ledger::Ledger;

/// What the stand-in does: the nodes are in a file, which a reconfigure replaces by another.
const SCONTROL: &str = include_str!("../testdata/apply/scontrol.sh");

const CONFIG: &str = include_str!("../testdata/apply/azslurm.toml");

/// A person's own file, not to be touched but for lines at its end.
const SLURM_CONF: &str = "# mine\nClusterName=demo\nNodeName=mine1 CPUs=1\n";

/// Why what the tests prepare cannot fail.
const SCRATCH: &str = "a scratch directory can be worked with";

struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// With these nodes in the config, and slurmctld knowing none of them.
    fn new(version: &str, nodes: &str) -> Lab {
        let lab = Lab { dir: tempfile::tempdir().expect(SCRATCH) };
        // Without jobs.
        for (client, script) in [("scontrol", SCONTROL), ("squeue", "#!/bin/sh\n")] {
            lab.write(client, script);
            fs::set_permissions(lab.path(client), Permissions::from_mode(0o755)).expect(SCRATCH);
        }
        lab.write("version", version);
        lab.write("slurm.conf", SLURM_CONF);
        lab.write("nodes", "NodeName=mine1 CPUTot=1 RealMemory=1 State=IDLE Weight=1\n");
        let size = Size {
            name: "Standard_D4s_v5".to_owned(),
            family: "standardDSv5Family".to_owned(),
            vcpus: 4,
            vcpus_available: 4,
            threads_per_core: 2,
            memory_mb: 16384,
            gpus: 0,
            is_rdma: false,
            is_spot_capable: true,
            has_accelerated_networking: true,
            architecture: "x64".to_owned(),
            generations: Vec::new(),
            ephemeral_mb: BTreeMap::new(),
            zones: Vec::new(),
            zones_restricted: Vec::new(),
            is_offered: true,
            price: None,
            price_spot: None,
        };
        let mut sizes = Sizes::default();
        sizes.insert(&azslurm_core::config::Region::new("westeurope").expect(SCRATCH), size);
        lab.write("azslurm-sizes.json", &serde_json::to_string(&sizes).expect(SCRATCH));
        drop(Ledger::open(&lab.path("ledger.db")).expect(SCRATCH));
        lab.wants(nodes);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect(SCRATCH);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// These nodes in the config; and what slurmctld will say after a reconfigure that it takes.
    fn wants(&self, nodes: &str) {
        let dir = self.dir.path().display().to_string();
        self.write("azslurm.toml", &CONFIG.replace("@dir@", &dir).replace("@nodes@", nodes));
        fs::set_permissions(self.path("azslurm.toml"), Permissions::from_mode(0o600))
            .expect(SCRATCH);
        let mut text = "NodeName=mine1 CPUTot=1 RealMemory=1 State=IDLE Weight=1\n".to_owned();
        for node in azslurm_core::hostlist::expand(nodes).expect(SCRATCH) {
            text.push_str(&format!(
                "NodeName={node} CPUTot=4 RealMemory=15360 State=IDLE+CLOUD+POWERED_DOWN Weight=7 \
                 Partitions=a \n"
            ));
        }
        self.write("nodes.next", &text);
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_azslurm-conf"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("azslurm.toml"))
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect(SCRATCH);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Everything that Slurm reads, and what is kept beside.
    fn confs(&self) -> BTreeMap<String, String> {
        let files = fs::read_dir(self.dir.path()).expect(SCRATCH).flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let is_conf = |name: &String| name.contains(".conf");
        names.filter(is_conf).map(|name| (name.clone(), self.read(&name))).collect()
    }

    fn reconfigures(&self) -> usize {
        self.read("calls").lines().filter(|line| *line == "reconfigure").count()
    }
}

#[test]
fn a_diff_shows_words_and_lines_and_writes_nothing() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    let before = lab.confs();
    let (code, said, _) = lab.run(&["diff"]);
    assert_eq!(code, Some(1), "something would change");
    assert!(said.contains("nodes added: a[1-2] (2)\n"), "{said}");
    assert!(said.contains("partition a: added, 2 nodes\n"), "{said}");
    assert!(said.contains("\n+NodeName=a[1-2] CPUs=4 "), "{said}");
    assert!(said.contains("\n NodeName=mine1 CPUs=1\n+include azslurm-power.conf\n"), "{said}");
    let (_, json, _) = lab.run(&["diff", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["changes"]["nodes"]["nodes_added"], "a[1-2]");
    assert_eq!(lab.confs(), before);
    assert_eq!(lab.reconfigures(), 0);
}

#[test]
fn an_apply_keeps_the_old_beside_and_twice_changes_nothing() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    let (code, said, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(0), "{said}{error}");
    let text = lab.read("slurm.conf");
    let added = "include azslurm-power.conf\ninclude azslurm-nodes.conf\n";
    assert_eq!(text, format!("{SLURM_CONF}{added}"));
    assert_eq!(lab.read("slurm.conf.old"), SLURM_CONF);
    let (code, said, _) = lab.run(&["apply", "--yes"]);
    assert!(said.contains("nothing changes"), "{said}");
    assert_eq!((code, lab.reconfigures()), (Some(0), 1));
    assert_eq!(lab.run(&["diff"]).0, Some(0));

    let old = lab.read("azslurm-nodes.conf");
    lab.wants("a[1-3]");
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
    assert_eq!(lab.read("azslurm-nodes.conf.old"), old);
    assert_eq!(lab.read("slurm.conf.old"), SLURM_CONF, "it did not change, and neither did this");
}

#[test]
fn without_a_terminal_nobody_can_be_asked() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    let before = lab.confs();
    let (code, _, error) = lab.run(&["apply"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("say --yes"), "{error}");
    let (code, said, _) = lab.run(&["apply", "--dry-run"]);
    assert!(said.contains("it may be applied now; nothing was changed"), "{said}");
    assert_eq!((code, lab.confs(), lab.reconfigures()), (Some(0), before, 0));
}

#[test]
fn what_slurmctld_does_not_take_is_put_back() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    let before = lab.confs();
    lab.write("deaf", "");
    let (code, _, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("slurmctld has not taken the change: "), "{error}");
    assert!(error.contains("The old files are back"), "{error}");
    let mut now = lab.confs();
    now.retain(|name, _| !name.ends_with(".old"));
    assert_eq!(now, before);
    // And the next one begins anew.
    fs::remove_file(lab.path("deaf")).unwrap();
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
}

#[test]
fn a_slurmctld_that_does_not_answer_is_not_believed_to_be_idle() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    let before = lab.confs();
    lab.write("silent", "");
    let (code, _, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("say --slurmctld-stopped"), "{error}");
    assert_eq!(lab.confs(), before);
}

#[test]
fn an_old_slurmctld_is_not_told_a_new_name_unless_it_is_stopped() {
    let lab = Lab::new("22.05.8", "a[1-2]");
    let before = lab.confs();
    let (code, _, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(1));
    let why = "a[1-2]: slurmctld before 23.11 has not begun with these names";
    assert!(error.contains(why) && error.contains("systemctl stop slurmctld"), "{error}");
    assert_eq!((lab.confs(), lab.reconfigures()), (before, 0));

    let (code, _, error) = lab.run(&["apply", "--yes", "--slurmctld-stopped"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("slurmctld runs"), "{error}");
    lab.write("down", "");
    let (code, said, error) = lab.run(&["apply", "--yes", "--slurmctld-stopped"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(lab.read("azslurm-nodes.conf").contains("NodeName=a[1-2] "));
    assert_eq!(lab.reconfigures(), 0);
}

#[test]
fn what_leaves_an_old_slurmctld_stays_as_a_spare_and_gets_no_jobs_meanwhile() {
    let lab = Lab::new("22.05.8", "a[1-2]");
    lab.write("down", "");
    assert_eq!(lab.run(&["apply", "--yes", "--slurmctld-stopped"]).0, Some(0));
    fs::remove_file(lab.path("down")).unwrap();
    fs::copy(lab.path("nodes.next"), lab.path("nodes")).unwrap();
    lab.wants("a1");
    // It is still there, in no partition.
    let gone = "NodeName=a2 CPUTot=4 RealMemory=15360 State=IDLE+CLOUD+POWERED_DOWN Weight=7\n";
    lab.write("nodes.next", &(lab.read("nodes.next") + gone));
    let (code, said, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("nodes that become spares: a2"), "{said}");
    let nodes = lab.read("azslurm-nodes.conf");
    assert!(nodes.contains("NodeName=a2 CPUs=4 ") && nodes.contains("State=FUTURE"), "{nodes}");
    let calls = lab.read("calls");
    let drain = calls.find("update nodename=a2 state=drain reason=azslurm-conf apply").unwrap();
    assert!(drain < calls.find("reconfigure").unwrap(), "{calls}");
}

#[test]
fn a_file_that_somebody_has_changed_is_written_over_only_by_force() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
    let mine = lab.read("azslurm-nodes.conf") + "# mine\n";
    lab.write("azslurm-nodes.conf", &mine);
    let (code, said, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(error.contains("azslurm-nodes.conf was changed by somebody"), "{error}");
    assert_eq!(lab.read("azslurm-nodes.conf"), mine);
    assert_eq!(lab.run(&["apply", "--yes", "--force"]).0, Some(0));
    assert_eq!(lab.read("azslurm-nodes.conf.old"), mine);
    assert!(!lab.read("azslurm-nodes.conf").contains("# mine"));
}

#[test]
fn what_an_apply_has_left_that_was_killed_is_completed() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
    let first = lab.read("azslurm-nodes.conf");
    lab.wants("a[1-3]");
    // Killed when it reconfigures: the files are new, and slurmctld has not heard of them.
    lab.write("scontrol", &SCONTROL.replace("reconfigure)", "reconfigure) kill -9 $PPID; exit 1;"));
    assert_eq!(lab.run(&["apply", "--yes"]).0, None, "killed");
    assert!(lab.read("azslurm-nodes.conf").contains("a[1-3]"));
    lab.write("scontrol", SCONTROL);
    let (code, said, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.contains("slurmctld has not read its files since they were changed"), "{said}");
    assert!(lab.read("nodes").contains("NodeName=a3 "));
    assert_eq!(lab.read("azslurm-nodes.conf.old"), first, "what a person wants back is kept");
    assert!(lab.run(&["apply", "--yes"]).1.contains("nothing changes"));
}

#[test]
fn what_slurm_cannot_read_or_would_end_for_is_never_written() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    for (line, why) in [
        ("NodeName=a2 CPUs=1\n", "a2 is a NodeName in "),
        ("Nonsense=1\n", "Slurm cannot read what would be written"),
        ("PartitionName=p Nodes=mine[1-2]\n", "mine2 is neither a NodeName nor a NodeSet"),
    ] {
        lab.write("slurm.conf", &format!("{SLURM_CONF}{line}"));
        let before = lab.confs();
        let (code, _, error) = lab.run(&["apply", "--yes"]);
        assert_eq!(code, Some(1), "{line}");
        assert!(error.contains(why), "{line}: {error}");
        assert!(!error.contains("azslurm-try-"), "the person's own paths: {error}");
        assert_eq!(lab.confs(), before, "{line}");
    }
}

#[test]
fn a_fault_is_said_also_when_nothing_would_change() {
    let lab = Lab::new("24.11.5", "a[1-2]");
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
    lab.write("slurm.conf", &(lab.read("slurm.conf") + "NodeName=a2\n"));
    let (code, _, error) = lab.run(&["apply", "--yes"]);
    assert!(error.contains("a2 is a NodeName in "), "{error}");
    assert_eq!((code, lab.reconfigures()), (Some(1), 1));
}

#[test]
fn a_persons_own_node_that_does_not_resolve_stands_in_nobodys_way() {
    let lab = Lab::new("24.11.5", "a1");
    lab.write("nodes.next", &lab.read("nodes.next").replace("State=IDLE ", "State=FUTURE "));
    let (code, said, error) = lab.run(&["apply", "--yes"]);
    assert_eq!(code, Some(0), "{said}{error}");
}

#[test]
fn a_node_that_a_reconfigure_would_leave_without_jobs_is_freed() {
    let lab = Lab::new("24.11.5", "a1");
    let stuck = lab.read("nodes.next").replace("POWERED_DOWN", "POWERED_DOWN+NOT_RESPONDING");
    lab.write("nodes.next", &stuck);
    assert_eq!(lab.run(&["apply", "--yes"]).0, Some(0));
    assert!(lab.read("calls").ends_with("update nodename=a1 state=idle\n"));
}
