//! Names of resources: ids as Azure spells them, compared without case.

use std::fmt;

/// A type of resource that the emulator keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Virtual machine.
    Vm,
    /// Availability set.
    AvailabilitySet,
    /// Proximity placement group.
    PlacementGroup,
    /// Capacity reservation group.
    ReservationGroup,
    /// Managed disk.
    Disk,
    /// Managed image.
    Image,
    /// Network interface.
    Nic,
    /// Virtual network.
    Vnet,
    /// Network security group.
    SecurityGroup,
    /// User-assigned identity.
    Identity,
}

/// Provider and type of each kind, as Azure spells them.
const KINDS: [(Kind, &str, &str); 10] = [
    (Kind::Vm, "Microsoft.Compute", "virtualMachines"),
    (Kind::AvailabilitySet, "Microsoft.Compute", "availabilitySets"),
    (Kind::PlacementGroup, "Microsoft.Compute", "proximityPlacementGroups"),
    (Kind::ReservationGroup, "Microsoft.Compute", "capacityReservationGroups"),
    (Kind::Disk, "Microsoft.Compute", "disks"),
    (Kind::Image, "Microsoft.Compute", "images"),
    (Kind::Nic, "Microsoft.Network", "networkInterfaces"),
    (Kind::Vnet, "Microsoft.Network", "virtualNetworks"),
    (Kind::SecurityGroup, "Microsoft.Network", "networkSecurityGroups"),
    (Kind::Identity, "Microsoft.ManagedIdentity", "userAssignedIdentities"),
];

impl Kind {
    fn row(self) -> (&'static str, &'static str) {
        let row = KINDS.iter().find(|(kind, _, _)| *kind == self);
        row.map_or(("", ""), |(_, provider, name)| (*provider, *name))
    }

    /// `Microsoft.Compute` and so on.
    pub fn provider(self) -> &'static str {
        self.row().0
    }

    /// `virtualMachines` and so on.
    pub fn type_name(self) -> &'static str {
        self.row().1
    }

    /// `Microsoft.Compute/virtualMachines` and so on.
    pub fn full_type(self) -> String {
        format!("{}/{}", self.provider(), self.type_name())
    }

    /// The kind of a provider and type, compared without case.
    pub fn parse(provider: &str, type_name: &str) -> Option<Kind> {
        let row = KINDS.iter().find(|(_, known_provider, known_type)| {
            known_provider.eq_ignore_ascii_case(provider)
                && known_type.eq_ignore_ascii_case(type_name)
        });
        row.map(|(kind, _, _)| *kind)
    }
}

/// A resource id in lower case: what ids are compared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of an id in any case.
    pub fn of(id: &str) -> Key {
        Key(id.to_ascii_lowercase())
    }

    /// The id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a resource in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceId {
    /// Subscription.
    pub subscription: String,
    /// Resource group, in the case given.
    pub group: String,
    /// Type.
    pub kind: Kind,
    /// Name, in the case given.
    pub name: String,
}

impl ResourceId {
    /// Parses an id of a kind that the emulator keeps. A child (`…/subnets/x`) is not parsed.
    pub fn parse(id: &str) -> Option<ResourceId> {
        let parts: Vec<&str> = id.trim_matches('/').split('/').collect();
        let [subscriptions, subscription, groups, group, providers, provider, kind, name] = *parts
        else {
            return None;
        };
        let words = [
            (subscriptions, "subscriptions"),
            (groups, "resourceGroups"),
            (providers, "providers"),
        ];
        if words.iter().any(|(given, wanted)| !given.eq_ignore_ascii_case(wanted)) {
            return None;
        }
        let kind = Kind::parse(provider, kind)?;
        Some(ResourceId {
            subscription: subscription.to_owned(),
            group: group.to_owned(),
            kind,
            name: name.to_owned(),
        })
    }

    /// What it is compared by.
    pub fn key(&self) -> Key {
        Key::of(&self.to_string())
    }

    /// The sibling of another kind and name in the same group.
    #[must_use]
    pub fn sibling(&self, kind: Kind, name: &str) -> ResourceId {
        ResourceId { kind, name: name.to_owned(), ..self.clone() }
    }

    /// What the group is compared by.
    pub fn group_key(&self) -> Key {
        group_key(&self.subscription, &self.group)
    }

    /// The id with the resource group in capitals, as Azure's lists give it (FACTS §1.2).
    pub fn in_capitals(&self) -> String {
        ResourceId { group: self.group.to_ascii_uppercase(), ..self.clone() }.to_string()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (provider, kind) = self.kind.row();
        write!(
            out,
            "/subscriptions/{}/resourceGroups/{}/providers/{provider}/{kind}/{}",
            self.subscription, self.group, self.name
        )
    }
}

/// What a resource group is compared by.
pub fn group_key(subscription: &str, group: &str) -> Key {
    Key::of(&format!("/subscriptions/{subscription}/resourceGroups/{group}"))
}

/// A region as Azure's APIs spell it: `West Europe` and `westeurope` are one.
pub fn region(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_equal_without_case() {
        let id = "/subscriptions/S/resourceGroups/RG/providers/microsoft.compute/virtualmachines/A";
        let parsed = ResourceId::parse(id).unwrap();
        assert_eq!(parsed.kind, Kind::Vm);
        assert_eq!(
            parsed.to_string(),
            "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/A"
        );
        assert_eq!(parsed.key(), Key::of(&id.to_uppercase()));
        assert_eq!(ResourceId::parse("/subscriptions/S/resourceGroups/RG"), None);
    }
}
