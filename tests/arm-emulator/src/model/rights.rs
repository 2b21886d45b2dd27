//! Who may do what: grants at scopes, as role assignments make them, and which actions a call
//! needs. Everybody has the same; at the beginning everything is allowed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Model;
use super::ids::{Kind, ResourceId};
use super::looks::Look;
use super::message::{ArmError, Method, Request};
use super::route::{Regional, Route};

/// What a role assignment allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `/` for everything, else the id of a subscription, group or resource: all below it too.
    pub scope: String,
    /// Actions with `*`.
    pub actions: Vec<String>,
    /// Those of them that are not allowed after all.
    #[serde(default)]
    pub not_actions: Vec<String>,
}

/// All grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// The grants.
    pub grants: Vec<Grant>,
}

impl Default for Rights {
    fn default() -> Rights {
        let everything =
            Grant { scope: "/".to_owned(), actions: vec!["*".to_owned()], not_actions: Vec::new() };
        Rights { grants: vec![everything] }
    }
}

impl Grant {
    fn covers(&self, scope: &str) -> bool {
        let own = self.scope.trim_end_matches('/').to_ascii_lowercase();
        let scope = scope.to_ascii_lowercase();
        scope.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn allows(&self, action: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|pattern| matches(pattern, action));
        has(&self.actions) && !has(&self.not_actions)
    }
}

/// `*` stands for any text. Actions are compared without case.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = action.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl Rights {
    /// What `…/providers/Microsoft.Authorization/permissions` answers for a scope.
    pub fn permissions(&self, scope: &str) -> Value {
        let list: Vec<Value> = self
            .grants
            .iter()
            .filter(|grant| grant.covers(scope))
            .map(|grant| {
                json!({"actions": grant.actions, "notActions": grant.not_actions,
                       "dataActions": [], "notDataActions": []})
            })
            .collect();
        json!({ "value": list })
    }

    fn allows(&self, scope: &str, action: &str) -> bool {
        self.grants.iter().any(|grant| grant.covers(scope) && grant.allows(action))
    }

    fn allows_somewhere(&self, action: &str) -> bool {
        self.grants.iter().any(|grant| grant.allows(action))
    }
}

/// An action and where it is needed.
type Need = (String, String);

impl Model {
    /// Changes who may do what.
    pub fn set_rights(&mut self, rights: Rights) -> Value {
        self.rights = rights;
        json!(self.rights)
    }

    /// Refuses a call whose caller may not make it.
    ///
    /// # Errors
    /// 403, as Resource Manager words it.
    pub(super) fn check_rights(
        &self,
        route: &Route,
        request: &Request,
    ) -> Result<(), Box<ArmError>> {
        if self.rights == Rights::default() {
            return Ok(());
        }
        let Some((scope, action)) = need(route, request.method) else { return Ok(()) };
        let who = format!("The client '{0}' with object id '{0}'", request.principal);
        // The activity log is asked at the subscription for a group: which of the two scopes
        // decides is not known.
        let is_somewhere = matches!(route, Route::ActivityLog(_));
        let is_allowed = self.rights.allows(&scope, &action)
            || (is_somewhere && self.rights.allows_somewhere(&action));
        if !is_allowed {
            let text = format!(
                "{who} does not have authorization to perform action '{action}' over scope \
                 '{scope}' or the scope is invalid. If access was recently granted, please refresh \
                 your credentials."
            );
            return Err(Box::new(ArmError::new(403, "AuthorizationFailed", text)));
        }
        let linked = linked(route, request);
        let lacking = linked.iter().find(|(scope, action)| !self.rights.allows(scope, action));
        lacking.map_or(Ok(()), |(linked, wanted)| {
            let text = format!(
                "{who} has permission to perform action '{action}' on scope '{scope}'; however, it \
                 does not have permission to perform action(s) '{wanted}' on the linked scope(s) \
                 '{linked}' (respectively) or the linked scope(s) are invalid."
            );
            Err(Box::new(ArmError::new(403, "LinkedAuthorizationFailed", text)))
        })
    }
}

fn verb(method: Method) -> &'static str {
    match method {
        Method::Get | Method::Head => "read",
        Method::Put | Method::Patch => "write",
        Method::Post => "action",
        Method::Delete => "delete",
    }
}

/// The action that a call is, and its scope (permissions reference of Microsoft.Compute, .Network,
/// .Resources, .MarketplaceOrdering). `None`: everybody may.
fn need(route: &Route, method: Method) -> Option<Need> {
    let subscription = route.subscription().map(|s| format!("/subscriptions/{s}"));
    let subscription = subscription.unwrap_or_default();
    let group = |group: &str| format!("{subscription}/resourceGroups/{group}");
    let verb = verb(method);
    Some(match route {
        // Resource Graph leaves rows out instead.
        Route::Subscriptions | Route::Subscription(_) | Route::Locations(_) | Route::Graph => {
            return None;
        }
        Route::OperationResult(..) => return None,
        Route::Groups(_) => {
            (subscription, "Microsoft.Resources/subscriptions/resourceGroups/read".to_owned())
        }
        Route::Group(_, name) => {
            (group(name), format!("Microsoft.Resources/subscriptions/resourceGroups/{verb}"))
        }
        Route::AllOf(_, kind) => (subscription, format!("{}/{verb}", kind.full_type())),
        Route::AllIn(_, name, kind) => (group(name), format!("{}/{verb}", kind.full_type())),
        Route::Resource(id) => (id.to_string(), format!("{}/{verb}", id.kind.full_type())),
        Route::Below(id, what) => (id.to_string(), below(id, what, verb)),
        Route::Subnet(vnet, name) => (
            format!("{vnet}/subnets/{name}"),
            format!("Microsoft.Network/virtualNetworks/subnets/{verb}"),
        ),
        Route::InRegion(_, _, Regional::Usages) => {
            (subscription, "Microsoft.Compute/locations/usages/read".to_owned())
        }
        Route::InRegion(_, _, Regional::Vms) => {
            (subscription, "Microsoft.Compute/virtualMachines/read".to_owned())
        }
        Route::Operation(..) => {
            (subscription, "Microsoft.Compute/locations/operations/read".to_owned())
        }
        Route::Skus(_) => (subscription, "Microsoft.Compute/skus/read".to_owned()),
        Route::MarketImage(..) => (subscription, MARKET_IMAGE.to_owned()),
        Route::GalleryImage(id) => {
            (id.clone(), "Microsoft.Compute/galleries/images/versions/read".to_owned())
        }
        Route::ActivityLog(_) => {
            (subscription, "Microsoft.Insights/eventtypes/values/read".to_owned())
        }
        Route::Look(_, look) => of_look(look, subscription),
    })
}

const MARKET_IMAGE: &str =
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read";

fn of_look(look: &Look, subscription: String) -> Need {
    match look {
        // Whether everybody may read his own rights is not known: the stricter is assumed.
        Look::Permissions(scope) => {
            (scope.clone(), "Microsoft.Authorization/permissions/read".to_owned())
        }
        Look::Provider(_) => {
            (subscription, "Microsoft.Resources/subscriptions/providers/read".to_owned())
        }
        Look::Agreement(_) => {
            let action =
                "Microsoft.MarketplaceOrdering/offertypes/publishers/offers/plans/agreements/read";
            (subscription, action.to_owned())
        }
        Look::MarketVersions(_) => (subscription, MARKET_IMAGE.to_owned()),
        Look::GalleryDefinition(id) => {
            (id.clone(), "Microsoft.Compute/galleries/images/read".to_owned())
        }
        Look::GalleryVersions(id) => {
            (id.clone(), "Microsoft.Compute/galleries/images/versions/read".to_owned())
        }
        Look::Shared(shared) => {
            let versions = if shared.version.is_some() { "/versions" } else { "" };
            let kind = shared.type_name();
            (subscription, format!("Microsoft.Compute/locations/{kind}/images{versions}/read"))
        }
    }
}

fn below(id: &ResourceId, what: &str, verb: &str) -> String {
    let kind = id.kind.full_type();
    match (id.kind, verb) {
        (_, "read") => format!("{kind}/{what}/read"),
        (_, _) => format!("{kind}/{what}/action"),
    }
}

/// What a PUT of a VM refers to, and the action that it needs there (FACTS §9).
fn linked(route: &Route, request: &Request) -> Vec<Need> {
    let (Route::Resource(vm), Method::Put) = (route, request.method) else { return Vec::new() };
    if vm.kind != Kind::Vm {
        return Vec::new();
    }
    let group = format!("/subscriptions/{}/resourceGroups/{}", vm.subscription, vm.group);
    let need = |scope: &str, action: &str| (scope.to_owned(), action.to_owned());
    let mut needs = vec![need(&group, "Microsoft.Compute/disks/write")];
    let mut at = |pointer: &str, action: &str| {
        let found = request.body.pointer(pointer).and_then(Value::as_str);
        needs.extend(found.map(|id| need(id, action)));
    };
    at(
        "/properties/capacityReservation/capacityReservationGroup/id",
        "Microsoft.Compute/capacityReservationGroups/deploy/action",
    );
    at("/properties/availabilitySet/id", "Microsoft.Compute/availabilitySets/read");
    if let Some(image) =
        request.body.pointer("/properties/storageProfile/imageReference/id").and_then(Value::as_str)
    {
        let is_gallery = image.to_ascii_lowercase().contains("/galleries/");
        let kind = if is_gallery { "galleries/images/versions" } else { "images" };
        needs.push((image.to_owned(), format!("Microsoft.Compute/{kind}/read")));
    }
    let identities = request.body.pointer("/identity/userAssignedIdentities");
    let identities = identities.and_then(Value::as_object).into_iter().flatten();
    let assign = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";
    needs.extend(identities.map(|(id, _)| need(id, assign)));
    needs.extend(of_nics(&request.body, &group));
    needs
}

fn of_nics(body: &Value, group: &str) -> Vec<Need> {
    let list = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let id = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    };
    let mut needs = Vec::new();
    for nic in list(body, "/properties/networkProfile/networkInterfaceConfigurations") {
        needs.push((group.to_owned(), "Microsoft.Network/networkInterfaces/write".to_owned()));
        needs
            .push((group.to_owned(), "Microsoft.Network/networkInterfaces/join/action".to_owned()));
        let security = id(&nic, "/properties/networkSecurityGroup/id");
        needs.extend(security.map(|security| {
            (security, "Microsoft.Network/networkSecurityGroups/join/action".to_owned())
        }));
        for address in list(&nic, "/properties/ipConfigurations") {
            let subnet = id(&address, "/properties/subnet/id");
            needs.extend(subnet.map(|subnet| {
                (subnet, "Microsoft.Network/virtualNetworks/subnets/join/action".to_owned())
            }));
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_case_does_not_count() {
        assert!(matches("*", "Microsoft.Compute/disks/read"));
        assert!(matches("*/read", "Microsoft.Compute/disks/read"));
        assert!(matches("microsoft.compute/*", "Microsoft.Compute/disks/read"));
        assert!(matches("Microsoft.*/disks/*", "Microsoft.Compute/disks/read"));
        assert!(matches("Microsoft.Compute/disks/read", "microsoft.compute/DISKS/read"));
        assert!(!matches("Microsoft.Compute/disks/read", "Microsoft.Compute/disks/readonly"));
        assert!(!matches("*/write", "Microsoft.Compute/disks/read"));
        assert!(!matches("Microsoft.Compute/virtualMachines/*", "Microsoft.Compute/disks/read"));
    }

    #[test]
    fn a_grant_holds_for_its_scope_and_all_below_it() {
        let grant = |scope: &str| Grant {
            scope: scope.to_owned(),
            actions: vec!["*".to_owned()],
            not_actions: vec!["*/delete".to_owned()],
        };
        assert!(grant("/").covers("/subscriptions/s"));
        assert!(grant("/subscriptions/S").covers("/subscriptions/s/resourceGroups/g"));
        assert!(!grant("/subscriptions/s/resourceGroups/g").covers("/subscriptions/s"));
        assert!(
            !grant("/subscriptions/s/resourceGroups/g")
                .covers("/subscriptions/s/resourceGroups/g2")
        );
        let rights = Rights { grants: vec![grant("/")] };
        assert!(rights.allows("/x", "a/read") && !rights.allows("/x", "a/delete"));
    }
}
