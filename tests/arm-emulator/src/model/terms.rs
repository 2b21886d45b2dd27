//! What a subscription has agreed to: registrations of providers and terms of purchase plans; and
//! the answers to looks.

use serde_json::json;

use super::Model;
use super::dispatch::{method_not_allowed, only_get};
use super::looks::Look;
use super::message::{Answer, ArmError, Method, Request, Response};
use super::route::Route;

impl Model {
    /// Answers a look.
    pub(super) fn look(&mut self, subscription: &str, look: &Look, request: &Request) -> Answer {
        if let Look::Agreement(plan) = look {
            return self.agreement(subscription, plan, request);
        }
        only_get(request)?;
        match look {
            Look::Permissions(scope) => {
                Ok(Response::with_body(200, self.rights.permissions(scope)))
            }
            Look::Provider(namespace) => Ok(self.provider(subscription, namespace)),
            Look::Agreement(_) => Err(method_not_allowed(request)),
            Look::MarketVersions(image) => self.market_versions(image),
            Look::GalleryDefinition(id) => self.gallery_definition(id),
            Look::GalleryVersions(id) => self.gallery_versions(id),
            Look::Shared(shared) => self.shared_image(shared),
        }
    }

    fn is_registered(&self, namespace: &str) -> bool {
        let missing = &self.offers.unregistered_providers;
        !missing.iter().any(|one| one.eq_ignore_ascii_case(namespace))
    }

    fn provider(&self, subscription: &str, namespace: &str) -> Response {
        let state = if self.is_registered(namespace) { "Registered" } else { "NotRegistered" };
        Response::with_body(
            200,
            json!({"id": format!("/subscriptions/{subscription}/providers/{namespace}"),
                "namespace": namespace, "registrationPolicy": "RegistrationRequired",
                "registrationState": state, "resourceTypes": []}),
        )
    }

    /// Nothing is made by a provider that the subscription is not registered for.
    ///
    /// # Errors
    /// 409, as Resource Manager words it.
    pub(super) fn check_registered(
        &self,
        route: &Route,
        request: &Request,
    ) -> Result<(), Box<ArmError>> {
        let (Route::Resource(id), Method::Put) = (route, request.method) else { return Ok(()) };
        let namespace = id.kind.provider();
        if self.is_registered(namespace) {
            return Ok(());
        }
        let text = format!(
            "The subscription is not registered to use namespace '{namespace}'. See \
             https://aka.ms/rps-not-found for how to register subscriptions."
        );
        Err(Box::new(ArmError::new(409, "MissingSubscriptionRegistration", text)))
    }

    /// Whether the terms of a plan (`publisher:product:name`) are accepted.
    pub(super) fn is_accepted(&self, plan: &str) -> bool {
        let plan = plan.to_ascii_lowercase();
        let open = &self.offers.unaccepted_plans;
        !open.iter().any(|part| plan.contains(&part.to_ascii_lowercase()))
    }

    /// GET shows the terms; PUT accepts them, as `az vm image terms accept` does.
    fn agreement(&mut self, subscription: &str, plan: &[String; 3], request: &Request) -> Answer {
        let name = plan.join(":");
        if request.method == Method::Put {
            let accepts = request.body.pointer("/properties/accepted") == Some(&json!(true));
            let lower = name.to_ascii_lowercase();
            let is_this = |part: &String| lower.contains(&part.to_ascii_lowercase());
            self.offers.unaccepted_plans.retain(|part| !(accepts && is_this(part)));
        } else {
            only_get(request)?;
        }
        let [publisher, product, plan] = plan;
        Ok(Response::with_body(
            200,
            json!({
                "id": format!(
                    "/subscriptions/{subscription}/providers/Microsoft.MarketplaceOrdering\
                     /offerTypes/VirtualMachine/publishers/{publisher}/offers/{product}\
                     /plans/{plan}/agreements/current"
                ),
                "name": plan,
                "type": "Microsoft.MarketplaceOrdering/offertypes",
                "properties": {"publisher": publisher, "product": product, "plan": plan,
                    "signature": "emulated", "accepted": self.is_accepted(&name)},
            }),
        ))
    }
}
