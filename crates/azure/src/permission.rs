//! What the caller may do at a scope, as Azure says it of itself.

use serde_json::Value;

use crate::arm::Arm;
use crate::look::look;
use crate::read::texts;
use crate::{AzureError, Reply};

/// Microsoft.Authorization/permissions.
const VERSION: &str = "2022-04-01";

/// What one role assignment allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permission {
    /// Actions; `*` stands for any text.
    pub actions: Vec<String>,
    /// Those of them that this assignment does not allow after all; another may.
    pub not_actions: Vec<String>,
}

impl Permission {
    /// Whether it allows an action.
    pub fn allows(&self, action: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|pattern| is_like(pattern, action));
        has(&self.actions) && !has(&self.not_actions)
    }
}

impl Arm {
    /// What this credential may do at a scope: `/subscriptions/…`, a resource group or a resource.
    /// Rights of the scopes above are in it.
    ///
    /// # Errors
    /// It could not be read to its end: nothing is known.
    pub async fn permissions(&self, scope: &str) -> Result<Reply<Vec<Permission>>, AzureError> {
        let below = ["providers", "Microsoft.Authorization", "permissions"];
        let url = self.routes().below(scope, &below, VERSION)?;
        let call = look(url, format!("read what may be done at {scope}"));
        self.all_rows(call, |row| Ok(Some(permission(row)))).await
    }
}

fn permission(row: &Value) -> Permission {
    Permission {
        actions: texts(row.pointer("/actions")),
        not_actions: texts(row.pointer("/notActions")),
    }
}

/// Whether an action is one of those that a pattern stands for. Azure compares without case.
fn is_like(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == action };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = action.strip_prefix(first).and_then(|inner| inner.strip_suffix(last));
    let Some(mut inner) = inner else { return false };
    for part in middle.split('*') {
        let Some(at) = inner.find(part) else { return false };
        inner = &inner[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_like_its_patterns_and_no_others() {
        let action = "Microsoft.Compute/virtualMachines/write";
        for pattern in [
            "*",
            "**",
            "*/write",
            "Microsoft.Compute/*",
            "Microsoft.*/virtualMachines/*",
            "*/virtualmachines/*",
            "microsoft.compute/VIRTUALMACHINES/write",
            "Microsoft.Compute/virtualMachines/write*",
        ] {
            assert!(is_like(pattern, action), "{pattern}");
        }
        for pattern in [
            "",
            "*/read",
            "Microsoft.Network/*",
            "Microsoft.Compute/virtualMachines",
            "Microsoft.Compute/virtualMachines/write/*",
            "*/disks/*",
            "Microsoft.Compute/virtualMachines/write*write",
        ] {
            assert!(!is_like(pattern, action), "{pattern}");
        }
    }

    #[test]
    fn what_one_assignment_takes_back_another_may_give() {
        let of = |actions: &[&str], not: &[&str]| Permission {
            actions: actions.iter().map(|text| (*text).to_owned()).collect(),
            not_actions: not.iter().map(|text| (*text).to_owned()).collect(),
        };
        let contributor = of(&["*"], &["Microsoft.Authorization/*/write"]);
        assert!(contributor.allows("Microsoft.Compute/disks/write"));
        assert!(!contributor.allows("Microsoft.Authorization/roleAssignments/write"));
        assert!(of(&["*/write"], &[]).allows("Microsoft.Authorization/roleAssignments/write"));
    }
}
