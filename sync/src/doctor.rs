//! `azslurm-sync doctor`: sees what an installation needs, one thing after the other, and says what
//! is to be done. Whatever is broken costs its own finding, and no other. What a finding is the
//! checks of `azslurm_program::check` decide.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_azure::Arm;
use azslurm_core::config::{self, Config};
use azslurm_core::{NodeName, SiteName};
use azslurm_ledger::Ledger;
use azslurm_program::check::settings::Settings;
use azslurm_program::check::slurm_conf::{self, ProgramSeen};
use azslurm_program::check::{Finding, Level, azure, clock, host, ledger, nodes, passes};
use azslurm_program::exit::chain_of;
use azslurm_program::{Clients, Loaded, Session, config_file, now, patiently};
use azslurm_slurm::{Slurm, SlurmError};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::daemon::acts;
use crate::sources::LastPass;

/// slurmctld answers within this, or it does not answer.
const SLURM_MAX: Duration = Duration::from_secs(20);
/// Azure too, token and all: IMDS may need some seconds after a boot.
const AZURE_MAX: Duration = Duration::from_secs(30);
/// The roles that the README asks for.
const ROLE_GROUP: &str = "Virtual Machine Contributor (or Reader)";
const ROLE_SUBNET: &str = "Network Contributor (or one with subnets/join/action and read)";

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doctor {
    /// When, RFC 3339.
    pub at: String,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Doctor {
    /// Whether nothing is to be done.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Warning)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().flat_map(Finding::lines).collect();
        let count = |level| self.findings.iter().filter(|one| one.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        lines.push(match (errors, warnings) {
            (0, 0) => "all is as it should be".to_owned(),
            (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
        });
        lines.join("\n")
    }
}

/// Checks everything.
pub async fn doctor(flag: Option<&Path>) -> Doctor {
    let at = now().to_string();
    let loaded = config_file::load(flag);
    let mut findings = vec![host::config(&loaded)];
    let config = loaded.ok().map(|Loaded { config, .. }| config);
    let file = config.as_ref().and_then(|config| config.log.file.as_deref());
    let file = file.map(|file| (file, host::takes_lines(file)));
    findings.push(host::log(host::has_journal(), file));
    let slurm_user = of_slurm(config.as_ref(), &mut findings).await;
    findings.push(host::user(nix::unistd::geteuid().as_raw(), slurm_user));
    if let Some(config) = &config {
        findings.extend(of_ledger(config, slurm_user));
        of_azure(config, &mut findings).await;
    }
    Doctor { at, findings }
}

/// slurmctld and its settings; SlurmUser's number.
async fn of_slurm(config: Option<&Config>, findings: &mut Vec<Finding>) -> Option<u32> {
    let standard = config::Slurm::default();
    let ours = config.map_or(&standard, |config| &config.slurm);
    let slurm = Slurm::new(ours);
    let begun = Instant::now();
    let settings = within(SLURM_MAX, "asking slurmctld for its settings", slurm.config()).await;
    let settings = settings.map(Settings::from);
    findings.push(host::slurmctld(&settings, begun.elapsed()));
    let settings = settings.ok()?;
    let resume_timeout = config.map(|config| config.slurm.resume_timeout);
    findings.extend(slurm_conf::check(&settings, resume_timeout, ProgramSeen::look));
    if let Some(config) = config {
        match within(SLURM_MAX, "asking slurmctld for its nodes", slurm.nodes()).await {
            Ok(known) => findings.extend(nodes::check(config, &nodes::known(&known))),
            Err(error) => findings.push(host::slurmctld(&Err(error), begun.elapsed())),
        }
    }
    settings.slurm_user()
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, SlurmError>>,
) -> Result<T, SlurmError> {
    match timeout(limit, patiently(what, work)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(SlurmError::TimedOut { command: what.to_owned(), limit }),
    }
}

fn of_ledger(config: &Config, slurm_user: Option<u32>) -> Vec<Finding> {
    let path = &config.ledger.path;
    let mut findings = ledger::place(&ledger::LedgerSeen::look(path), slurm_user);
    let opened = Ledger::open_existing(path);
    findings.extend(ledger::contents(&opened));
    if let Ok(ledger) = opened {
        findings.extend(of_passes(config, ledger));
    }
    findings
}

fn of_passes(config: &Config, ledger: Ledger) -> Vec<Finding> {
    let last = LastPass::read(&ledger).ok().flatten();
    let mut findings = vec![passes::check(last.map(|last| now().since(last.ended_at)))];
    let session = Session::of(config.clone(), PathBuf::new(), ledger);
    if let Ok(Some(row)) = session.ledger.daemon() {
        let who = format!("{} on {}", row.holder, row.host);
        findings.push(passes::daemon(&who, acts(&session, &row)));
    }
    findings
}

async fn of_azure(config: &Config, findings: &mut Vec<Finding>) {
    let clients = match Clients::new(config) {
        Ok(clients) => clients,
        Err(error) => {
            let fix = "correct [cloud], or install what is missing";
            findings.push(Finding::error("azure", chain_of(&error), fix));
            return;
        }
    };
    for (_, arm, sites) in clients.doors() {
        let deadline = Instant::now() + AZURE_MAX;
        let names: Vec<&str> = sites.iter().map(|site| site.as_str()).collect();
        let names = names.join(", ");
        let who = sites.first().and_then(|site| config.sites.get(*site));
        let who = who.map(|site| azure::identity(&site.credential)).unwrap_or_default();
        let what = format!("asking for a token for {names}");
        let had = patiently(&what, arm.token(deadline)).await;
        findings.push(azure::token(&names, &who, &had));
        // Without a token each further question would only fail for the same reason.
        if had.is_ok() {
            let what = format!("asking Azure for {names}");
            let asked = patiently(&what, of_sites(config, (arm, &sites), findings));
            let asked = timeout_at(deadline, asked);
            if asked.await.is_err() {
                let text = format!("no answer for {names} within {} s", AZURE_MAX.as_secs());
                let fix = "look whether Resource Manager can be reached from this machine";
                findings.push(Finding::error("azure", text, fix));
            }
        }
    }
}

async fn of_sites(
    config: &Config,
    (arm, sites): (&Arm, &[&SiteName]),
    findings: &mut Vec<Finding>,
) {
    let mut is_clock_seen = false;
    for name in sites {
        let Some(site) = config.sites.get(*name) else { continue };
        let group = arm.probe_group(site).await;
        let what = format!("resource group {}", site.resource_group);
        let wanted = azure::Wanted { site: name, what: &what, role: ROLE_GROUP };
        findings.push(azure::thing(wanted, &group));
        let Ok(group) = group else { continue };
        if let Some(date) = group.date.filter(|_| !is_clock_seen) {
            findings.push(clock::check(now(), date));
            is_clock_seen = true;
        }
        let what = format!("subnet {}", site.subnet);
        let wanted = azure::Wanted { site: name, what: &what, role: ROLE_SUBNET };
        findings.push(azure::thing(wanted, &arm.probe_subnet(site).await));
    }
    let subscriptions: Vec<String> = sites
        .iter()
        .filter_map(|name| config.sites.get(*name).map(|site| site.subscription.clone()))
        .collect();
    let names: Vec<&str> = sites.iter().map(|site| site.as_str()).collect();
    // One node is enough to see whether it answers.
    let node: Vec<NodeName> =
        config.nodesets.values().filter_map(|set| set.nodes.first().cloned()).take(1).collect();
    let why_not = match arm.query_vms(&subscriptions, &config.cluster, Some(&node)).await {
        Ok(listing) => listing.incomplete_because,
        Err(error) => Some(chain_of(&error)),
    };
    findings.push(azure::graph(&names.join(", "), why_not.as_deref()));
}
