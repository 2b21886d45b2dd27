//! Names to addresses, without the C library: a name service aborts a static binary. It reads
//! `/etc/hosts` and `/etc/resolv.conf` and nothing else; where there is no name server it fails,
//! and never asks a stranger's.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Hosts, TokioResolver, system_conf::parse_resolv_conf};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

type Anything = Box<dyn Error + Send + Sync>;

/// The resolver of all our connections. Literal addresses never come here.
#[derive(Clone)]
pub struct Dns {
    files: Arc<Files>,
}

struct Files {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    current: Mutex<Option<Current>>,
}

/// The resolver with the age of the files that it was made of: a daemon outlives a change of name
/// servers.
struct Current {
    changed_at: [Option<SystemTime>; 2],
    resolver: TokioResolver,
}

impl Default for Dns {
    fn default() -> Self {
        Dns::of("/etc/resolv.conf".into(), "/etc/hosts".into())
    }
}

impl Dns {
    fn of(resolv_conf: PathBuf, hosts: PathBuf) -> Dns {
        Dns { files: Arc::new(Files { resolv_conf, hosts, current: Mutex::new(None) }) }
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Anything> {
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // hickory asks hosts only after it has a name server; ours must work without one.
        if let Some(found) = in_hosts(&self.files.hosts, name) {
            return Ok(found);
        }
        let resolver = self.files.resolver()?;
        let found = resolver.lookup_ip(name).await?;
        Ok(found.iter().collect())
    }
}

impl Resolve for Dns {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.clone();
        Box::pin(async move {
            let found = dns.lookup(name.as_str()).await?;
            if found.is_empty() {
                return Err(format!("{} has no address", name.as_str()).into());
            }
            let addresses: Addrs =
                Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl Files {
    fn resolver(&self) -> Result<TokioResolver, Anything> {
        let changed_at = [&self.resolv_conf, &self.hosts].map(|path| changed_at(path));
        let mut current = self.current.lock().expect("nothing panics while it holds this lock");
        if let Some(current) = current.as_ref().filter(|current| current.changed_at == changed_at) {
            return Ok(current.resolver.clone());
        }
        let resolver = self.read()?;
        *current = Some(Current { changed_at, resolver: resolver.clone() });
        Ok(resolver)
    }

    fn read(&self) -> Result<TokioResolver, Anything> {
        let shown = self.resolv_conf.display();
        let text = fs::read(&self.resolv_conf)
            .map_err(|error| format!("no name server: cannot read {shown}: {error}"))?;
        let (config, options) =
            parse_resolv_conf(text).map_err(|error| format!("no name server: {shown}: {error}"))?;
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut resolver = builder.build()?;
        resolver.set_hosts(Arc::new(Hosts::default()));
        Ok(resolver)
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// RFC 6761: localhost and all below it are this machine, whatever a file says.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

/// The addresses of a name in a hosts file; `None` if it is not there or there is no file.
fn in_hosts(path: &Path, name: &str) -> Option<Vec<IpAddr>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot read the hosts file");
            }
            return None;
        }
    };
    let name = name.trim_end_matches('.');
    let found: Vec<IpAddr> = text.lines().filter_map(|line| address_of(line, name)).collect();
    (!found.is_empty()).then_some(found)
}

fn address_of(line: &str, name: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let address = words.next()?.parse().ok()?;
    words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(directory: &Path) -> Dns {
        Dns::of(directory.join("resolv.conf"), directory.join("hosts"))
    }

    #[tokio::test]
    async fn localhost_works_without_any_file() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["localhost", "LocalHost", "a.localhost", "localhost."] {
            let found = dns(directory.path()).lookup(name).await.unwrap();
            assert!(found.contains(&Ipv4Addr::LOCALHOST.into()), "{name}");
        }
        assert!(dns(directory.path()).lookup("localhost.example").await.is_err());
    }

    #[tokio::test]
    async fn a_name_in_the_hosts_file_needs_no_name_server() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(
            directory.path().join("hosts"),
            "# comment\n10.0.0.9 other\n10.1.2.3\tArm.example arm # alias\n\
             ::5 arm.example\nbad arm.example\n",
        )
        .unwrap();
        let found = dns(directory.path()).lookup("arm.EXAMPLE").await.unwrap();
        assert_eq!(found, ["10.1.2.3".parse::<IpAddr>().unwrap(), "::5".parse().unwrap()]);
    }

    #[tokio::test]
    async fn without_a_name_server_a_lookup_fails_and_asks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let error = dns(directory.path()).lookup("management.azure.com").await.unwrap_err();
        assert!(error.to_string().contains("no name server"), "{error}");
        fs::write(directory.path().join("resolv.conf"), "search example\n").unwrap();
        let error = dns(directory.path()).lookup("management.azure.com").await.unwrap_err();
        assert!(error.to_string().contains("no name server"), "{error}");
    }

    #[tokio::test]
    async fn a_change_of_name_servers_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let dns = dns(directory.path());
        assert!(dns.files.resolver().is_err());
        fs::write(directory.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        assert!(dns.files.resolver().is_ok());
        fs::remove_file(directory.path().join("resolv.conf")).unwrap();
        assert!(dns.files.resolver().is_err());
    }
}
