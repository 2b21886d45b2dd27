//! What Azure answers to whoever asks for what a site needs.

use azslurm_azure::{AzureError, Probe, Refusal};
use azslurm_core::SiteName;
use azslurm_core::config::{Credential, ManagedIdentity};

use super::Finding;
use crate::exit::chain_of;

const CHECK: &str = "azure";

/// The identity of a credential, for people.
pub fn identity(credential: &Credential) -> String {
    match credential {
        Credential::ManagedIdentity(ManagedIdentity::System) => {
            "the system-assigned managed identity of this machine".to_owned()
        }
        Credential::ManagedIdentity(
            ManagedIdentity::ClientId(id)
            | ManagedIdentity::ObjectId(id)
            | ManagedIdentity::ResourceId(id),
        ) => format!("managed identity {id}"),
        Credential::ClientSecret { client, .. } => format!("application {client} by its secret"),
        Credential::ClientCertificate { client, .. } => {
            format!("application {client} by its certificate")
        }
        Credential::WorkloadIdentity { client, .. } => {
            format!("application {client} by workload identity")
        }
        Credential::AzureCli => "whoever is logged in to az".to_owned(),
    }
}

/// Whether a token was had.
pub fn token(sites: &str, identity: &str, had: &Result<(), AzureError>) -> Finding {
    match had {
        Ok(()) => Finding::ok(CHECK, format!("a token for {sites}, as {identity}")),
        Err(error) => Finding::error(
            CHECK,
            format!("no token for {sites}, as {identity}: {}", chain_of(error)),
            "check [credential]: its identity must exist and, for a managed identity, be assigned \
             to this machine; the authority (or IMDS) must be reachable from here",
        ),
    }
}

/// What was looked for, in words: `resource group hpc`, and what to do if it is not there.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The site that needs it.
    pub site: &'a SiteName,
    /// The thing.
    pub what: &'a str,
    /// The role that shows it.
    pub role: &'a str,
}

/// Whether something is there.
pub fn thing(wanted: Wanted<'_>, probed: &Result<Probe, AzureError>) -> Finding {
    let Wanted { site, what, .. } = wanted;
    match probed.as_ref().map(|probe| &probe.exists) {
        Ok(Ok(true)) => Finding::ok(CHECK, format!("site {site}: {what} is there")),
        Ok(Ok(false)) => Finding::error(
            CHECK,
            format!("site {site}: {what} does not exist"),
            format!("make it, or correct [site.{site}]"),
        ),
        Ok(Err(refusal)) => refused(wanted, refusal),
        Err(error) => Finding::error(
            CHECK,
            format!("site {site}: {what}: {}", chain_of(error)),
            "Resource Manager must be reachable from here: check the network, https_proxy and \
             [cloud]",
        ),
    }
}

/// Whether Resource Graph answers.
pub fn graph(sites: &str, why_not: Option<&str>) -> Finding {
    match why_not {
        None => Finding::ok(CHECK, format!("Resource Graph answers for {sites}")),
        Some(why) => Finding::error(
            CHECK,
            format!("Resource Graph does not answer for {sites}: {why}"),
            "without it lost and evicted VMs are not found: give the identity the role Reader on \
             the resource groups, and let this machine reach Resource Graph",
        ),
    }
}

fn refused(wanted: Wanted<'_>, refusal: &Refusal) -> Finding {
    let Wanted { site, what, role } = wanted;
    let text = format!(
        "site {site}: {what} cannot be read: {} {}: {}",
        refusal.status, refusal.code, refusal.text
    );
    let fix = match refusal.status {
        401 | 403 => format!("give the identity the role {role} there"),
        404 => format!("correct [site.{site}]"),
        _ => "Azure says no for now: look again in a minute".to_owned(),
    };
    Finding::error(CHECK, text, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal {
            status,
            code: code.to_owned(),
            outer_code: code.to_owned(),
            text: "words".to_owned(),
            target: None,
            retry_after: None,
        }
    }

    #[test]
    fn what_azure_says_of_a_thing_leads_to_what_is_to_be_done() {
        let site: SiteName = "west".parse().unwrap();
        let find = |exists: Result<bool, Refusal>| {
            let wanted = Wanted { site: &site, what: "resource group hpc", role: "Reader" };
            thing(wanted, &Ok(Probe { exists, date: None }))
        };
        assert_eq!(find(Ok(true)).level, Level::Ok);
        assert!(find(Ok(false)).text.contains("resource group hpc does not exist"));
        let denied = find(Err(refusal(403, "AuthorizationFailed")));
        assert!(denied.fix.unwrap().contains("role Reader"));
        assert!(denied.text.contains("403 AuthorizationFailed: words"), "{}", denied.text);
        let absent = find(Err(refusal(404, "SubscriptionNotFound")));
        assert_eq!(absent.fix.unwrap(), "correct [site.west]");
        assert!(find(Err(refusal(429, "x"))).fix.unwrap().contains("in a minute"));
    }
}
