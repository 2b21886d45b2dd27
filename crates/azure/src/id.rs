//! Resource ids. Azure changes their case at will, mostly the resource group's (FACTS §1.2), so
//! they compare without.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use azslurm_core::plain::is_plain;
use serde::{Deserialize, Serialize};

/// A resource id,
/// `/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/virtualMachines/n1-…`, as Azure
/// spelled it. Equality, order and hash ignore case.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    text: String,
    lower: String,
}

/// Why a text is not a resource id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a resource id: it begins with '/', has names between single '/' and no \
     control characters"
)]
pub struct ResourceIdError {
    /// What was found, cut to 200 characters.
    pub found: String,
}

impl ResourceId {
    /// As Azure spelled it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In lower case: a key.
    pub fn key(&self) -> &str {
        &self.lower
    }

    /// The last part: the resource's own name, as spelled.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The subscription, as spelled.
    pub fn subscription(&self) -> Option<&str> {
        self.after("subscriptions")
    }

    /// The resource group, as spelled.
    pub fn resource_group(&self) -> Option<&str> {
        self.after("resourcegroups")
    }

    /// The type in lower case, `microsoft.compute/virtualmachines`.
    pub fn kind(&self) -> Option<String> {
        let rest = self.lower.rsplit_once("/providers/")?.1;
        let mut parts = rest.split('/');
        let mut kind = parts.next()?.to_owned();
        for part in parts.step_by(2) {
            kind.push('/');
            kind.push_str(part);
        }
        Some(kind)
    }

    fn after(&self, key: &str) -> Option<&str> {
        let mut parts = self.text.split('/').skip_while(|part| !part.eq_ignore_ascii_case(key));
        parts.next()?;
        parts.next()
    }
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;

    fn from_str(text: &str) -> Result<Self, ResourceIdError> {
        if !has_names(text) {
            return Err(ResourceIdError { found: text.chars().take(200).collect() });
        }
        Ok(Self { text: text.to_owned(), lower: text.to_ascii_lowercase() })
    }
}

/// Whether a text begins with '/' and has names between single ones.
fn has_names(text: &str) -> bool {
    let (mut before, mut is_ascii) = (b' ', true);
    for byte in text.bytes() {
        if (byte, before) == (b'/', b'/') {
            return false;
        }
        // What stands between ASCII's first and last character that is seen needs no table.
        is_ascii &= (b' '..=b'~').contains(&byte);
        before = byte;
    }
    text.starts_with('/') && before != b'/' && (is_ascii || text.chars().all(is_plain))
}

impl TryFrom<String> for ResourceId {
    type Error = ResourceIdError;

    fn try_from(text: String) -> Result<Self, ResourceIdError> {
        text.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> String {
        id.text
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower.cmp(&other.lower)
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: &str =
        "/subscriptions/S-1/resourceGroups/Rg/providers/Microsoft.Compute/virtualMachines/n1";

    #[test]
    fn ids_that_differ_in_case_alone_are_the_same() {
        let one: ResourceId = VM.parse().unwrap();
        let other: ResourceId = VM.replace("/Rg/", "/RG/").parse().unwrap();
        assert_eq!(one, other);
        assert_eq!(one.cmp(&other), Ordering::Equal);
        assert_eq!(std::collections::HashSet::from([one.clone(), other.clone()]).len(), 1);
        assert_ne!(one, VM.replace("n1", "n2").parse().unwrap());
        assert_eq!(other.as_str(), VM.replace("/Rg/", "/RG/"));
    }

    #[test]
    fn the_parts_of_an_id_are_found_without_case() {
        let id: ResourceId = VM.replace("resourceGroups", "resourcegroups").parse().unwrap();
        assert_eq!(id.subscription(), Some("S-1"));
        assert_eq!(id.resource_group(), Some("Rg"));
        assert_eq!(id.kind().as_deref(), Some("microsoft.compute/virtualmachines"));
        assert_eq!(id.name(), "n1");
        let subnet: ResourceId =
            "/subscriptions/s/providers/Microsoft.Network/virtualNetworks/v/subnets/x"
                .parse()
                .unwrap();
        assert_eq!(subnet.kind().as_deref(), Some("microsoft.network/virtualnetworks/subnets"));
        assert_eq!(subnet.name(), "x");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in ["", "/", "n1", "//a", "/a//b", "/a/b/", "/a/b\n", "/a/\u{202e}b", "/a/\u{1b}b"]
        {
            assert!(bad.parse::<ResourceId>().is_err(), "{bad:?}");
        }
    }
}
