//! Who we are, and what we may do: token, registrations, resource group, rights.

use azslurm_azure::{Permission, Probe, ResourceGroup};
use azslurm_core::SiteName;
use azslurm_core::config::Site;
use azslurm_program::check::{Finding, azure};
use azslurm_program::exit::chain_of;

use super::{AzureSeen, CHECK, Door, Ground, Seen, SiteSeen, Unseen, unseen};
use crate::role::{self, Need};

/// Who shows a resource group.
const ROLE_GROUP: &str = "that `azslurm-conf role` prints for VMs (or Reader)";

/// All findings about accounts.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(error) = &seen.no_client {
        let fix = "correct [cloud], or install what is missing";
        findings.push(Finding::error(CHECK, chain_of(error), fix).at(ground.at("cloud")));
    }
    for door in &seen.doors {
        findings.extend(of_door(ground, door));
    }
    for (name, site) in &ground.config.sites {
        let Some(at_site) = seen.sites.get(name) else { continue };
        findings.extend(group(ground, (name, site), &at_site.group));
        findings.extend(registrations(ground, (name, site), at_site));
        findings.extend(rights(ground, name, at_site));
        findings.extend(graph(name, at_site));
    }
    if let Some(error) = &seen.no_prices {
        findings.push(Finding::note(
            CHECK,
            format!("prices are not known: {}", chain_of(error)),
            "let this machine reach the price list; without it Weight is not made of prices",
        ));
    }
    findings
}

fn of_door(ground: &Ground<'_>, door: &Door) -> Vec<Finding> {
    let names: Vec<&str> = door.sites.iter().map(SiteName::as_str).collect();
    let names = names.join(", ");
    let mut findings = Vec::new();
    if door.token.is_err() {
        let own = door.sites.first().map(|site| format!("site.{site}.credential"));
        let key = own.filter(|key| ground.file.1.contains(&format!("[{key}]")));
        let key = key.unwrap_or_else(|| "credential".to_owned());
        findings.push(
            azure::token(&names, &door.identity, &door.token)
                .because("without a token no VM is made, and none is deleted")
                .at(ground.at(&key)),
        );
    }
    if let Some(seconds) = door.late {
        findings.push(Finding::error(
            CHECK,
            format!("Azure has not answered all that was asked for {names} within {seconds} s"),
            "look whether Resource Manager can be reached from this machine, and check again",
        ));
    }
    findings
}

fn group(
    ground: &Ground<'_>,
    (name, site): (&SiteName, &Site),
    seen: &Seen<Option<ResourceGroup>>,
) -> Option<Finding> {
    let at = ground.at_site(name, "resource_group");
    let what = format!("resource group {}", site.resource_group);
    if let Ok(Some(group)) = seen
        && group.state.eq_ignore_ascii_case("Deleting")
    {
        let text = format!("site {name}: {what} is being deleted");
        let fix = format!("wait until it is gone and make it anew, or correct [site.{name}]");
        let why = "Azure makes nothing in it, and takes away what is there";
        return Some(Finding::error(CHECK, text, fix).because(why).at(at));
    }
    let probed = match seen {
        Ok(Some(_)) | Err(Unseen::NotAsked) => return None,
        Ok(None) => Ok(Probe { exists: Ok(false), date: None }),
        Err(Unseen::Refused(refusal)) => Ok(Probe { exists: Err(refusal.clone()), date: None }),
        Err(Unseen::Failed(error)) => Err(error.clone()),
    };
    let wanted = azure::Wanted { site: name, what: &what, role: ROLE_GROUP };
    Some(
        azure::thing(wanted, &probed)
            .because("all VMs of the site are made in it; azslurm makes no groups")
            .at(at),
    )
}

fn graph(name: &SiteName, seen: &SiteSeen) -> Option<Finding> {
    let why = match &seen.ours {
        Ok(_) | Err(Unseen::NotAsked) => return None,
        Err(why) => why.to_string(),
    };
    Some(azure::graph(&format!("site {name}"), Some(&why)))
}

fn registrations(
    ground: &Ground<'_>,
    (name, site): (&SiteName, &Site),
    seen: &SiteSeen,
) -> Vec<Finding> {
    let of = |(provider, state): (&&'static str, &Seen<Option<String>>)| {
        let action = "Microsoft.Resources/subscriptions/providers/read";
        let what = format!("site {name}: the registration of {provider}");
        let state = match state {
            Ok(state) => state.clone().unwrap_or_else(|| "NotRegistered".to_owned()),
            Err(why) => return unseen(&what, action, why),
        };
        let subscription = &site.subscription;
        let text = format!(
            "site {name}: subscription {subscription} is not registered for {provider}: {state}"
        );
        let finding = match state.to_ascii_lowercase().as_str() {
            "registered" => return None,
            "registering" => Finding::warning(CHECK, text, "wait some minutes, and check again"),
            _ => Finding::error(
                CHECK,
                text,
                format!(
                    "`az provider register --namespace {provider} --subscription {subscription}`"
                ),
            ),
        };
        let why =
            "Azure refuses everything of a provider that a subscription is not registered for";
        Some(finding.because(why).at(ground.at_site(name, "subscription")))
    };
    seen.registrations.iter().filter_map(of).collect()
}

fn rights(ground: &Ground<'_>, name: &SiteName, seen: &SiteSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (scope, need) in role::needs(ground.config, name) {
        let permissions = match seen.rights.get(&scope) {
            Some(Ok(permissions)) => permissions,
            Some(Err(why)) => {
                let what = format!("site {name}: what the identity may do at {scope}");
                findings.extend(unseen(&what, "Microsoft.Authorization/permissions/read", why));
                continue;
            }
            None => continue,
        };
        findings.extend(lacking(ground, (name, &scope), (&need, permissions)));
    }
    findings
}

fn lacking(
    ground: &Ground<'_>,
    (name, scope): (&SiteName, &str),
    (need, permissions): (&Need, &[Permission]),
) -> Option<Finding> {
    let lacks = |action: &&&'static str| !permissions.iter().any(|one| one.allows(action));
    let vital: Vec<&str> = need.vital.iter().filter(lacks).copied().collect();
    let useful: Vec<&str> = need.useful.iter().filter(lacks).copied().collect();
    let all = [vital.as_slice(), useful.as_slice()].concat();
    if all.is_empty() {
        return None;
    }
    let who = ground.config.sites.get(name).map(|site| azure::identity(&site.credential));
    let text = format!(
        "site {name}: {} may not do at {scope}: {}",
        who.unwrap_or_default(),
        all.join(", ")
    );
    let fix =
        format!("run what `azslurm-conf role --site {name}` prints; a new role takes minutes");
    let finding = match vital.is_empty() {
        false => Finding::error(CHECK, text, fix)
            .because("Azure refuses with 403 what no role allows, when the first VM is asked for"),
        true => Finding::warning(CHECK, text, fix)
            .because("VMs are made all the same; quotas, sizes or evictions are not known"),
    };
    Some(finding.at(ground.at(&format!("site.{name}.credential"))))
}
