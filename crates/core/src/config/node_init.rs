//! `[node_init]` and `[mount.NAME]`: what a compute node does between its boot and slurmd. Read by
//! `azslurm-conf node-init` alone, which writes it into the VMs' user data: so every text here is
//! one that a shell takes without quotes, and none is a secret.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Section, Text};
use super::{checks, keys};
use crate::NodesetName;

/// A wait that is longer than this is no wait but a hang: VMs are paid for meanwhile.
const WAIT_SECONDS: RangeInclusive<u64> = 10..=3_600;
/// Key Vault's own limit on the name of a secret.
const SECRET_NAME_LENGTH_MAX: usize = 127;
/// Where the units of packaging/ start it.
const PROGRAM: &str = "/usr/sbin/azslurm-sync";
const SCRATCH: &str = "/scratch";

/// `[node_init]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInit {
    /// `munge_key_secret` or `munge_key_file`. Default: the image has the key.
    pub munge_key: MungeKey,
    /// `hosts`: lines for `/etc/hosts`, where there is no DNS. Default none.
    pub hosts: Vec<String>,
    /// `conf_server`: for `slurmd --conf-server`. Default: `[slurm] controller` at Slurm's port.
    pub conf_server: Option<String>,
    /// `scratch`: where the VM's own NVMe disks are mounted; `None` (in the config: empty): they
    /// are left alone. Default `/scratch`.
    pub scratch: Option<PathBuf>,
    /// `packages`: installed where they are missing. Default none: the image has all.
    pub packages: Vec<String>,
    /// `program`: azslurm-sync on the node, for its agent and the InfiniBand check; `None` (in the
    /// config: empty): no agent. Default `/usr/sbin/azslurm-sync`.
    pub program: Option<PathBuf>,
    /// `agent_options`: further words for `azslurm-sync node-agent`. Default none.
    pub agent_options: String,
    /// `wait_seconds`: how long each step waits at most for what is not there yet. Default 300.
    pub wait: Duration,
}

/// Where a node gets the cluster's munge key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MungeKey {
    /// It is in the image.
    Image,
    /// A secret of Key Vault: the key in base64.
    Secret(VaultSecret),
    /// A file on one of the mounts.
    File(PathBuf),
}

/// `https://VAULT.vault.azure.net/secrets/NAME`, with a version or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSecret {
    /// The whole of it.
    pub url: String,
    /// What a token for it is asked for: `https://vault.azure.net`, or that of another cloud.
    pub audience: String,
}

/// `[mount.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type`.
    pub kind: MountKind,
    /// `source`: `server:/path`, or `address@tcp:/name`.
    pub source: String,
    /// `path`: where it is mounted.
    pub path: PathBuf,
    /// `options`. Default: see [`MountKind::options`].
    pub options: String,
    /// `nodesets`: whose nodes mount it; empty: all.
    pub nodesets: Vec<NodesetName>,
}

/// `type` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Azure Files over NFS, Azure NetApp Files, or any other NFS server.
    Nfs,
    /// Azure Managed Lustre, or any other Lustre.
    Lustre,
}

impl MountKind {
    /// The word in the config and for `mount -t`.
    pub fn word(self) -> &'static str {
        match self {
            MountKind::Nfs => "nfs",
            MountKind::Lustre => "lustre",
        }
    }

    /// The options where the config names none. NFS: Azure Files has 4.1 alone; a server that is
    /// away for a moment must not fail a job's writes; one connection is one network flow of
    /// Azure's. Lustre: as Azure Managed Lustre's guide has it; `flock` is for MPI-IO.
    pub fn options(self) -> &'static str {
        match self {
            MountKind::Nfs => "vers=4.1,hard,nconnect=4,noatime",
            MountKind::Lustre => "noatime,flock",
        }
    }
}

impl Mount {
    /// Whether the nodes of a nodeset mount it.
    pub fn is_of(&self, nodeset: &NodesetName) -> bool {
        self.nodesets.is_empty() || self.nodesets.contains(nodeset)
    }
}

pub(super) fn node_init(section: &Section<'_>) -> Option<NodeInit> {
    let hosts = section.list("hosts", host_line);
    let packages = section.list("packages", package);
    let scratch = path_or_none(section, "scratch", SCRATCH);
    let program = path_or_none(section, "program", PROGRAM);
    let agent_options = section.checked("agent_options", options_line).unwrap_or_default();
    let conf_server = section.checked("conf_server", conf_server);
    Some(NodeInit {
        munge_key: munge_key(section)?,
        hosts: hosts?,
        conf_server,
        scratch,
        packages: packages?,
        program,
        agent_options,
        wait: section.seconds("wait_seconds", 300, WAIT_SECONDS),
    })
}

fn munge_key(section: &Section<'_>) -> Option<MungeKey> {
    if section.has("munge_key_secret") && section.has("munge_key_file") {
        section.fault("munge_key_file", "goes not together with munge_key_secret: keep one");
        return None;
    }
    if section.has("munge_key_secret") {
        return section.checked("munge_key_secret", vault_secret).map(MungeKey::Secret);
    }
    if section.has("munge_key_file") {
        return section.checked("munge_key_file", shell_path).map(MungeKey::File);
    }
    Some(MungeKey::Image)
}

/// All mounts; `None` when something is wrong with one of them.
pub(super) fn mounts(root: &Section<'_>) -> Option<BTreeMap<String, Mount>> {
    let nodesets = root.names_in("nodeset");
    let tables = root.named_tables("mount");
    let mut mounts: BTreeMap<String, Mount> = BTreeMap::new();
    for (name, table) in &tables {
        let is_named = is_name(root, name);
        let Some(mount) = mount(table, &nodesets) else { continue };
        if let Some((other, _)) = mounts.iter().find(|(_, other)| are_at_one_place(other, &mount)) {
            table.fault("path", format!("is that of [mount.{other}] too, on the same nodes"));
        }
        if is_named {
            mounts.insert(name.value.to_owned(), mount);
        }
    }
    (mounts.len() == tables.len()).then_some(mounts)
}

fn is_name(root: &Section<'_>, name: &Text<'_>) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_good = !name.value.is_empty() && name.value.bytes().all(allowed);
    if !is_good {
        let problem = format!("{:?} is not a mount's name: letters, digits, '-', '_'", name.value);
        root.fault_at(&name.place, problem);
    }
    is_good
}

fn are_at_one_place(one: &Mount, other: &Mount) -> bool {
    let on_all = one.nodesets.is_empty() || other.nodesets.is_empty();
    let shares = on_all || one.nodesets.iter().any(|nodeset| other.nodesets.contains(nodeset));
    one.path == other.path && shares
}

fn mount(table: &Section<'_>, nodesets: &[&str]) -> Option<Mount> {
    let kinds = [MountKind::Nfs, MountKind::Lustre].map(|kind| (kind.word(), kind));
    let kind = table.needed_choice("type", &kinds);
    let source = table.needed("source", |text| match kind {
        Some(kind) => mount_source(kind, text),
        None => Ok(text.to_owned()),
    });
    let path = table.needed("path", mount_path);
    let options = table.checked("options", mount_options);
    let nodesets = table.list("nodesets", |text| nodeset_name(text, nodesets));
    let kind = kind?;
    Some(Mount {
        kind,
        source: source?,
        path: path?,
        options: options.unwrap_or_else(|| kind.options().to_owned()),
        nodesets: nodesets?,
    })
}

fn nodeset_name(text: &str, nodesets: &[&str]) -> Result<NodesetName, String> {
    if nodesets.contains(&text) {
        return text.parse().map_err(super::service::rule);
    }
    Err(match keys::nearest(text, nodesets.iter().copied()) {
        Some(meant) => format!("is not a nodeset: did you mean {meant:?}?"),
        None => format!("is not a nodeset: there are {}", nodesets.join(", ")),
    })
}

/// Letters, digits and these: nothing that a shell or YAML reads as anything else.
fn is_plain(text: &str, others: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn shell_path(text: &str) -> Result<PathBuf, String> {
    let is_absolute = text.starts_with('/') && !text.contains("//");
    let has_steps = text.split('/').any(|part| part == "." || part == "..");
    if is_absolute && is_plain(text, "/._-") && !has_steps {
        Ok(PathBuf::from(text))
    } else {
        Err("is not a path that a node can use: begin it with '/'; letters, digits, '.', '_', \
             '-' between the '/'"
            .to_owned())
    }
}

/// An absent key is the default, an empty text is none.
fn path_or_none(section: &Section<'_>, key: &str, default: &str) -> Option<PathBuf> {
    let check = |text: &str| match text {
        "" => Ok(None),
        "/" => Err("is the root of all files: name a folder, or \"\" for none".to_owned()),
        path => shell_path(path).map(Some),
    };
    section.checked(key, check).unwrap_or_else(|| Some(PathBuf::from(default)))
}

fn mount_path(text: &str) -> Result<PathBuf, String> {
    let path = shell_path(text)?;
    let system = ["/", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys"];
    let is_of_system = system.iter().any(|folder| path == PathBuf::from(folder));
    if is_of_system || text.ends_with('/') || text.starts_with("/run/") {
        return Err("cannot be mounted on: name a folder of its own, such as /shared".to_owned());
    }
    Ok(path)
}

fn mount_source(kind: MountKind, text: &str) -> Result<String, String> {
    let parts = text.split_once(":/").filter(|(server, _)| !server.is_empty());
    let is_good = match (kind, parts) {
        (_, None) => false,
        (MountKind::Nfs, Some((server, path))) => {
            is_plain(server, ".-") && (path.is_empty() || is_plain(path, "/._-"))
        }
        (MountKind::Lustre, Some((servers, name))) => {
            servers.contains('@') && is_plain(servers, ".@:,-") && is_plain(name, "/._-")
        }
    };
    if is_good {
        return Ok(text.to_owned());
    }
    Err(match kind {
        MountKind::Nfs => "is not an NFS source: server:/path, such as \
                           storage.file.core.windows.net:/storage/shared"
            .to_owned(),
        MountKind::Lustre => {
            "is not a Lustre source: address@tcp:/name, such as 10.0.2.4@tcp:/lustrefs".to_owned()
        }
    })
}

fn mount_options(text: &str) -> Result<String, String> {
    if is_plain(text, "=,._:/-") {
        Ok(text.to_owned())
    } else {
        Err("are not mount options: words and word=value with ',' between them, without blanks"
            .to_owned())
    }
}

/// `10.0.0.4 head-1 head-1.hpc.example`
fn host_line(text: &str) -> Result<String, String> {
    let mut words = text.split(' ');
    let is_address =
        words.next().is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok());
    let names: Vec<&str> = words.collect();
    if is_address && !names.is_empty() && names.iter().all(|name| is_plain(name, ".-")) {
        Ok(text.to_owned())
    } else {
        Err("is not a line for /etc/hosts: an address and its names, such as \"10.0.0.4 head\""
            .to_owned())
    }
}

fn package(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins && is_plain(text, "+._-:") {
        true => Ok(text.to_owned()),
        false => Err("is not a package's name: letters, digits, '+', '.', '_', '-'".to_owned()),
    }
}

fn options_line(text: &str) -> Result<String, String> {
    match text.is_empty() || is_plain(text, " ,.:/=@_-") {
        true => Ok(text.to_owned()),
        false => Err("holds what a unit's environment cannot: plain words with blanks between \
                      them, such as \"--signal USR1 --acknowledge\""
            .to_owned()),
    }
}

/// `head-1:6817,head-2:6817`
fn conf_server(text: &str) -> Result<String, String> {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_server = |server: &str| match server.split_once(':') {
        Some((name, port)) => is_plain(name, ".-") && is_port(port),
        None => is_plain(server, ".-"),
    };
    if text.split(',').all(is_server) {
        Ok(text.to_owned())
    } else {
        Err("is not a list of slurmctlds: name:port, such as \"head-1:6817,head-2:6817\""
            .to_owned())
    }
}

/// The audience is the vault's host without the vault's name; a vault that has only an address (a
/// test) takes that of Azure itself.
fn vault_secret(text: &str) -> Result<VaultSecret, String> {
    let pattern = || "is not a secret of Key Vault: https://VAULT.vault.azure.net/secrets/NAME";
    let (base, name) = text.split_once("/secrets/").ok_or_else(pattern)?;
    let base = checks::endpoint(base).map_err(|_| pattern())?;
    let host = base.strip_prefix("https://").ok_or_else(pattern)?;
    let (name, version) = name.split_once('/').unwrap_or((name, "0"));
    let is_good = is_plain(name, "-") && name.len() <= SECRET_NAME_LENGTH_MAX;
    if !is_good || !is_plain(version, "") {
        return Err(pattern().to_owned());
    }
    let is_local = host.starts_with("localhost") || host.starts_with(|c: char| c.is_ascii_digit());
    let suffix = match host.split_once('.') {
        Some((_, suffix)) if !is_local => suffix,
        Some(_) | None => "vault.azure.net",
    };
    Ok(VaultSecret { url: text.to_owned(), audience: format!("https://{suffix}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_token_is_for_the_vaults_of_its_cloud() {
        let audience = |url: &str| vault_secret(url).map(|secret| secret.audience);
        for (url, expected) in [
            ("https://hpc.vault.azure.net/secrets/munge-key", "https://vault.azure.net"),
            ("https://hpc.vault.azure.cn/secrets/munge/0a1b", "https://vault.azure.cn"),
            ("https://127.0.0.1:4443/secrets/munge", "https://vault.azure.net"),
        ] {
            assert_eq!(audience(url).unwrap(), expected);
        }
        for bad in [
            "http://hpc.vault.azure.net/secrets/munge",
            "https://hpc.vault.azure.net/keys/munge",
            "https://hpc.vault.azure.net/secrets/",
            "https://hpc.vault.azure.net/secrets/a/b/c",
            "https://hpc.vault.azure.net/x/secrets/a",
            "https://hpc.vault.azure.net/secrets/a'b",
        ] {
            assert!(vault_secret(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_gets_into_the_script_that_a_shell_would_read() {
        for bad in ["/a b", "/a;b", "/$x", "a", "/a/../b", "/a'b", "//a", "/a\nb", ""] {
            assert!(shell_path(bad).is_err(), "{bad}");
            assert!(mount_path(bad).is_err(), "{bad}");
        }
        for bad in ["a$b", "`x`", "a'b", "a\"b", "a;b", "a\nb", "a|b"] {
            assert!(package(bad).is_err() && options_line(bad).is_err(), "{bad}");
            assert!(mount_options(bad).is_err() && conf_server(bad).is_err(), "{bad}");
            assert!(host_line(&format!("10.0.0.1 {bad}")).is_err(), "{bad}");
            for kind in [MountKind::Nfs, MountKind::Lustre] {
                assert!(mount_source(kind, &format!("1@tcp:/{bad}")).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn sources_hosts_and_servers_are_read_as_people_write_them() {
        for (kind, good) in [
            (MountKind::Nfs, "s.file.core.windows.net:/s/shared"),
            (MountKind::Nfs, "10.0.1.4:/vol-1"),
            (MountKind::Nfs, "server:/"),
            (MountKind::Lustre, "10.0.2.4@tcp:/lustrefs"),
            (MountKind::Lustre, "10.0.2.4@tcp:10.0.2.5@tcp:/lustrefs/data"),
        ] {
            assert_eq!(mount_source(kind, good), Ok(good.to_owned()));
        }
        assert!(mount_source(MountKind::Lustre, "10.0.2.4:/lustrefs").is_err());
        assert!(host_line("10.0.0.4 head head.hpc.example").is_ok());
        assert!(host_line("head 10.0.0.4").is_err() && host_line("10.0.0.4").is_err());
        assert!(conf_server("head-1:6817,head-2").is_ok() && conf_server("head:").is_err());
    }
}
