//! The program itself, on real files: those of the good installation, with paths in a folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The files of the good installation as they are on a head node with one disk.
struct Installed {
    folder: tempfile::TempDir,
    _munged: UnixListener,
}

/// Where each path of the good files is.
const FOLDERS: [(&str, &str); 7] = [
    ("/etc/azslurm", "etc"),
    ("/etc/slurm", "etc"),
    ("/var/lib/azslurm", "ledger"),
    ("/var/log/azslurm", "log"),
    ("/shared/slurm/state", "state"),
    ("/usr/sbin", "sbin"),
    ("/run/munge", "munge"),
];
const PROGRAMS: [&str; 3] = ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail"];

impl Installed {
    fn new() -> Installed {
        // Beside the programs: scratch space may be in memory, which is a finding.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
        for (_, name) in FOLDERS {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).expect("a folder");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("its mode");
        }
        let munged = UnixListener::bind(folder.path().join("munge/munge.socket.2"));
        let installed = Installed { folder, _munged: munged.expect("a socket") };
        let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/good");
        for entry in fs::read_dir(good).expect("the good files") {
            let entry = entry.expect("a good file");
            let text = fs::read_to_string(entry.path()).expect("text");
            installed.write(&format!("etc/{}", entry.file_name().display()), &text, 0o644);
        }
        let bundle = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        installed.write("etc/ca.pem", bundle, 0o644);
        installed.write("etc/client-secret", "hunter2", 0o600);
        for program in PROGRAMS {
            installed.write(&format!("sbin/{program}"), "#!/bin/sh\n", 0o755);
        }
        installed.write("sbin/scontrol", "#!/bin/sh\necho slurm-wlm 22.05.8\n", 0o755);
        let socket = installed.path("munge/munge.socket.2");
        installed.change(
            "slurm.conf",
            "cred_expire=30",
            &format!("cred_expire=30,socket={socket}"),
        );
        installed.change("slurm.conf", "SlurmctldHost=head2(10.0.0.5)\n", "");
        let user = nix::unistd::geteuid().as_raw();
        installed.change("slurm.conf", "SlurmUser=slurm", &format!("SlurmUser={user}"));
        let bin_dir = format!("[slurm]\nbin_dir = \"{}\"\n", installed.path("sbin"));
        installed.change("azslurm.toml", "[slurm]\n", &bin_dir);
        let program_dir = format!("[power]\nprogram_dir = \"{}\"\n", installed.path("sbin"));
        installed.change("azslurm.toml", "[power]\n", &program_dir);
        installed
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a UTF-8 path").to_owned()
    }

    /// With the paths of this folder.
    fn write(&self, name: &str, text: &str, mode: u32) {
        let mut text = text.to_owned();
        for (place, name) in FOLDERS {
            text = text.replace(&format!("{place}/"), &format!("{}/", self.path(name)));
        }
        text = text.replace("=/shared/slurm/state", &format!("={}", self.path("state")));
        let path = PathBuf::from(self.path(name));
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
    }

    fn change(&self, name: &str, old: &str, new: &str) {
        let path = self.folder.path().join("etc").join(name);
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(text.contains(old), "{old} is not in {text}");
        fs::write(&path, text.replace(old, new)).expect("written");
    }

    fn check(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azslurm-conf"))
            .args(["check", "--config", &self.path("etc/azslurm.toml"), "--offline"])
            .args(arguments)
            .env_clear()
            .output()
            .expect("azslurm-conf is built")
    }

    /// Exit code and findings, without what the machine of the test brings: that the test runs as
    /// root, and that this head node is the only one.
    fn findings(&self) -> (Option<i32>, Vec<Value>) {
        let output = self.check(&["--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).expect("one object");
        let mut findings = json["findings"].as_array().expect("a list").clone();
        let is_usual = |one: &Value| one["text"] == "SlurmUser is root";
        findings.retain(|one| !is_usual(one));
        let is_alone = |one: &Value| one["text"] == "head1 is the only head node";
        assert!(findings.iter().any(is_alone), "{json:#}");
        findings.retain(|one| !is_alone(one));
        assert_eq!(json["not_checked"], serde_json::json!(["slurmctld", "Azure"]), "{json:#}");
        (output.status.code(), findings)
    }
}

#[test]
fn the_program_finds_nothing_in_the_good_files() {
    let installed = Installed::new();
    let before = fs::read_dir(installed.path("etc")).unwrap().count();
    assert_eq!(installed.findings(), (Some(0), Vec::new()));
    assert_eq!(fs::read_dir(installed.path("etc")).unwrap().count(), before, "it makes nothing");
    let output = installed.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not checked: slurmctld; Azure"), "{text}");
    assert!(text.contains("nodeset hb: 64 × Standard_HB120rs_v3 in west, north"), "{text}");
    assert!(!text.contains("\nerror") && !text.contains("hunter2"), "{text}");
}

#[test]
fn the_program_finds_mistakes_of_several_files_with_their_lines() {
    let installed = Installed::new();
    installed.change("slurm.conf", "KillWait=20", "KillWait=60");
    installed.change(
        "azslurm-topology.conf",
        "hb-b2 Nodes=hb-[33-64]",
        "hb-b2 Nodes=hb-[33-63],cpu-4",
    );
    installed.change("topology.conf", "cpu-[1-4]", "cpu-[1-3]");
    fs::set_permissions(installed.path("etc/client-secret"), PermissionsExt::from_mode(0o644))
        .unwrap();
    fs::remove_file(installed.path("sbin/azslurm-suspend")).unwrap();
    fs::remove_dir(installed.path("ledger")).unwrap();
    let (code, findings) = installed.findings();
    assert_eq!(code, Some(1));
    let of = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let at = word("at").replace(&format!("{}/", installed.path("etc")), "");
        assert!(!word("fix").is_empty(), "{one}");
        format!("{} {at} {}", word("level"), word("text")).replace(&installed.path(""), "")
    };
    let found: Vec<String> = findings.iter().map(of).collect();
    let expected = [
        "error azslurm.toml:42 the secret etc/client-secret may be read or written by others (mode",
        "error azslurm-power.conf:8 SuspendProgram sbin/azslurm-suspend is not on this machine",
        "warning slurm.conf:13 KillWait is 60 s, and Azure takes a Spot VM within 30 s",
        "error topology.conf hb-64 of block hb-b2 are in no switch",
        "error azslurm-topology.conf:10 hb-b2 has cpu-4 beside block hb-b2",
        "warning topology.conf hb-64 are in no switch",
        "error azslurm.toml:16 the ledger's folder ledger cannot be used: ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }
    let output = installed.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("why: a job that is told to end is cut off"), "{text}");
    assert!(text.contains("what to do: set KillWait=20"), "{text}");
    assert!(
        text.trim_end().ends_with("5 errors, 3 warnings, 1 note")
            || text.trim_end().ends_with("5 errors, 2 warnings, 1 note"),
        "{text}"
    );
}

#[test]
fn a_secret_of_user_data_is_found_and_not_shown() {
    let installed = Installed::new();
    let line = "runcmd:\n  - echo 'password: hunter3'\n";
    installed.change("cloud-init.yaml", "runcmd:\n", line);
    let (code, findings) = installed.findings();
    assert_eq!((code, findings.len()), (Some(1), 1), "{findings:?}");
    assert_eq!(findings[0]["pitfall"], "security");
    for arguments in [&[][..], &["--json"]] {
        let output = installed.check(arguments);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter"), "{output:?}");
    }
}
