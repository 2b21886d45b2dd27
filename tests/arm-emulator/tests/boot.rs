//! Boot commands of VMs, and the program itself: ready file, signals.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use azslurm_arm_emulator::Options;
use azslurm_arm_emulator::boot::BootOptions;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Setup, setup_with, until, vm_body};
use tempfile::TempDir;

/// Writes what it learned and waits; told to end it says so, and so does a child of its own.
const SCRIPT: &str = r#"#!/bin/sh
env | sort > "$0.$VM_NAME.env"
sleep 1000 &
echo "$!" > "$0.$VM_NAME.child"
echo "$$" > "$0.$VM_NAME.pid"
trap 'echo ended > "$0.$VM_NAME.ended"; exit 0' TERM
echo "running $VM_COMPUTER_NAME"
wait
"#;

fn script(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("boot");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn setup_booting(dir: &TempDir, text: &str) -> Setup {
    let program = script(dir, text);
    let boot = BootOptions { program, log_dir: Some(dir.path().join("logs")) };
    let mut options = Options { boot: Some(boot), ..Options::default() };
    options.config.delays.retry_after_s = None;
    options.config.throttle.enforce = false;
    setup_with(options)
}

fn beside(dir: &TempDir, vm: &str, what: &str) -> PathBuf {
    dir.path().join(format!("boot.{vm}.{what}"))
}

fn pid_in(path: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(path).ok()?;
    text.trim().parse().ok().map(Pid::from_raw)
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

async fn booted(dir: &TempDir, vm: &str) -> (Pid, Pid) {
    until("the boot command", || pid_in(&beside(dir, vm, "pid")).is_some()).await;
    let pid = |what: &str| pid_in(&beside(dir, vm, what)).unwrap();
    (pid("pid"), pid("child"))
}

#[tokio::test]
async fn a_running_vm_runs_its_command_until_it_is_deallocated() {
    let dir = TempDir::new().unwrap();
    let setup = setup_booting(&dir, SCRIPT);
    setup.put_vm("a").await;
    let (pid, child) = booted(&dir, "a").await;
    let env = std::fs::read_to_string(beside(&dir, "a", "env")).unwrap();
    for line in [
        "VM_NAME=a",
        "VM_COMPUTER_NAME=a",
        "VM_SIZE=Standard_D2s_v5",
        "VM_LOCATION=westeurope",
        "VM_RESOURCE_GROUP=hpc",
        "VM_TAGS={\"azslurm-node\":\"a\"}",
        "VM_USER_DATA=hello world",
        "VM_ADDRESS=10.0.0.4",
    ] {
        assert!(env.lines().any(|found| found == line), "{env} lacks {line}");
    }
    assert!(!env.contains("HOME="), "{env}");
    assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid);
    let log = dir.path().join("logs/a.log");
    until("output", || std::fs::read_to_string(&log).is_ok_and(|t| t == "running a\n")).await;

    let url = setup.vm("a").replace("/a?", "/a/deallocate?");
    let stopped = setup.send("POST", &url, None).await;
    assert_eq!(setup.end_of(&stopped).await["status"], "Succeeded");
    assert!(beside(&dir, "a", "ended").exists());
    assert!(!is_alive(pid));
    until("the end of its child", || !is_alive(child)).await;
    std::fs::remove_file(beside(&dir, "a", "pid")).unwrap();
    setup.send("POST", &url.replace("deallocate", "start"), None).await;
    booted(&dir, "a").await;
}

#[tokio::test]
async fn a_forced_deletion_kills_and_ends_after_the_command() {
    let dir = TempDir::new().unwrap();
    let setup = setup_booting(&dir, SCRIPT);
    setup.put_vm("a").await;
    let (pid, child) = booted(&dir, "a").await;
    let url = format!("{}&forceDeletion=true", setup.vm("a"));
    let deleted = setup.send("DELETE", &url, None).await;
    assert_eq!(setup.end_of(&deleted).await["status"], "Succeeded");
    assert!(!is_alive(pid));
    assert!(!beside(&dir, "a", "ended").exists());
    until("the end of its child", || !is_alive(child)).await;
    assert!(setup.emulator.alive("Microsoft.Network/networkInterfaces").is_empty());
}

#[tokio::test]
async fn a_command_that_will_not_end_is_killed() {
    let dir = TempDir::new().unwrap();
    let stubborn = SCRIPT.replace("exit 0' TERM", "' TERM").replace("\nwait\n", "\nwait\nwait\n");
    let setup = setup_booting(&dir, &stubborn);
    setup.put_vm("a").await;
    let (pid, _) = booted(&dir, "a").await;
    let deleted = setup.send("DELETE", &setup.vm("a"), None).await;
    assert_eq!(setup.end_of(&deleted).await["status"], "Succeeded");
    assert!(!is_alive(pid));
    assert!(beside(&dir, "a", "ended").exists());
}

#[tokio::test]
async fn a_withheld_or_dead_command_leaves_the_vm_running() {
    let dir = TempDir::new().unwrap();
    let setup = setup_booting(&dir, "#!/bin/sh\nexit 3\n");
    setup.control("/boot", &json!({"never": ["b"]}));
    for name in ["a", "b"] {
        let created = setup.put_vm(name).await;
        assert_eq!(setup.end_of(&created).await["status"], "Succeeded");
        let view = setup.get(&setup.vm(name).replace("?", "/instanceView?")).await;
        assert_eq!(view.body["statuses"][1]["code"], "PowerState/running");
    }
    let mut events = String::new();
    until("news of the end", || {
        events = setup.emulator.get("/resources", "").unwrap().to_string();
        events.contains("boot command ended: exit status: 3")
    })
    .await;
    assert!(events.contains("boot command withheld"), "{events}");
}

#[tokio::test]
async fn an_evicted_vm_loses_its_command_at_once() {
    let dir = TempDir::new().unwrap();
    let setup = setup_booting(&dir, SCRIPT);
    let mut body = vm_body("a");
    body["properties"]["priority"] = json!("Spot");
    body["properties"]["evictionPolicy"] = json!("Delete");
    setup.send("PUT", &setup.vm("a"), Some(&body)).await;
    let (pid, _) = booted(&dir, "a").await;
    setup.control("/evict", &json!({"vm": "a"}));
    until("the end", || setup.emulator.alive("Microsoft.Compute/virtualMachines").is_empty()).await;
    assert!(!is_alive(pid));
    assert!(!beside(&dir, "a", "ended").exists());
}

/// A configuration with each kind of member.
const CONFIG: &str = r#"
seed = 7
groups = [{name = "hpc", location = "West Europe"}, {name = "net", location = "westeurope"}]
capacity = [{region = "*", sku = "Standard_D4s_v5", vms = 0}]
quota = [{region = "westeurope", name = "cores", limit = 1000}]
[[vnets]]
group = "net"
name = "vnet"
prefix = "10.0.0.0/16"
subnets = {compute = "10.0.0.0/24"}
[delays]
preset = "quick"
retry_after_s = false
vm_create_ms = {p50 = 100, p90 = 200}
[habits]
page_size = 10
"#;

/// The program, ended when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn program(dir: &TempDir, boot: &Path) -> (Program, Value) {
    let (ready, config) = (dir.path().join("ready.json"), dir.path().join("emulator.toml"));
    std::fs::write(&config, CONFIG).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_azslurm-arm-emulator"))
        .args(["--any-token", "--die-with-parent", "--time-scale", "2", "--config"])
        .arg(&config)
        .arg("--ready-file")
        .arg(&ready)
        .arg("--ca-file")
        .arg(dir.path().join("ca.pem"))
        .arg("--boot")
        .arg(boot)
        .spawn()
        .unwrap();
    let child = Program(child);
    until("the ready file", || ready.exists()).await;
    let urls = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    (child, urls)
}

#[tokio::test]
async fn the_program_says_where_it_serves_and_ends_with_its_commands() {
    let dir = TempDir::new().unwrap();
    let boot = script(&dir, SCRIPT);
    let (mut program, urls) = program(&dir, &boot).await;
    for name in ["arm_http", "arm_https", "authority", "imds", "resource_graph", "control"] {
        assert!(urls[name].as_str().unwrap().starts_with("http"), "{urls}");
    }
    assert_eq!(urls["pid"], program.0.id());
    let ca = std::fs::read_to_string(dir.path().join("ca.pem")).unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
    let other = setup_with(Options::default());
    let url =
        other.vm("a").replace(&other.emulator.urls().arm_http, urls["arm_http"].as_str().unwrap());
    assert_eq!(other.send("PUT", &url, Some(&vm_body("a"))).await.status, 201);
    let (pid, _) = booted(&dir, "a").await;
    let id = Pid::from_raw(i32::try_from(program.0.id()).unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    let status = program.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!is_alive(pid));
    assert!(beside(&dir, "a", "ended").exists());
}

#[tokio::test]
async fn the_control_interface_can_end_the_program() {
    let dir = TempDir::new().unwrap();
    let (mut program, urls) = program(&dir, Path::new("/bin/true")).await;
    let url = format!("{}/shutdown", urls["control"].as_str().unwrap());
    let other = setup_with(Options::default());
    assert_eq!(other.send("POST", &url, None).await.status, 200);
    assert!(program.0.wait().unwrap().success());
}
