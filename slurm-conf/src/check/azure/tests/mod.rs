//! Each rule by one mistake, and the good state, which is silent. The good world has a nodeset of
//! plain VMs and one of blocks with InfiniBand.

mod account;
mod image;
mod network;
mod quota;
mod size;

use std::collections::BTreeMap;
use std::path::Path;

use azslurm_azure::{
    ImageSeen, Network, Permission, Refusal, ResourceGroup, SecurityRule, Subnet, SubnetUse,
};
use azslurm_core::Timestamp;
use azslurm_core::config::{self, Config};
use azslurm_core::facts::Usage;
use azslurm_core::size::Size;
use azslurm_program::check::{Finding, Level};

use super::{AzureSeen, Door, Ground, Seen, SiteSeen, Unseen, check};

/// 2026-11-27, in milliseconds.
const NOW: i64 = 1_795_737_600_000;
const FILE: &str = "/etc/azslurm/azslurm.toml";
pub(super) const SUBNET: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/\
    resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/compute";
pub(super) const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc";

/// The good config.
pub(super) fn good() -> String {
    format!(
        "[cluster]\nname = \"c\"\n\
        [site.west]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
        region = \"westeurope\"\nresource_group = \"hpc\"\nsubnet = \"{SUBNET}\"\n\
        [nodeset.n]\nnodes = \"n[1-10]\"\nsites = [\"west\"]\nsku = \"Standard_D4s_v5\"\n\
        image = \"almalinux:almalinux-x86_64:9-gen2:latest\"\nssh_public_key_file = \"/k\"\n\
        [nodeset.hb]\nnodes = \"hb[1-8]\"\nsites = [\"west\"]\nsku = \"Standard_HB120rs_v3\"\n\
        interconnect = \"infiniband\"\nblock_nodes = 4\n\
        image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key_file = \"/k\"\n"
    )
}

/// What was seen of a world in which all is well.
pub(super) fn world() -> AzureSeen {
    let everything = Permission { actions: vec!["*".into()], not_actions: Vec::new() };
    let config = parse(&good());
    let west = "west".parse().unwrap();
    let scopes = crate::role::needs(&config, &west);
    let rights = scopes.into_keys().map(|scope| (scope, Ok(vec![everything.clone()]))).collect();
    let image = ImageSeen {
        generation: Some("V2".into()),
        architecture: Some("x64".into()),
        disk_gb: Some(30),
        is_in_region: Some(true),
        ..ImageSeen::default()
    };
    let site = SiteSeen {
        group: Ok(Some(ResourceGroup { location: "westeurope".into(), state: "Succeeded".into() })),
        registrations: BTreeMap::from([
            ("Microsoft.Compute", Ok(Some("Registered".into()))),
            ("Microsoft.Network", Ok(Some("Registered".into()))),
        ]),
        rights,
        subnet: Ok(Some(Subnet { prefixes: vec!["10.0.0.0/24".into()], ..Subnet::default() })),
        subnet_use: Ok(vec![SubnetUse { subnet: SUBNET.parse().unwrap(), used: 0, limit: 251 }]),
        network: Ok(Some(Network {
            location: "westeurope".into(),
            prefixes: vec!["10.0.0.0/16".into()],
            ..Network::default()
        })),
        sizes: Ok(vec![plain(), hb()]),
        usages: Ok(usages()),
        ours: Ok(BTreeMap::new()),
        images: ["n", "hb"].map(|set| (set.parse().unwrap(), Ok(Some(image.clone())))).into(),
        ..SiteSeen::default()
    };
    let door = Door {
        sites: vec![west.clone()],
        identity: "managed identity x".into(),
        token: Ok(()),
        late: None,
    };
    AzureSeen { doors: vec![door], sites: BTreeMap::from([(west, site)]), ..AzureSeen::default() }
}

fn usages() -> Vec<Usage> {
    [
        ("cores", 1000),
        ("lowPriorityCores", 100),
        ("virtualMachines", 25_000),
        ("availabilitySets", 2500),
        ("standardDSv5Family", 100),
        ("standardHBv3Family", 960),
    ]
    .map(|(name, limit)| Usage { name: name.into(), used: 0, limit })
    .into()
}

pub(super) fn plain() -> Size {
    Size {
        name: "Standard_D4s_v5".into(),
        family: "standardDSv5Family".into(),
        vcpus: 4,
        vcpus_available: 4,
        threads_per_core: 2,
        memory_mb: 16 * 1024,
        gpus: 0,
        is_rdma: false,
        is_spot_capable: true,
        has_accelerated_networking: true,
        architecture: "x64".into(),
        generations: vec!["V1".into(), "V2".into()],
        ephemeral_mb: BTreeMap::new(),
        zones: vec!["1".into(), "2".into(), "3".into()],
        zones_restricted: Vec::new(),
        is_offered: true,
        price: None,
        price_spot: None,
    }
}

pub(super) fn hb() -> Size {
    Size {
        name: "Standard_HB120rs_v3".into(),
        family: "standardHBv3Family".into(),
        vcpus: 120,
        vcpus_available: 120,
        threads_per_core: 1,
        memory_mb: 448 * 1024,
        is_rdma: true,
        ephemeral_mb: BTreeMap::from([("ResourceDisk".to_owned(), 480 * 1024)]),
        zones: Vec::new(),
        ..plain()
    }
}

fn parse(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|errors| panic!("{}", errors.render("test")))
}

/// What is found, with a change of the config's text and of what was seen.
pub(super) fn found((old, new): (&str, &str), change: impl FnOnce(&mut SiteSeen)) -> Vec<Finding> {
    let mut seen = world();
    change(site(&mut seen));
    judge(&good().replacen(old, new, 1), &seen)
}

pub(super) fn site(seen: &mut AzureSeen) -> &mut SiteSeen {
    seen.sites.values_mut().next().unwrap()
}

pub(super) fn judge(text: &str, seen: &AzureSeen) -> Vec<Finding> {
    let config = parse(text);
    let ground = Ground::new(&config, (Path::new(FILE), text), Timestamp::from_millis(NOW));
    check(&ground, seen)
}

/// Exactly one finding: of this level, with these words, at this line of the config's text, which
/// says what to do and why.
pub(super) fn one(findings: &[Finding], level: Level, words: &[&str], line: &str) {
    assert_eq!(findings.len(), 1, "{words:?}: {findings:#?}");
    let finding = &findings[0];
    assert_eq!(finding.level, level, "{finding:#?}");
    for word in words {
        assert!(finding.text.contains(word), "no {word:?} in {finding:#?}");
    }
    let fix = finding.fix.as_deref().unwrap_or_default();
    assert!(fix.len() > 10, "{finding:#?}");
    assert!(!finding.text.ends_with('.') && !fix.ends_with('.'), "{finding:#?}");
    if line.is_empty() {
        return;
    }
    assert!(finding.text.starts_with(char::is_lowercase), "{finding:#?}");
    assert!(finding.why.is_some(), "{finding:#?}");
    let at = finding.at.as_deref().unwrap_or_default();
    let number: usize = at.strip_prefix(&format!("{FILE}:")).unwrap().parse().unwrap();
    let text = good();
    let there = text.lines().nth(number - 1).unwrap_or_default();
    assert!(there.starts_with(line), "line {number} is {there:?}: {finding:#?}");
}

/// The image of the plain nodeset.
pub(super) fn image(seen: &mut SiteSeen) -> &mut ImageSeen {
    let image = seen.images.get_mut(&"n".parse().unwrap());
    image.unwrap().as_mut().unwrap().as_mut().unwrap()
}

pub(super) fn network(seen: &mut SiteSeen) -> &mut Network {
    seen.network.as_mut().unwrap().as_mut().unwrap()
}

pub(super) fn subnet(seen: &mut SiteSeen) -> &mut Subnet {
    seen.subnet.as_mut().unwrap().as_mut().unwrap()
}

/// Sets what is used of a quota, and its limit.
pub(super) fn quota(seen: &mut SiteSeen, name: &str, (used, limit): (u64, u64)) {
    let usage = seen.usages.as_mut().unwrap().iter_mut().find(|usage| usage.name == name).unwrap();
    (usage.used, usage.limit) = (used, limit);
}

/// What was seen of the terms of the plain nodeset's plan.
pub(super) fn terms(seen: &mut SiteSeen, terms: Seen<Option<bool>>) {
    seen.terms.insert("n".parse().unwrap(), terms);
}

/// The good world with a second site, whose network has this address space.
pub(super) fn with_north(prefix: &str) -> Vec<Finding> {
    let mut seen = world();
    let mut north = site(&mut seen).clone();
    north.rights.clear();
    let network = network(&mut north);
    (network.location, network.prefixes) = ("northeurope".into(), vec![prefix.to_owned()]);
    seen.sites.insert("north".parse().unwrap(), north);
    let subnet = SUBNET.replace("/virtualNetworks/v/", "/virtualNetworks/north/");
    let more = format!(
        "[site.north]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
         region = \"northeurope\"\nresource_group = \"north\"\nsubnet = \"{subnet}\"\n"
    );
    judge(&format!("{}{more}", good()), &seen)
}

pub(super) fn refusal(status: u16, code: &str) -> Unseen {
    Unseen::Refused(Refusal {
        status,
        code: code.to_owned(),
        outer_code: code.to_owned(),
        text: "words of Azure".to_owned(),
        target: None,
        retry_after: None,
    })
}

pub(super) fn deny(priority: u64, (from, port): (&str, &str)) -> SecurityRule {
    SecurityRule {
        name: "closed".into(),
        priority,
        is_inbound: true,
        is_allow: false,
        protocol: "*".into(),
        sources: vec![from.into()],
        destinations: vec!["*".into()],
        ports: vec![port.into()],
        has_application_groups: false,
    }
}

#[test]
fn a_world_in_which_all_is_well_is_silent() {
    assert_eq!(judge(&good(), &world()), []);
}

#[test]
fn what_was_not_asked_is_silent() {
    let mut seen = world();
    *site(&mut seen) = SiteSeen::default();
    assert_eq!(judge(&good(), &seen), []);
}
