//! The program itself: exit codes and what it prints.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_azslurm-conf"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("azslurm-conf is built")
}

fn check(config: &Path, arguments: &[&str]) -> Output {
    run(&[&["check", "--config", config.to_str().expect("a UTF-8 path")], arguments].concat())
}

/// A file with this text that only its owner may touch.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    std::fs::write(file.path(), text).expect("the scratch file is writable");
    file
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}

fn example() -> String {
    text(&run(&["example"]).stdout)
}

#[test]
fn the_example_that_it_prints_can_be_read_and_what_it_names_is_asked_for() {
    let file = file(&example());
    let output = check(file.path(), &["--offline"]);
    let said = text(&output.stdout);
    // It can be read; what it names is not there.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains(": the public key /etc/azslurm/admin.pub cannot be read"), "{said}");
    assert!(said.contains("nodeset htc: 100 × Standard_D4s_v5 in west: htc-[001-100]"), "{said}");
    assert!(said.contains("not checked: "), "{said}");
}

#[test]
fn all_errors_of_a_broken_config_are_printed_with_their_places_and_it_ends_with_2() {
    let broken =
        example().replace("westeurope", "West Europe").replace("name = \"demo\"", "nam = 1");
    let file = file(&broken);
    let output = check(file.path(), &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    let path = file.path().display();
    assert!(
        said.contains(&format!("{path}:24:1: cluster.nam: is not known; did you mean \"name\"?")),
        "{said}"
    );
    assert!(said.contains("site.west.region: \"West Europe\" is not a region"), "{said}");
    assert!(said.contains(&format!("3 errors in {path}")), "{said}");

    let json: serde_json::Value =
        serde_json::from_slice(&check(file.path(), &["--json"]).stdout).unwrap();
    assert_eq!(json["fine"], false);
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json["errors"][1]["hint"], "did you mean \"name\"?");
}

#[test]
fn the_json_of_a_fine_config_names_its_nodesets() {
    let file = file(&example());
    let output = check(file.path(), &["--json", "--offline"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json["nodesets"][0]["count"], 100);
    assert_eq!(json["nodesets"][0]["nodes"], "htc-[001-100]");
}

#[test]
fn a_config_that_is_not_there_or_that_others_may_write_ends_with_2() {
    let missing = check(Path::new("/nowhere/azslurm.toml"), &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nowhere/azslurm.toml"), "{missing:?}");

    let file = file(&example());
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o666)).unwrap();
    let writable = check(file.path(), &[]);
    assert_eq!(writable.status.code(), Some(2));
    assert!(text(&writable.stderr).contains("may be written by others"), "{writable:?}");
}

#[test]
fn a_secret_that_others_may_read_is_refused_and_not_shown() {
    let credential = "[credential]\ntype = \"client-secret\"\ntenant_id = \"contoso.example\"\n\
                      client_id = \"00000000-0000-0000-0000-000000000000\"\n\
                      client_secret = \"hunter2\"\n";
    let file = file(&format!("{credential}{}", example()));
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
    let output = check(file.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("holds a secret") && !said.contains("hunter2"), "{said}");

    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let output = check(file.path(), &["--offline"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("the secret stands in the config"), "{output:?}");
    assert!(!text(&output.stdout).contains("hunter2"));
}

/// Stands for Azure's command line: says how it was called, and reads what it is given.
const AZ: &str = "#!/bin/sh\nread=$(cat)\necho \"$*\" >> \"$AZ_LOG\"\n\
    case \"$*\" in *@-) echo \"$read\" >> \"$AZ_LOG\";; esac\n";

#[test]
fn the_script_of_roles_makes_each_role_before_it_assigns_it() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let az = folder.path().join("az");
    std::fs::write(&az, AZ).expect("it is writable");
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let file = file(&example());
    let config = file.path().to_str().expect("a UTF-8 path");
    let script = run(&["role", "--config", config]);
    assert_eq!(script.status.code(), Some(0), "{script:?}");
    let log = folder.path().join("log");
    let shell = |principal: Option<&str>| {
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(text(&script.stdout)).env_clear();
        shell.env("PATH", path).env("AZ_LOG", &log).stdin(std::process::Stdio::null());
        shell.envs(principal.map(|id| ("HEAD_NODE_PRINCIPAL", id)));
        shell.output().expect("sh is there")
    };
    let refused = shell(None);
    assert!(!refused.status.success() && !log.exists(), "{refused:?}");
    assert!(text(&refused.stderr).contains("az vm show"), "{refused:?}");
    let done = shell(Some("7c1f"));
    assert!(done.status.success(), "{done:?}");
    let calls = std::fs::read_to_string(&log).expect("az was called");
    let made = calls.find("role definition create").expect("a role is made");
    let assigned = calls.find("role assignment create").expect("and assigned");
    assert!(made < assigned, "{calls}");
    assert!(calls.contains("\"AssignableScopes\"") && calls.contains("7c1f"), "{calls}");
    let unknown = run(&["role", "--config", config, "--site", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("the config has the sites west"), "{unknown:?}");
}
