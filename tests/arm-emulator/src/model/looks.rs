//! What is only read, by whoever looks whether an installation can work: rights, registrations,
//! terms, images. Their paths, and how calls to them are counted. Must never: look at the state.

/// What a look is at.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// `{scope}/providers/Microsoft.Authorization/permissions`: the scope
    Permissions(String),
    /// `/subscriptions/{s}/providers/{namespace}`
    Provider(String),
    /// `…/offerTypes/virtualmachine/publishers/{p}/offers/{o}/plans/{n}/agreements/current`
    Agreement([String; 3]),
    /// `…/locations/{l}/publishers/{p}/artifacttypes/vmimage/offers/{o}/skus/{k}/versions`
    MarketVersions([String; 3]),
    /// `…/galleries/{g}/images/{i}`: the id of the definition
    GalleryDefinition(String),
    /// `…/galleries/{g}/images/{i}/versions`: the id of the definition
    GalleryVersions(String),
    /// `…/locations/{l}/{sharedGalleries, communityGalleries}/{g}/images/{i}[/versions[/{v}]]`
    Shared(Shared),
}

/// An image that somebody else shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// Region in which it is looked for.
    pub location: String,
    /// With everybody, and not with the tenant or the subscription.
    pub is_community: bool,
    /// Unique or public name of the gallery.
    pub gallery: String,
    /// Name of the image.
    pub image: String,
    /// Its versions (an empty text), or one of them.
    pub version: Option<String>,
}

impl Shared {
    /// As a VM's body names it.
    pub fn reference(&self) -> String {
        let kind = if self.is_community { "CommunityGalleries" } else { "SharedGalleries" };
        let version = self.version.as_deref().filter(|version| !version.is_empty());
        let version = version.map(|version| format!("/Versions/{version}")).unwrap_or_default();
        format!("/{kind}/{}/Images/{}{version}", self.gallery, self.image)
    }

    /// `sharedGalleries` or `communityGalleries`.
    pub fn type_name(&self) -> &'static str {
        if self.is_community { "communityGalleries" } else { "sharedGalleries" }
    }
}

impl Look {
    /// The template that calls are counted under.
    pub fn template(&self) -> &'static str {
        match self {
            Look::Permissions(_) => "…/providers/Microsoft.Authorization/permissions",
            Look::Provider(_) => "/subscriptions/{s}/providers/{namespace}",
            Look::Agreement(_) => "…/publishers/{p}/offers/{o}/plans/{n}/agreements/current",
            Look::MarketVersions(_) => "…/publishers/{p}/…/versions",
            Look::GalleryDefinition(_) => "…/galleries/{g}/images/{i}",
            Look::GalleryVersions(_) => "…/galleries/{g}/images/{i}/versions",
            Look::Shared(_) => "…/locations/{l}/{shared,community}Galleries/{g}/images/{i}",
        }
    }

    /// The subscription and the look of a path below it, if it is one. `rest` is what follows the
    /// subscription.
    pub fn parse(subscription: &str, rest: &[&str]) -> Option<Look> {
        if let [scope @ .., providers, authorization, permissions] = rest
            && is(providers, "providers")
            && is(authorization, "Microsoft.Authorization")
            && is(permissions, "permissions")
        {
            let scope: String = scope.iter().map(|part| format!("/{part}")).collect();
            return Some(Look::Permissions(format!("/subscriptions/{subscription}{scope}")));
        }
        match rest {
            [providers, namespace] if is(providers, "providers") => {
                Some(Look::Provider((*namespace).to_owned()))
            }
            [providers, provider, rest @ ..] if is(providers, "providers") => {
                in_provider(provider, rest)
            }
            [groups, group, providers, compute, galleries, gallery, images, image, rest @ ..]
                if all(&[
                    (groups, "resourceGroups"),
                    (providers, "providers"),
                    (compute, "Microsoft.Compute"),
                    (galleries, "galleries"),
                    (images, "images"),
                ]) =>
            {
                let id = format!(
                    "/subscriptions/{subscription}/resourceGroups/{group}/providers\
                     /Microsoft.Compute/galleries/{gallery}/images/{image}"
                );
                match rest {
                    [] => Some(Look::GalleryDefinition(id)),
                    [versions] if is(versions, "versions") => Some(Look::GalleryVersions(id)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn in_provider(provider: &str, rest: &[&str]) -> Option<Look> {
    let owned = |part: &&str| (*part).to_owned();
    match rest {
        [types, vm, a, publisher, b, offer, c, plan, d, current]
            if is(provider, "Microsoft.MarketplaceOrdering")
                && all(&[(types, "offerTypes"), (vm, "virtualmachine"), (a, "publishers")])
                && all(&[(b, "offers"), (c, "plans"), (d, "agreements"), (current, "current")]) =>
        {
            Some(Look::Agreement([publisher, offer, plan].map(owned)))
        }
        [locations, _, a, publisher, b, c, d, offer, e, sku, versions]
            if is(provider, "Microsoft.Compute")
                && all(&[(locations, "locations"), (a, "publishers"), (b, "artifacttypes")])
                && all(&[(c, "vmimage"), (d, "offers"), (e, "skus"), (versions, "versions")]) =>
        {
            Some(Look::MarketVersions([publisher, offer, sku].map(owned)))
        }
        [locations, location, galleries, gallery, images, image, rest @ ..]
            if is(provider, "Microsoft.Compute")
                && all(&[(locations, "locations"), (images, "images")]) =>
        {
            let is_community = is(galleries, "communityGalleries");
            let version = match rest {
                [] => None,
                [versions] if is(versions, "versions") => Some(String::new()),
                [versions, version] if is(versions, "versions") => Some(owned(version)),
                _ => return None,
            };
            (is_community || is(galleries, "sharedGalleries")).then(|| {
                let [location, gallery, image] = [location, gallery, image].map(owned);
                Look::Shared(Shared { location, is_community, gallery, image, version })
            })
        }
        _ => None,
    }
}

fn is(given: &str, wanted: &str) -> bool {
    given.eq_ignore_ascii_case(wanted)
}

fn all(pairs: &[(&&str, &str)]) -> bool {
    pairs.iter().all(|(given, wanted)| is(given, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_looked_at_is_found_by_its_path() {
        let look = |path: &str| Look::parse("s", &path.split('/').collect::<Vec<_>>());
        let scope = "resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n";
        assert_eq!(
            look(&format!("{scope}/providers/microsoft.authorization/Permissions")),
            Some(Look::Permissions(format!("/subscriptions/s/{scope}")))
        );
        assert_eq!(
            look("providers/Microsoft.Authorization/permissions"),
            Some(Look::Permissions("/subscriptions/s".to_owned()))
        );
        assert_eq!(
            look("providers/Microsoft.Network"),
            Some(Look::Provider("Microsoft.Network".to_owned()))
        );
        let gallery = "resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/i";
        let id = format!("/subscriptions/s/{gallery}");
        assert_eq!(look(gallery), Some(Look::GalleryDefinition(id.clone())));
        assert_eq!(look(&format!("{gallery}/versions")), Some(Look::GalleryVersions(id)));
        assert_eq!(look(&format!("{gallery}/versions/1.0.0")), None);
        let shared = "providers/Microsoft.Compute/locations/l/communityGalleries/c/images/i";
        let Some(Look::Shared(found)) = look(&format!("{shared}/versions/2")) else { panic!() };
        assert_eq!(found.reference(), "/CommunityGalleries/c/Images/i/Versions/2");
    }
}
