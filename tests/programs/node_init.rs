//! `azslurm-conf node-init`: its user data on a VM of its own (namespaces, cloud-init's own code,
//! a real munged), against the emulator's metadata service and key vault. slurmctld and slurmd are
//! stand-ins here; the story in `tests/e2e/node_init.rs` has real ones.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use azslurm_test_cluster::{install_vm, vm_command};
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, assert_names, program, said};

/// The emulator's user-assigned identity.
const IDENTITY: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
    identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/azslurm";
const CLIENT: &str = "55555555-5555-5555-5555-555555555555";
/// 48 bytes, and their base64 with both of its odd letters.
const MUNGE_KEY: [u8; 48] = *b"~~~???>>>0123456789abcdefghijklmnopqrstuvwxyzABC";
const MUNGE_KEY_BASE64: &str = "fn5+Pz8/Pj4+MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6QUJD";
/// No step of a test's waits for longer.
const WAIT: &str = "wait_seconds = 10\n";

/// What stands for Slurm on the VM. slurmctld waits for the node, until slurmd runs.
const SLURM: &str = r#"cat >/usr/bin/scontrol <<'END'
#!/bin/sh
echo "$*" >>$DIR/scontrol
test "$(grep -c SlurmctldHost=localhost "$SLURM_CONF")" = 1 || exit 9
case "$*" in
ping) echo "Slurmctld(primary) at localhost is $(cat $DIR/slurmctld)" ;;
*'show node n1') echo "NodeName=n1 Arch=x86_64 State=$(cat $DIR/state) Weight=1" ;;
*update*) echo DOWN+CLOUD+POWERING_UP >$DIR/state ;;
esac
END
cat >/usr/sbin/slurmd <<'END'
#!/bin/sh
echo "$*" >>$DIR/slurmd
test ! -e $DIR/slurmd-fails || { echo "fatal: something"; exit 1; }
echo IDLE+CLOUD >$DIR/state
exec sleep 1000
END
cat >/usr/sbin/mount.nfs <<'END'
#!/bin/sh
test ! -e $DIR/mount-fails || { echo "mount.nfs: Connection refused for $1" >&2; exit 32; }
echo "$*" >>$DIR/mounts
exec mount -i -t tmpfs "$1" "$2"
END
chmod 755 /usr/bin/scontrol /usr/sbin/slurmd /usr/sbin/mount.nfs
"#;

struct Node {
    bench: Bench,
    node_init: String,
}

impl Node {
    /// With these lines of `[node_init]`, and tables behind them.
    fn new(node_init: &str) -> Node {
        let node = Node { bench: Bench::start(), node_init: node_init.to_owned() };
        install_vm(node.bench.dir.path()).unwrap();
        node.write("slurmctld", "UP");
        node.write("state", "ALLOCATED+CLOUD+POWERING_UP");
        node.vault(json!({"name": "munge", "value": MUNGE_KEY_BASE64, "readers": [CLIENT]}));
        node
    }

    /// Whose munge key is in the vault.
    fn with_vault(more: &str) -> Node {
        let node = Node::new("");
        let arm = &node.bench.emulator.endpoints().arm_https;
        let secret = format!("munge_key_secret = \"{arm}/secrets/munge\"\n");
        Node { node_init: format!("{secret}program = \"\"\n{WAIT}{more}"), ..node }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn vault(&self, secret: Value) {
        self.bench.emulator.post("/vault", &secret).unwrap();
    }

    /// The user data, as azslurm-resume would send it.
    fn user_data(&self) -> String {
        let config = self
            .bench
            .config(&format!("identities = [\"{IDENTITY}\"]\n[node_init]\n{}", self.node_init));
        self.bench
            .write_config(&config.replace("[slurm]\n", "[slurm]\ncontroller = \"localhost\"\n"));
        let output = node_init(&self.bench, &["n"]);
        said(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.replace("{node}", "n1").replace("{cluster}", "bench");
        text.replace("{controller}", "localhost")
    }

    /// Boots a VM, and runs `then` on it.
    fn boots(&self, before: &str, then: &str) -> Output {
        self.write("user-data", &self.user_data());
        let dir = self.bench.dir.path();
        let slurm = SLURM.replace("$DIR", &dir.display().to_string());
        let boot = format!("cloud-boot {}/user-data 2>&1; echo code=$?", dir.display());
        let script = format!("{slurm}{before}\n{boot}\n{then}\n");
        vm_command(dir, "n1", &script).unwrap().output().unwrap()
    }

    fn console(&self) -> String {
        self.read("vm/n1/console")
    }
}

fn node_init(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("azslurm-conf"));
    command.env_clear().env("AZSLURM_CONFIG", bench.config_path()).arg("node-init");
    command.args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).join("")
}

/// What `curl` and any job do: a connection to the metadata service, as this user.
const METADATA: &str = r#"
. "$1"
METADATA_ADDRESS=169.254.169.254 METADATA_PORT=80 WHY=
ip link set lo up && ip addr add 169.254.169.254/32 dev lo || exit 9
python3 -c '
import socket
server = socket.create_server(("169.254.169.254", 80))
open("ready", "w").close()
while True: server.accept()[0].close()
' &
server=$!
while [ ! -e ready ]; do sleep 0.05; done
asks() {
	setpriv --reuid "$1" --clear-groups bash -c 'exec 3<>/dev/tcp/169.254.169.254/80' 2>/dev/null
}
asks 65534 && echo "before: jobs may"
close_metadata || echo "$WHY"
close_metadata || echo "$WHY"
asks 0 && echo "root may"
asks 65534 || echo "jobs may not"
kill $server
"#;

#[test]
fn on_a_node_with_a_key_of_the_vault_no_job_gets_a_token_of_its_vm() {
    let step =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../slurm-conf/src/node_init/steps/key-secret.sh");
    for tool in ["nft", "iptables"] {
        if !["/usr/sbin", "/sbin"].iter().any(|dir| PathBuf::from(dir).join(tool).exists()) {
            println!("left out: {tool} is not here");
            continue;
        }
        // A network of its own. The other tool is hidden by a function that fails.
        let hide = if tool == "nft" { "" } else { "nft() { echo no nft; return 1; }\n" };
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "--fork", "--kill-child", "sh", "-c"]);
        command.arg(format!("{hide}{METADATA}")).args(["sh", step]).current_dir(dir.path());
        let told = text(&command.output().unwrap());
        assert_eq!(told, "before: jobs may\nroot may\njobs may not\n", "{tool}");
    }
}

const LOOK: &str = "stat -c '%U:%G %a' /etc/munge /etc/munge/munge.key; \
    base64 -w 0 /etc/munge/munge.key; echo; munge -n | unmunge | grep -c Success; \
    tail -n 1 /etc/hosts; stat -f -c %T /shared; ls -d /run/azslurm/*; cat /run/azslurm/slurmd.env";

#[test]
fn a_vm_gets_the_munge_key_of_the_vault_and_its_mounts_and_starts_slurmd_and_again_changes_nothing()
{
    let node = Node::with_vault(
        "hosts = [\"10.0.0.4 head\"]\n[mount.shared]\ntype = \"nfs\"\nsource = \"s:/v\"\n\
         path = \"/shared\"\n",
    );
    // As a Key Vault of another JSON writer would say it; and not at once.
    let escaped = MUNGE_KEY_BASE64.replace('+', "\\u002B");
    let body = format!("{{\"value\":\"{escaped}\"}}");
    let fault = |fault: Value| node.bench.emulator.add_fault(&fault).unwrap();
    fault(json!({"path_contains": "/metadata/identity", "status": 410}));
    fault(json!({"path_contains": "/secrets/munge", "status": 503}));
    fault(json!({"path_contains": "/secrets/munge", "status": 200, "body": body}));
    let again = format!(
        "{LOOK}; grep -c 'skuid != 0 reject' /run/nft\n\
         touch /mark; cp /run/units/slurmd.pid /was; sleep 0.01\n\
         /var/lib/cloud/scripts/per-boot/azslurm-node-init; echo again=$?\n\
         echo changed=$(find /etc /usr /var/lib -newer /mark -type f)\n\
         cmp /was /run/units/slurmd.pid && grep -c start /run/units/calls"
    );
    let output = node.boots("", &again);
    let told = text(&output);
    assert_names(&told, &["code=0", "munge:munge 700\nmunge:munge 400\n", MUNGE_KEY_BASE64]);
    assert_names(&told, &["\n1\n10.0.0.4 head\ntmpfs\n", "step 4, mounts: done"]);
    assert_names(
        &told,
        &["/run/azslurm/slurm.conf\n/run/azslurm/slurmd.env\nSLURMD_OPTIONS=--conf"],
    );
    assert_names(&told, &["localhost:6817\n1\n", "again=0\nchanged=\n3\n"]);
    assert_eq!(node.read("slurmd"), "-D -s -b --conf-server localhost:6817\n", "{told}");
    assert_eq!(node.read("mounts"), "s:/v /shared -o rw,noatime,vers=4.1,hard,nconnect=4\n");
    assert_names(&node.console(), &["node-init: begins", "node-init: the node is up"]);
    assert_eq!(MUNGE_KEY.len(), 48);
}

/// The failure that a boot ends with.
fn failure(node: &Node, before: &str) -> String {
    let began = Instant::now();
    let told = text(&node.boots(before, ""));
    assert!(told.contains("code=1"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(120), "every wait has its end: {told}");
    let line = told.lines().find(|line| line.contains("FAILED: ")).unwrap_or_default().to_owned();
    let console = node.console();
    let last = console.lines().last().unwrap_or_default();
    assert!(!line.is_empty() && last == line, "{line:?} {last:?}: {told}");
    assert_eq!(node.read("slurmd"), "", "slurmd is not started");
    line.split_once("FAILED: ").unwrap().1.to_owned()
}

#[test]
fn a_munge_key_that_cannot_be_had_ends_the_boot_at_once_with_the_vaults_words() {
    let node = Node::with_vault("");
    let short = json!({"name": "munge", "value": "c2hvcnQ="});
    for (secret, expected) in [
        (json!({"name": "munge"}), "munge: Key Vault answers 404 for https://"),
        (
            json!({"name": "munge", "value": "x", "readers": []}),
            "munge: Key Vault answers 403 for ",
        ),
        (json!({"name": "munge", "value": "!?"}), "munge: the secret is not base64: az keyvault"),
        (short, "munge: the munge key has 5 bytes, and munge takes 32 to 1024"),
    ] {
        node.vault(secret);
        let failure = failure(&node, "");
        assert!(failure.starts_with(expected), "{failure}");
    }
    let imds = json!({"error": "invalid_request", "error_description": "Identity not found"});
    let vault = json!({"error": {"code": "Unauthorized", "message": "AKV10022: Invalid"}});
    for (path, status, body, expected) in [
        ("/metadata/identity", 400, &imds, "has no token for this VM: Identity not found"),
        ("/secrets/munge", 401, &vault, "Key Vault answers 401 for https://"),
    ] {
        let fault = json!({"path_contains": path, "status": status, "body": body});
        node.bench.emulator.add_fault(&fault).unwrap();
        let failure = failure(&node, "");
        assert!(failure.starts_with("munge: ") && failure.contains(expected), "{failure}");
    }
    let nobody = failure(&node, "sed -i /^munge:/d /etc/passwd");
    assert_names(&nobody, &["munge: there is no user munge"]);
    assert_eq!(node.read("scontrol"), "", "without munge nobody can be told");
}

#[test]
fn a_step_that_fails_is_told_to_slurmctld_unless_a_person_has_closed_the_node() {
    let mount = "[mount.shared]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/shared\"\n";
    let node = Node::with_vault(mount);
    node.write("mount-fails", "");
    let why = "mounts: s:/v on /shared: mount.nfs: Connection refused for s:/v";
    assert_eq!(failure(&node, ""), why);
    let told = format!("update nodename=n1 state=down reason=azslurm: node-init: {why}\n");
    assert!(node.read("scontrol").ends_with(&told), "{}", node.read("scontrol"));
    for (state, is_told) in [
        ("MIXED+CLOUD+NOT_RESPONDING+POWERING_UP", true),
        ("IDLE+CLOUD+DRAIN+POWERING_UP", false),
        ("DOWN+CLOUD+POWERING_UP", false),
        ("IDLE+CLOUD", false),
    ] {
        node.write("state", state);
        node.write("scontrol", "");
        let failure = failure(&node, "rm /usr/sbin/mount.nfs");
        assert!(failure.starts_with("mounts: mount.nfs is missing in the image"), "{failure}");
        assert_eq!(node.read("scontrol").contains("update"), is_told, "{state}");
    }
}

#[test]
fn a_slurmd_that_ends_or_a_slurmctld_that_is_silent_is_told_within_the_time() {
    let node = Node::with_vault("");
    node.write("slurmctld", "DOWN");
    let failure_of = failure(&node, "");
    assert_names(&failure_of, &["slurmctld: no slurmctld answers at localhost:6817", "is DOWN"]);
    // A vault that is out of order for longer than a step waits.
    let fault = json!({"path_contains": "/secrets/munge", "status": 503, "times": 1000});
    node.bench.emulator.add_fault(&fault).unwrap();
    assert_names(&failure(&node, ""), &["munge: Key Vault answers 503 for https://"]);
    node.bench.emulator.clear_faults().unwrap();
    node.write("slurmctld", "UP");
    node.write("state", "ALLOCATED+CLOUD+POWERING_UP");
    node.write("slurmd-fails", "");
    let told = text(&node.boots("", ""));
    assert_names(&told, &["code=1", "FAILED: slurmd: slurmd has ended: fatal: something"]);
    let reason = "reason=azslurm: node-init: slurmd: slurmd has ended: fatal: something";
    assert_names(&node.read("scontrol"), &[reason]);
    let wrong = text(&node.boots("hostname other", ""));
    assert_names(&wrong, &["FAILED: hosts: this VM is called other, and its user data is for n1"]);
}

#[test]
fn a_key_on_a_mount_or_in_the_image_and_a_disk_of_the_vms_own_are_used() {
    let mut node = Node::new("");
    let mount = "[mount.shared]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/shared\"\n";
    node.node_init =
        format!("munge_key_file = \"/shared/munge.key\"\nprogram = \"\"\n{WAIT}{mount}");
    let dir = node.bench.dir.path().display().to_string();
    node.write("munge.key", std::str::from_utf8(&MUNGE_KEY).unwrap());
    fs::write(node.path("disk"), "").unwrap();
    fs::File::options().write(true).open(node.path("disk")).unwrap().set_len(64 << 20).unwrap();
    // The server has the key; Azure's own disk is a loop device, beside one in the network.
    let before = format!(
        "echo 'cp {dir}/munge.key /shared/' >/tmp/more; sed -i 's,^exec mount,mount,' \
         /usr/sbin/mount.nfs; cat /tmp/more >>/usr/sbin/mount.nfs\n\
         loop=$(losetup -f); losetup $loop {dir}/disk || exit 7\n\
         mount -t tmpfs tmpfs /sys/block\n\
         mkdir -p /sys/block/nvme0n1/device /sys/block/nvme1n1/device\n\
         echo 'MSFT NVMe Accelerator v1.0              ' >/sys/block/nvme0n1/device/model\n\
         echo 'Microsoft NVMe Direct Disk v2           ' >/sys/block/nvme1n1/device/model\n\
         cp -a $loop /dev/nvme1n1"
    );
    let look = "stat -c '%a' /scratch; findmnt -n -o SOURCE,FSTYPE,LABEL /scratch\n\
        touch /scratch/file\n\
        base64 -w 0 /etc/munge/munge.key; umount /scratch\n\
        /var/lib/cloud/scripts/per-boot/azslurm-node-init; echo again=$?; ls /scratch\n\
        umount /scratch; losetup -d $loop";
    let told = text(&node.boots(&before, look));
    assert_names(
        &told,
        &["code=0", "step 2, mounts: done", "step 3, munge: done", MUNGE_KEY_BASE64],
    );
    assert_names(&told, &["\n1777\n/dev/", " ext4 ", "azslurm-scr", "again=0\nfile\n"]);
    // What somebody has on such a disk stays.
    node.node_init = format!("program = \"\"\n{WAIT}");
    let taken = format!("{before}\nmkfs.ext4 -q -F -L theirs /dev/nvme1n1");
    let told = text(&node.boots(&taken, "losetup -d $loop"));
    assert_names(
        &told,
        &["FAILED: scratch: /dev/nvme1n1 holds ext4 already, and is not formatted"],
    );
    let key = "rm /etc/munge/munge.key";
    let told = text(&node.boots(key, ""));
    assert_names(&told, &["FAILED: munge: the image has no /etc/munge/munge.key"]);
}

#[test]
fn several_disks_of_the_vms_own_become_one_stripe() {
    let mut node = Node::new("");
    node.node_init = format!("program = \"\"\n{WAIT}");
    let dir = node.bench.dir.path().display().to_string();
    fs::File::create(node.path("disk")).unwrap().set_len(64 << 20).unwrap();
    // Loop devices make a disk; the kernel of a test's machine has no stripes.
    let before = format!(
        "loop=$(losetup -f); losetup $loop {dir}/disk || exit 7\nmount -t tmpfs tmpfs /sys/block\n\
         for n in 0 1 2; do cp -a $loop /dev/nvme${{n}}n1\n\
         mkdir -p /sys/block/nvme${{n}}n1/device\n\
         echo 'Microsoft NVMe Direct Disk' >/sys/block/nvme${{n}}n1/device/model; done\n\
         mkdir /sys/block/nvme0n1/nvme0n1p1\nprintf '%s\\n' '#!/bin/sh' 'echo $* >>{dir}/mdadm' \
         'test \"$1\" = --assemble || {{ mkdir -p /dev/md; cp -a '$loop' $2; }}' >/usr/sbin/mdadm\n\
         chmod 755 /usr/sbin/mdadm"
    );
    let look = "findmnt -n -o SOURCE /scratch; umount /scratch; losetup -d $loop";
    let told = text(&node.boots(&before, look));
    assert_names(&told, &["code=0", "/dev/md/azslurm-scratch"]);
    let stripe = "--create /dev/md/azslurm-scratch --run --level=0 --raid-devices=2 \
        /dev/nvme1n1 /dev/nvme2n1\n";
    assert_eq!(node.read("mdadm"), format!("--assemble --scan --quiet\n{stripe}"));
}

/// Makes a VM one of the other family: another shell as sh, other packages, other places, labels.
const ENTERPRISE: &str = r#"ln -sf bash /bin/sh
rm /usr/bin/dpkg-query /usr/bin/apt-get
cat >/usr/bin/rpm <<'END'
#!/bin/sh
test "$2" = munge || test -e /installed
END
cat >/usr/bin/dnf <<'END'
#!/bin/sh
echo "dnf $*" >>$DIR/other
test ! -e $DIR/no-packages || { echo "No match for argument: $4"; exit 1; }
touch /installed
END
cat >/usr/sbin/restorecon <<'END'
#!/bin/sh
echo "restorecon $*" >>$DIR/other
END
chmod 755 /usr/bin/rpm /usr/bin/dnf /usr/sbin/restorecon
printf '[Service]\nType=simple\nEnvironmentFile=-/etc/sysconfig/slurmd\n%s\n' \
    'ExecStart=/usr/sbin/slurmd -D -s $SLURMD_OPTIONS' >/lib/systemd/system/slurmd.service
mkdir -p /etc/sysconfig; echo 'SLURMD_OPTIONS="-M"' >/etc/sysconfig/slurmd"#;

#[test]
fn a_vm_of_the_other_family_of_distributions_does_the_same_with_its_own_means() {
    let node = Node::with_vault("packages = [\"munge\", \"nfs-utils\"]\n");
    let before = ENTERPRISE.replace("$DIR", &node.bench.dir.path().display().to_string());
    node.write("no-packages", "");
    let without = text(&node.boots(&before, ""));
    assert_names(&without, &["FAILED: packages: cannot install nfs-utils: No match for argument"]);
    fs::remove_file(node.path("no-packages")).unwrap();
    node.write("other", "");
    let told = text(&node.boots(&before, LOOK));
    assert_names(&told, &["code=0", "munge:munge 700\nmunge:munge 400\n", MUNGE_KEY_BASE64]);
    let other = "dnf -q -y install nfs-utils\nrestorecon -F /etc/munge/munge.key\n";
    assert_eq!(node.read("other"), other);
    assert_eq!(node.read("slurmd"), "-D -s -b --conf-server localhost:6817\n", "{told}");
}

/// The first file of a cloud-config of ours.
fn script_of(user_data: &str) -> String {
    let body = user_data.split_once("content: |\n").unwrap().1;
    let lines = body.lines().take_while(|line| !line.starts_with("- path"));
    lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

/// Configs that differ in every step that there is.
fn variants() -> Vec<(&'static str, String)> {
    let secret = "munge_key_secret = \"https://hpc.vault.azure.net/secrets/munge/0a\"\n";
    let mounts = "[mount.a]\ntype = \"nfs\"\nsource = \"s.file.core.windows.net:/s/a\"\n\
        path = \"/a/b\"\n[mount.b]\ntype = \"lustre\"\nsource = \"10.0.2.4@tcp:/fs\"\n\
        path = \"/a\"\n";
    let identities = format!("identities = [\"{IDENTITY}\"]\n");
    let infiniband = format!(
        "[nodeset.hb]\nnodes = \"hb-[01-40]\"\nsites = [\"west\"]\nsku = \"Standard_HB120rs_v3\"\n\
         interconnect = \"infiniband\"\nblock_nodes = 16\nssh_public_key = \"{KEY}\"\n\
         image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n{identities}"
    );
    vec![
        ("n", "[node_init]\nscratch = \"\"\nprogram = \"\"\n".to_owned()),
        ("n", format!("{identities}[node_init]\n{secret}packages = [\"munge\", \"nfs-utils\"]\n")),
        ("n", format!("[node_init]\nmunge_key_file = \"/a/b/key\"\n{mounts}")),
        (
            "hb",
            format!("{infiniband}[node_init]\n{secret}agent_options = \"--signal USR1\"\n{mounts}"),
        ),
        (
            "n",
            "[node_init]\nhosts = [\"10.0.0.4 h1\", \"10.0.0.5 h2\"]\n\
            conf_server = \"h1:6817,h2:6817\"\n"
                .to_owned(),
        ),
    ]
}

#[test]
fn every_variant_is_one_that_cloud_init_and_the_shell_check_take() {
    let bench = Bench::start();
    for (nodeset, more) in variants() {
        let config = bench.config(&more);
        bench.write_config(&config.replace("[slurm]\n", "[slurm]\ncontroller = \"head\"\n"));
        let file = bench.dir.path().join("user-data");
        said(&node_init(&bench, &[nodeset, "--out", file.to_str().unwrap()]), 0);
        let schema = ["schema", "--config-file", file.to_str().unwrap()];
        let told = text(&Command::new("cloud-init").args(schema).output().unwrap());
        assert!(told.contains("Valid cloud-config"), "{told}");
        let script = bench.dir.path().join("script");
        fs::write(&script, script_of(&fs::read_to_string(&file).unwrap())).unwrap();
        let check = Command::new("shellcheck").arg(&script).output().unwrap();
        assert!(check.status.success(), "{more}\n{}", text(&check));
    }
}
