//! What one value may be. Every check answers with the value, or with a refusal that continues a
//! sentence beginning with the value and says what is allowed.

use super::types::{ImageReference, Plan, Region, Sku, Zone};

/// Azure's length of a resource group's name, and of every other name in a resource id at least.
const RESOURCE_NAME_LENGTH_MAX: usize = 90;

/// `useradd` of the distributions refuses longer names (Azure itself takes 64).
const ADMIN_USERNAME_LENGTH_MAX: usize = 32;

/// Names that Azure refuses for an administrator (frequently asked questions about Linux VMs, "What
/// are the username requirements when creating a VM"), and system accounts that every image has.
const ADMIN_USERNAMES_BANNED: &[&str] = &[
    "1",
    "123",
    "a",
    "actuser",
    "adm",
    "admin",
    "admin1",
    "admin2",
    "administrator",
    "aspnet",
    "backup",
    "console",
    "david",
    "guest",
    "john",
    "owner",
    "root",
    "server",
    "sql",
    "support",
    "support_388945a0",
    "sys",
    "test",
    "test1",
    "test2",
    "test3",
    "user",
    "user1",
    "user2",
    "user3",
    "user4",
    "user5",
    "video",
];

/// Where the instance metadata service is in every Azure cloud: link-local and without TLS.
const IMDS_HOST: &str = "169.254.169.254";

/// The parts of a resource id that matter to checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceId<'a> {
    pub(super) subscription: &'a str,
    /// `Microsoft.Network/virtualNetworks/subnets`, as written.
    pub(super) kind: String,
}

pub(super) fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(super) fn guid(text: &str) -> Result<String, String> {
    if is_guid(text) {
        Ok(text.to_owned())
    } else {
        Err("is not an id such as 00000000-0000-0000-0000-000000000000".to_owned())
    }
}

/// A tenant is named by its id or by one of its domains.
pub(super) fn tenant(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if is_guid(text) || (text.contains('.') && text.split('.').all(is_label)) {
        Ok(text.to_owned())
    } else {
        Err("is not a tenant: its id, or a domain such as contoso.onmicrosoft.com".to_owned())
    }
}

pub(super) fn region(text: &str) -> Result<Region, String> {
    let wellformed = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    Region::new(text).filter(|_| wellformed).ok_or_else(|| {
        "is not a region: lower-case letters and digits, such as westeurope".to_owned()
    })
}

pub(super) fn zone(text: &str) -> Result<Zone, String> {
    let wellformed = matches!(text.as_bytes(), [b'1'..=b'9']);
    Zone::new(text)
        .filter(|_| wellformed)
        .ok_or_else(|| "is not an availability zone: \"1\" to \"9\"".to_owned())
}

pub(super) fn sku(text: &str) -> Result<Sku, String> {
    Sku::new(text).ok_or_else(|| {
        "is not a VM size: letters, digits, '_' and '-', such as Standard_HB120rs_v3".to_owned()
    })
}

fn is_resource_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
    !text.is_empty()
        && text.len() <= RESOURCE_NAME_LENGTH_MAX
        && text.chars().all(allowed)
        && !text.ends_with('.')
}

pub(super) fn resource_group(text: &str) -> Result<String, String> {
    if is_resource_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "is not the name of a resource group: letters, digits, '-', '_', '.', '(' and ')', at \
             most {RESOURCE_NAME_LENGTH_MAX}, not ending with '.'"
        ))
    }
}

/// Reads `/subscriptions/…/resourceGroups/…/providers/…/…/…`. Azure compares the fixed words
/// without case.
pub(super) fn resource_id(text: &str) -> Option<ResourceId<'_>> {
    let parts: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
    let [subscriptions, subscription, groups, group, providers, namespace, rest @ ..] = &parts[..]
    else {
        return None;
    };
    let wellformed = subscriptions.eq_ignore_ascii_case("subscriptions")
        && is_guid(subscription)
        && groups.eq_ignore_ascii_case("resourceGroups")
        && is_resource_name(group)
        && providers.eq_ignore_ascii_case("providers")
        && is_resource_name(namespace)
        && !rest.is_empty()
        && rest.len() % 2 == 0
        && rest.iter().all(|part| is_resource_name(part));
    wellformed.then(|| ResourceId {
        subscription,
        kind: std::iter::once(*namespace)
            .chain(rest.iter().step_by(2).copied())
            .collect::<Vec<&str>>()
            .join("/"),
    })
}

/// A resource id of one kind.
pub(super) fn id_of_kind(kind: &'static str) -> impl Fn(&str) -> Result<String, String> {
    move |text| match resource_id(text) {
        Some(id) if id.kind.eq_ignore_ascii_case(kind) => Ok(text.to_owned()),
        Some(id) => Err(format!("is a resource of kind {}: {kind} is wanted", id.kind)),
        None => Err(format!("is not a resource id: {}", pattern(kind))),
    }
}

/// How an id of this kind is written.
fn pattern(kind: &str) -> String {
    let (namespace, types) = kind.split_once('/').unwrap_or((kind, ""));
    let rest: Vec<String> = types.split('/').map(|part| format!("{part}/NAME")).collect();
    format!("/subscriptions/ID/resourceGroups/NAME/providers/{namespace}/{}", rest.join("/"))
}

/// The image kinds that are named by a resource id.
const IMAGE_KINDS: &[&str] = &[
    "Microsoft.Compute/images",
    "Microsoft.Compute/galleries/images",
    "Microsoft.Compute/galleries/images/versions",
];

pub(super) fn image(text: &str) -> Result<ImageReference, String> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("/subscriptions/") {
        let is_image = resource_id(text)
            .is_some_and(|id| IMAGE_KINDS.iter().any(|kind| id.kind.eq_ignore_ascii_case(kind)));
        return match is_image {
            true => Ok(ImageReference::Id(text.to_owned())),
            false => Err(format!("is not the resource id of an image: {}", IMAGE_KINDS.join(", "))),
        };
    }
    if is_gallery_path(&lower, "sharedgalleries") {
        return Ok(ImageReference::SharedGallery(text.to_owned()));
    }
    if is_gallery_path(&lower, "communitygalleries") {
        return Ok(ImageReference::CommunityGallery(text.to_owned()));
    }
    match colon_parts(text).as_deref() {
        Some([publisher, offer, sku, version]) => Ok(ImageReference::Urn {
            publisher: (*publisher).to_owned(),
            offer: (*offer).to_owned(),
            sku: (*sku).to_owned(),
            version: (*version).to_owned(),
        }),
        Some(_) | None => {
            Err("is not an image: \"publisher:offer:sku:version\", a resource id of \
                               an image or gallery image, /sharedGalleries/NAME/images/NAME or \
                               /communityGalleries/NAME/images/NAME, each with /versions/VERSION"
                .to_owned())
        }
    }
}

/// `/<root>/NAME/images/NAME`, with `/versions/VERSION` or without. `lower` is in lower case.
fn is_gallery_path(lower: &str, root: &str) -> bool {
    let parts: Vec<&str> = lower.split('/').collect();
    let fixed = match parts.as_slice() {
        ["", first, _, images, _] => *first == root && *images == "images",
        ["", first, _, images, _, versions, _] => {
            *first == root && *images == "images" && *versions == "versions"
        }
        _ => false,
    };
    fixed && parts[1..].iter().all(|part| is_resource_name(part))
}

pub(super) fn plan(text: &str) -> Result<Plan, String> {
    match colon_parts(text).as_deref() {
        Some([publisher, product, name]) => Ok(Plan {
            publisher: (*publisher).to_owned(),
            product: (*product).to_owned(),
            name: (*name).to_owned(),
        }),
        Some(_) | None => Err("is not a purchase plan: \"publisher:product:name\"".to_owned()),
    }
}

/// The parts between colons when each is a plain word.
fn colon_parts(text: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = text.split(':').collect();
    parts.iter().all(|part| is_resource_name(part)).then_some(parts)
}

pub(super) fn admin_username(text: &str) -> Result<String, String> {
    if ADMIN_USERNAMES_BANNED.contains(&text) {
        return Err("is a name that Azure refuses: choose another, such as azslurm".to_owned());
    }
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    if first && text.bytes().all(rest) && text.len() <= ADMIN_USERNAME_LENGTH_MAX {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "is not a user name: lower-case letters, digits, '_' and '-', at most \
             {ADMIN_USERNAME_LENGTH_MAX}, beginning with a letter or '_'"
        ))
    }
}

/// One line of an `authorized_keys` file. Azure takes RSA and Ed25519.
pub(super) fn ssh_public_key(text: &str) -> Result<String, String> {
    let text = text.trim_end();
    let words: Vec<&str> = text.split(' ').collect();
    let is_base64 = |word: &str| {
        word.len() > 40
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    match words.as_slice() {
        ["ssh-rsa" | "ssh-ed25519", key, ..] if is_base64(key) && !text.contains('\n') => {
            Ok(text.to_owned())
        }
        _ => {
            Err("is not a public key: one line \"ssh-ed25519 AAAA…\" or \"ssh-rsa AAAA…\""
                .to_owned())
        }
    }
}

/// The host's name that user data gets; plain, so that it cannot change the script around it.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if text.len() <= 253 && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("is not a host name: letters, digits, '-' and '.'".to_owned())
    }
}

/// The base URL of a service: `https://host[:port]`; without TLS only where nobody can listen in.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let (is_secure, authority) = match (text.strip_prefix("https://"), text.strip_prefix("http://"))
    {
        (Some(authority), _) => (true, authority),
        (None, Some(authority)) => (false, authority),
        (None, None) => return Err("is not a URL: https://host or https://host:port".to_owned()),
    };
    if authority.ends_with('/') {
        return Err("ends with '/': leave that out".to_owned());
    }
    let Some(host) = host_of(authority) else {
        return Err(
            "is not a base URL: scheme, host and port, and no path, user or query".to_owned()
        );
    };
    if is_secure || is_local(host) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "would send tokens in the clear: use https (http is for this machine and for \
             {IMDS_HOST})"
        ))
    }
}

/// The host of `host`, `host:port` or `[::1]:port`; `None` if it is none of them.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix("[::1]") {
        Some(port) => ("::1", port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_host = host == "::1" || (!host.is_empty() && host.bytes().all(allowed));
    (is_port && is_host).then_some(host)
}

fn is_local(host: &str) -> bool {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host == "localhost" || host == IMDS_HOST
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM_GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g";

    #[test]
    fn a_resource_id_is_read_without_regard_to_case_and_only_whole() {
        let id = format!("{VM_GROUP}/providers/Microsoft.Network/virtualNetworks/v/subnets/s");
        let lower = id.to_ascii_lowercase();
        let read = resource_id(&lower).unwrap();
        assert_eq!(read.subscription, "11111111-1111-1111-1111-111111111111");
        assert_eq!(read.kind, "microsoft.network/virtualnetworks/subnets");
        assert!(id_of_kind("Microsoft.Network/virtualNetworks/subnets")(&lower).is_ok());
        for bad in [
            "",
            "/subscriptions/x",
            VM_GROUP,
            &format!("{id}/"),
            &format!("{id}?x=y"),
            &format!("{id}/more"),
            &id.replace("/s", "//s"),
            &id[1..],
        ] {
            assert_eq!(resource_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_form() {
        let gallery = format!("{VM_GROUP}/providers/Microsoft.Compute/galleries/x/images/i");
        for id in [gallery.clone(), format!("{gallery}/versions/1.2.3")] {
            assert_eq!(image(&id), Ok(ImageReference::Id(id)));
        }
        let shared = "/sharedGalleries/s-1/images/i/versions/latest".to_owned();
        assert_eq!(image(&shared), Ok(ImageReference::SharedGallery(shared.clone())));
        let community = "/CommunityGalleries/c-1/Images/i".to_owned();
        assert_eq!(image(&community), Ok(ImageReference::CommunityGallery(community.clone())));
        let urn = image("canonical:ubuntu-24_04-lts:server:latest").unwrap();
        assert!(matches!(urn, ImageReference::Urn { version, .. } if version == "latest"));
        for bad in
            ["", "ubuntu", "a:b:c", "a:b::d", "a:b:c:d:e", "a:b:c d:e", "/galleries/x", VM_GROUP]
        {
            assert!(image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_public_key_is_one_line_and_never_a_private_key() {
        let key = format!("ssh-ed25519 {}", "A".repeat(68));
        assert_eq!(ssh_public_key(&format!("{key} me@x\n")), Ok(format!("{key} me@x")));
        let bad = ["", "ssh-ed25519", "ssh-dss AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----"];
        for bad in bad.map(str::to_owned).into_iter().chain([format!("{key}\n{key}")]) {
            assert!(ssh_public_key(&bad).is_err(), "{bad}");
        }
    }
}
