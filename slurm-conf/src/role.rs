//! `azslurm-conf role`: what the identities of this config must be allowed to do, and no more. One
//! custom role for each kind of scope, because one role for all would let an identity make VMs
//! wherever it may only look.
//!
//! Source of the actions: Azure's permissions reference (`Microsoft.Compute`, `Microsoft.Network`,
//! `Microsoft.ManagedIdentity`), and the calls that azslurm makes.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::SiteName;
use azslurm_core::config::{
    Config, Credential, ImageReference, Interconnect, ManagedIdentity, Nodeset, Site,
};
use serde::Serialize;

/// What a role is for. Its name is `azslurm CLUSTER WORD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The resource group that the VMs are in.
    Vms,
    /// Subnets and network security groups that others own.
    Network,
    /// What VMs are made of and with: images, identities, reservations.
    Uses,
    /// Reading of the subscription: quotas, sizes, operations.
    Looks,
    /// Reading for `azslurm-conf check` alone.
    Checks,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Vms => "vms",
            Kind::Network => "network",
            Kind::Uses => "uses",
            Kind::Looks => "looks",
            Kind::Checks => "checks",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Kind::Vms => "makes and deletes the VMs of Slurm's nodes, with their cards and disks",
            Kind::Network => "connects VMs to subnets and network security groups",
            Kind::Uses => "makes VMs from images, with identities and reservations",
            Kind::Looks => "reads quotas, sizes and operations",
            Kind::Checks => {
                "lets azslurm-conf check read networks, images, terms and the identity's own rights"
            }
        }
    }
}

/// Whoever makes VMs. Writing disks and cards is part of making a VM with them.
const VMS: [&str; 12] = [
    "Microsoft.Compute/disks/delete",
    "Microsoft.Compute/disks/read",
    "Microsoft.Compute/disks/write",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/virtualMachines/instanceView/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Network/networkInterfaces/delete",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
];
/// Blocks. Neither type has a join action.
const BLOCKS: [&str; 6] = [
    "Microsoft.Compute/availabilitySets/delete",
    "Microsoft.Compute/availabilitySets/read",
    "Microsoft.Compute/availabilitySets/write",
    "Microsoft.Compute/proximityPlacementGroups/delete",
    "Microsoft.Compute/proximityPlacementGroups/read",
    "Microsoft.Compute/proximityPlacementGroups/write",
];
/// What the activity log says of an eviction.
const ACTIVITY: &str = "Microsoft.Insights/eventtypes/values/read";
const LOOKS: [&str; 4] = [
    "Microsoft.Compute/locations/operations/read",
    "Microsoft.Compute/locations/usages/read",
    "Microsoft.Compute/skus/read",
    "Microsoft.ResourceGraph/resources/read",
];
/// What only `azslurm-conf check` reads; without it, it says less.
const CHECKS: [&str; 7] = [
    PERMISSIONS,
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read",
    "Microsoft.MarketplaceOrdering/offertypes/publishers/offers/plans/agreements/read",
    "Microsoft.Network/networkSecurityGroups/read",
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/virtualNetworks/usages/read",
    "Microsoft.Resources/subscriptions/providers/read",
];
const PERMISSIONS: &str = "Microsoft.Authorization/permissions/read";
const IDENTITY_READ: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
const SHARED: &str = "Microsoft.Compute/locations/sharedGalleries/images/read";
const COMMUNITY: &str = "Microsoft.Compute/locations/communityGalleries/images/read";
const SUBNET: [&str; 2] = [
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Network/virtualNetworks/subnets/read",
];
const SECURITY_GROUP: [&str; 1] = ["Microsoft.Network/networkSecurityGroups/join/action"];
const IDENTITY: [&str; 1] = ["Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"];
const RESERVATION: [&str; 2] = [
    "Microsoft.Compute/capacityReservationGroups/deploy/action",
    "Microsoft.Compute/capacityReservationGroups/read",
];
const GALLERY: [&str; 2] =
    ["Microsoft.Compute/galleries/images/read", "Microsoft.Compute/galleries/images/versions/read"];
const MANAGED_IMAGE: [&str; 1] = ["Microsoft.Compute/images/read"];

/// A custom role, as `az role definition create` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Always: Azure's own roles are not custom.
    pub is_custom: bool,
    /// What is allowed, sorted.
    pub actions: BTreeSet<String>,
    /// Subscriptions in which it can be assigned.
    pub assignable_scopes: BTreeSet<String>,
}

/// Who gets which role where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Assignment {
    /// The identity, in words.
    pub identity: String,
    /// Arguments of `az role assignment create` that name it.
    pub assignee: String,
    /// The role's name.
    pub role: String,
    /// Resource id.
    pub scope: String,
}

/// All that the identities of a config need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Rights {
    /// The roles, by name.
    pub roles: Vec<Role>,
    /// Who gets them.
    pub assignments: BTreeSet<Assignment>,
}

/// A right: what, where, and in which role it stands.
type Right = (Kind, String, Vec<&'static str>);

/// What the sites of a config need; with `only`, of these alone.
pub fn rights(config: &Config, only: &[SiteName]) -> Rights {
    let mut actions: BTreeMap<Kind, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let mut assignments = BTreeSet::new();
    let sites = config.sites.iter();
    for (name, site) in sites.filter(|(name, _)| only.is_empty() || only.contains(name)) {
        let (identity, assignee) = identity(&site.credential);
        for (kind, scope, allowed) in rights_at(site, &nodesets_at(config, name)) {
            let (of_kind, scopes) = actions.entry(kind).or_default();
            of_kind.extend(allowed.into_iter().map(str::to_owned));
            scopes.insert(subscription_of(&scope));
            assignments.insert(Assignment {
                identity: identity.clone(),
                assignee: assignee.clone(),
                role: role_name(config, kind),
                scope,
            });
        }
    }
    let role = |(kind, (actions, assignable_scopes)): (Kind, _)| Role {
        name: role_name(config, kind),
        description: format!("azslurm: {}", kind.description()),
        is_custom: true,
        actions,
        assignable_scopes,
    };
    Rights { roles: actions.into_iter().map(role).collect(), assignments }
}

fn role_name(config: &Config, kind: Kind) -> String {
    format!("azslurm {} {}", config.cluster, kind.word())
}

fn rights_at(site: &Site, nodesets: &[&Nodeset]) -> Vec<Right> {
    let subscription = format!("/subscriptions/{}", site.subscription);
    let group = format!("{subscription}/resourceGroups/{}", site.resource_group);
    let mut vms = VMS.to_vec();
    if nodesets.iter().any(|set| set.interconnect == Interconnect::Infiniband) {
        vms.extend(BLOCKS);
    }
    if nodesets.iter().any(|set| set.is_spot()) {
        vms.push(ACTIVITY);
    }
    let mut checks = CHECKS.to_vec();
    for nodeset in nodesets {
        match &nodeset.image.reference {
            ImageReference::SharedGallery(_) => checks.push(SHARED),
            ImageReference::CommunityGallery(_) => checks.push(COMMUNITY),
            ImageReference::Id(_) | ImageReference::Urn { .. } => {}
        }
    }
    let mut rights = vec![
        (Kind::Vms, group, vms),
        (Kind::Looks, subscription.clone(), LOOKS.to_vec()),
        (Kind::Checks, subscription.clone(), checks),
        (Kind::Network, site.subnet.clone(), SUBNET.to_vec()),
    ];
    let security_group = site.network_security_group.iter();
    rights.extend(security_group.map(|id| (Kind::Network, id.clone(), SECURITY_GROUP.to_vec())));
    rights.extend(nodesets.iter().flat_map(|set| rights_of(set)));
    let elsewhere: Vec<Right> = rights
        .iter()
        .filter(|(kind, scope, _)| *kind != Kind::Checks && subscription_of(scope) != subscription)
        .map(|(_, scope, _)| (Kind::Checks, scope.clone(), vec![PERMISSIONS]))
        .collect();
    rights.extend(elsewhere);
    rights
}

/// What an identity must be allowed at a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Need {
    /// Without these no VM is made, or none is deleted.
    pub vital: BTreeSet<&'static str>,
    /// Without these it works, and worse: quotas are not known, evictions not explained.
    pub useful: BTreeSet<&'static str>,
}

/// What the identity of a site needs, by scope; not what only `azslurm-conf check` reads.
pub fn needs(config: &Config, site: &SiteName) -> BTreeMap<String, Need> {
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    let Some(found) = config.sites.get(site) else { return needs };
    for (kind, scope, actions) in rights_at(found, &nodesets_at(config, site)) {
        if kind == Kind::Checks {
            continue;
        }
        let need = needs.entry(scope).or_default();
        for action in actions {
            let is_useful = kind == Kind::Looks || action == ACTIVITY;
            if is_useful { &mut need.useful } else { &mut need.vital }.insert(action);
        }
    }
    needs
}

fn nodesets_at<'c>(config: &'c Config, site: &SiteName) -> Vec<&'c Nodeset> {
    config.nodesets.values().filter(|set| set.open_sites().contains(site)).collect()
}

fn rights_of(nodeset: &Nodeset) -> Vec<Right> {
    let mut rights: Vec<Right> = Vec::new();
    let identities = nodeset.identities.iter();
    rights.extend(identities.flat_map(|id| {
        let assign = (Kind::Uses, id.clone(), IDENTITY.to_vec());
        [assign, (Kind::Checks, id.clone(), vec![IDENTITY_READ])]
    }));
    let reservation = nodeset.capacity_reservation_group.iter();
    rights.extend(reservation.map(|id| (Kind::Uses, id.clone(), RESERVATION.to_vec())));
    match &nodeset.image.reference {
        ImageReference::Id(id) => rights.push(match gallery_image(id) {
            Some(image) => (Kind::Uses, image, GALLERY.to_vec()),
            None => (Kind::Uses, id.clone(), MANAGED_IMAGE.to_vec()),
        }),
        // What is shared with everybody, or with the tenant, needs no right of ours.
        ImageReference::SharedGallery(_)
        | ImageReference::CommunityGallery(_)
        | ImageReference::Urn { .. } => {}
    }
    rights
}

/// The image of a gallery that an id is about, without its version: the next version is read by
/// the same right.
fn gallery_image(id: &str) -> Option<String> {
    let lower = id.to_ascii_lowercase();
    if !lower.contains("/galleries/") {
        return None;
    }
    let end = lower.find("/versions/").unwrap_or(id.len());
    Some(id[..end].to_owned())
}

/// `/subscriptions/…` of a resource id.
fn subscription_of(id: &str) -> String {
    id.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// Who it is, and how `az` is told.
fn identity(credential: &Credential) -> (String, String) {
    let by_app = |what: &str, id: &str| (format!("{what} {id}"), format!("--assignee {id}"));
    let by_object = |who: String, object: String| {
        let arguments = "--assignee-principal-type ServicePrincipal --assignee-object-id";
        (who, format!("{arguments} {object}"))
    };
    match credential {
        Credential::ManagedIdentity(ManagedIdentity::System) => by_object(
            "the system-assigned identity of the head node".to_owned(),
            "\"$HEAD_NODE_PRINCIPAL\"".to_owned(),
        ),
        Credential::ManagedIdentity(ManagedIdentity::ClientId(id)) => {
            by_app("managed identity", id)
        }
        Credential::ManagedIdentity(ManagedIdentity::ObjectId(id)) => {
            by_object(format!("managed identity with object id {id}"), id.clone())
        }
        Credential::ManagedIdentity(ManagedIdentity::ResourceId(id)) => by_object(
            format!("managed identity {id}"),
            format!("\"$(az identity show --ids '{id}' --query principalId --output tsv)\""),
        ),
        Credential::ClientSecret { client, .. }
        | Credential::ClientCertificate { client, .. }
        | Credential::WorkloadIdentity { client, .. } => by_app("application", client),
        Credential::AzureCli => {
            let object = "\"$(az ad signed-in-user show --query id --output tsv)\"";
            ("whoever is logged in to az".to_owned(), format!("--assignee {object}"))
        }
    }
}

impl Rights {
    /// A script for `sh` that makes the roles and assigns them; it may be run again.
    pub fn script(&self) -> String {
        let mut lines = vec![
            "#!/bin/sh".to_owned(),
            "# Roles and assignments for azslurm, made from its config by `azslurm-conf role`."
                .to_owned(),
            "# Run it as somebody who may create roles and assign them (Owner, or User Access"
                .to_owned(),
            "# Administrator). It may be run again; after a change of the config, run it anew."
                .to_owned(),
            "set -eu".to_owned(),
        ];
        if self.assignments.iter().any(|one| one.assignee.contains("HEAD_NODE_PRINCIPAL")) {
            lines.push(
                ": \"${HEAD_NODE_PRINCIPAL:?set it to what this prints: az vm show \
                 --resource-group GROUP --name HEAD-NODE --query identity.principalId \
                 --output tsv}\""
                    .to_owned(),
            );
        }
        lines.extend(self.roles.iter().flat_map(create));
        let mut identity = "";
        for one in &self.assignments {
            if one.identity != identity {
                identity = &one.identity;
                lines.push(format!("\n# {identity}"));
            }
            let Assignment { assignee, role, scope, .. } = one;
            lines.push(format!(
                "az role assignment create {assignee} \\\n    --role '{role}' --scope '{scope}'"
            ));
        }
        lines.join("\n")
    }
}

/// A role that exists is brought up to date instead.
fn create(role: &Role) -> Vec<String> {
    let Ok(json) = serde_json::to_string_pretty(role) else { return Vec::new() };
    let known = format!("$(az role definition list --name '{}' --output tsv)", role.name);
    vec![
        format!("\nverb=create\n[ -z \"{known}\" ] || verb=update"),
        format!("az role definition \"$verb\" --role-definition @- <<'ROLE'\n{json}\nROLE"),
    ]
}

#[cfg(test)]
mod tests {
    use azslurm_core::config;

    use super::*;

    const HEAD: &str = "[cluster]\nname = \"c\"\n\
        [site.west]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
        region = \"westeurope\"\nresource_group = \"hpc\"\n\
        subnet = \"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
        providers/Microsoft.Network/virtualNetworks/v/subnets/compute\"\n";
    const PLAIN: &str = "[nodeset.n]\nnodes = \"n[1-3]\"\nsites = [\"west\"]\n\
        sku = \"Standard_D4s_v5\"\nimage = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n\
        ssh_public_key_file = \"/k\"\n";
    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc";

    fn of(text: &str) -> Rights {
        rights(&config::parse(text).unwrap(), &[])
    }

    fn actions(rights: &Rights, role: &str) -> Vec<String> {
        let found = rights.roles.iter().find(|one| one.name == format!("azslurm c {role}"));
        found.map(|role| role.actions.iter().cloned().collect()).unwrap_or_default()
    }

    fn scopes(rights: &Rights, role: &str) -> Vec<String> {
        let of_role = rights.assignments.iter().filter(|one| one.role.ends_with(role));
        of_role.map(|one| one.scope.clone()).collect()
    }

    #[test]
    fn the_smallest_config_may_make_vms_in_its_group_and_look_at_its_subscription() {
        let rights = of(&format!("{HEAD}{PLAIN}"));
        assert_eq!(actions(&rights, "vms"), VMS);
        assert_eq!(scopes(&rights, "vms"), [GROUP]);
        assert_eq!(actions(&rights, "looks"), LOOKS);
        assert_eq!(scopes(&rights, "looks"), [subscription_of(GROUP)]);
        assert_eq!(actions(&rights, "checks"), CHECKS);
        assert!(actions(&rights, "checks").iter().all(|action| action.ends_with("/read")));
        assert_eq!(actions(&rights, "network"), SUBNET);
        assert!(scopes(&rights, "network")[0].ends_with("/subnets/compute"));
        assert_eq!(actions(&rights, "uses"), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_allowed_by_a_star_or_twice_or_where_it_is_not_needed() {
        let spot = PLAIN.replace("[nodeset.n]", "[nodeset.s]").replace("n[1-3]", "s[1-3]");
        let spot = format!("{spot}priority = \"spot\"\n");
        let rights = of(&format!("{HEAD}{PLAIN}{spot}"));
        let all: Vec<&String> = rights.roles.iter().flat_map(|role| &role.actions).collect();
        assert!(all.iter().all(|action| !action.contains('*')), "{all:?}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        let writes = |action: &&&String| !action.ends_with("/read");
        assert!(actions(&rights, "looks").iter().all(|action| action.ends_with("/read")));
        assert!(all.iter().filter(writes).all(|action| !action.contains("subscriptions/")));
        assert!(actions(&rights, "vms").contains(&ACTIVITY.to_owned()));
    }

    #[test]
    fn a_config_gets_what_its_nodesets_use() {
        let vault =
            "/subscriptions/00000000-0000-0000-0000-000000000003/resourceGroups/r/providers";
        let image = format!("{vault}/Microsoft.Compute/galleries/g/images/i");
        let more = format!(
            "identities = [\"{vault}/Microsoft.ManagedIdentity/userAssignedIdentities/u\"]\n\
             interconnect = \"infiniband\"\nblock_nodes = 2\n"
        );
        let set = PLAIN.replace("Standard_D4s_v5", "Standard_HB120rs_v3");
        let set = set
            .replace("microsoft-dsvm:ubuntu-hpc:2204:latest", &format!("{image}/versions/1.2.3"));
        let rights = of(&format!("{HEAD}{set}{more}"));
        let vms = actions(&rights, "vms");
        assert!(BLOCKS.iter().all(|action| vms.contains(&(*action).to_owned())));
        let uses = scopes(&rights, "uses");
        assert_eq!(uses.len(), 2, "{uses:?}");
        assert!(uses.contains(&image), "the next version too: {uses:?}");
        let role = rights.roles.iter().find(|role| role.name.ends_with("uses")).unwrap();
        assert_eq!(role.assignable_scopes, BTreeSet::from([subscription_of(&image)]));
        let allowed = actions(&rights, "uses");
        assert!(allowed.iter().any(|action| action.ends_with("/assign/action")), "{allowed:?}");
    }

    #[test]
    fn what_is_vital_is_told_from_what_is_useful_and_from_what_only_a_check_reads() {
        let spot = format!("{HEAD}{PLAIN}priority = \"spot\"\n");
        let needs = needs(&config::parse(&spot).unwrap(), &"west".parse().unwrap());
        let group = &needs[GROUP];
        assert!(group.vital.contains("Microsoft.Compute/virtualMachines/write"));
        assert_eq!(group.useful, BTreeSet::from([ACTIVITY]));
        let subscription = &needs[&subscription_of(GROUP)];
        assert!(subscription.vital.is_empty());
        assert_eq!(subscription.useful, BTreeSet::from(LOOKS));
        assert!(needs.keys().any(|scope| scope.ends_with("/subnets/compute")));
    }

    #[test]
    fn each_identity_gets_what_its_own_sites_need() {
        let north = HEAD[HEAD.find("[site").unwrap()..].replace("site.west", "site.north");
        let north = north.replace("\"hpc\"", "\"hpc-north\"");
        let own = "[site.north.credential]\ntype = \"managed-identity\"\nclient_id = \
            \"00000000-0000-0000-0000-00000000000b\"\n";
        let set = PLAIN.replace("[\"west\"]", "[\"west\", \"north\"]\nspill = \"next-site\"");
        let config = config::parse(&format!("{HEAD}{north}{own}{set}")).unwrap();
        let all = rights(&config, &[]);
        let by_app = |one: &&Assignment| one.assignee.contains("00000000000b");
        assert!(all.assignments.iter().filter(by_app).any(|one| one.scope.ends_with("hpc-north")));
        assert!(!all.assignments.iter().filter(by_app).any(|one| one.scope == GROUP));
        let north = rights(&config, &["north".parse().unwrap()]);
        assert!(north.assignments.iter().all(|one| by_app(&one)));
        let script = all.script();
        let names = ["HEAD_NODE_PRINCIPAL:?", "az role definition \"$verb\"", "--scope '/subscr"];
        assert!(names.iter().all(|words| script.contains(words)), "{script}");
        assert!(!north.script().contains("HEAD_NODE_PRINCIPAL"));
    }
}
