//! The activity log: what Azure did by itself, as Microsoft.Insights shows it, some minutes late.
//! Only evictions are in it; simulated ones and disappearances are not (FACTS §7).

use serde_json::{Value, json};

use super::Model;
use super::ids::ResourceId;
use super::message::{Answer, ArmError, Request, Response};
use super::time::{Millis, azure};

/// Entries of one page.
const PAGE: usize = 200;

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    at: Millis,
    vm: ResourceId,
    correlation: String,
}

/// What a filter asks for, as far as Azure knows filters.
#[derive(Default)]
struct Filter {
    from: Option<Millis>,
    until: Option<Millis>,
    group: Option<String>,
    resource: Option<String>,
}

impl Model {
    /// Azure takes a Spot VM.
    pub(super) fn log_eviction(&mut self, vm: &ResourceId) {
        let correlation = self.chance.uuid();
        self.activity.push(Activity { at: self.now, vm: vm.clone(), correlation });
    }

    /// The entries that fit a filter.
    pub(super) fn activity_log(&self, subscription: &str, request: &Request) -> Answer {
        let filter = Filter::read(request.query("$filter").unwrap_or_default())
            .map_err(|text| Box::new(ArmError::new(400, "BadRequest", text)))?;
        let is_visible = |entry: &&Activity| {
            entry.at + self.habits.activity_late_ms <= self.now
                && entry.vm.subscription.eq_ignore_ascii_case(subscription)
                && filter.takes(entry)
        };
        let shown = self.activity.iter().filter(is_visible).take(PAGE);
        let value: Vec<Value> = shown.map(|entry| self.activity_entry(entry)).collect();
        Ok(Response::with_body(200, json!({ "value": value })))
    }

    fn activity_entry(&self, entry: &Activity) -> Value {
        let named = |value: &str| json!({"value": value, "localizedValue": value});
        json!({
            "caller": "Microsoft.Compute",
            "correlationId": entry.correlation,
            "description": "",
            "eventName": named("EndRequest"),
            "category": named("Administrative"),
            "level": "Informational",
            "resourceGroupName": self.reference(&entry.vm).split('/').nth(4),
            "resourceProviderName": named("Microsoft.Compute"),
            "resourceId": self.reference(&entry.vm),
            "resourceType": named("Microsoft.Compute/virtualMachines"),
            "operationName": {
                "value": "Microsoft.Compute/virtualMachines/evictSpotVM/action",
                "localizedValue": "Evict Spot Virtual Machine",
            },
            "status": named("Succeeded"),
            "subStatus": named(""),
            "eventTimestamp": azure(entry.at),
            "submissionTimestamp": azure(entry.at + self.habits.activity_late_ms),
            "subscriptionId": entry.vm.subscription,
        })
    }
}

impl Filter {
    fn read(text: &str) -> Result<Filter, String> {
        let mut filter = Filter::default();
        for clause in text.split(" and ").filter(|clause| !clause.is_empty()) {
            let words: Vec<&str> = clause.splitn(3, ' ').collect();
            let [name, operator, value] = *words else {
                return Err(format!("The filter clause '{clause}' is not supported."));
            };
            let value = value.trim_matches('\'');
            let time = || {
                let time: Option<jiff::Timestamp> = value.parse().ok();
                time.map(jiff::Timestamp::as_millisecond)
                    .ok_or_else(|| format!("'{value}' is not a time."))
            };
            match (name, operator) {
                ("eventTimestamp", "ge") => filter.from = Some(time()?),
                ("eventTimestamp", "le") => filter.until = Some(time()?),
                ("resourceGroupName", "eq") => filter.group = Some(value.to_owned()),
                ("resourceUri", "eq") => filter.resource = Some(value.to_owned()),
                _ => return Err(format!("The filter clause '{clause}' is not supported.")),
            }
        }
        match filter.from {
            Some(_) => Ok(filter),
            None => Err("The filter must begin with eventTimestamp ge '…'.".to_owned()),
        }
    }

    fn takes(&self, entry: &Activity) -> bool {
        self.from.is_none_or(|from| from <= entry.at)
            && self.until.is_none_or(|until| entry.at <= until)
            && self.group.as_ref().is_none_or(|group| group.eq_ignore_ascii_case(&entry.vm.group))
            && self
                .resource
                .as_ref()
                .is_none_or(|id| id.eq_ignore_ascii_case(&entry.vm.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::super::message::{Method, Request};
    use super::super::settings::Spread;
    use super::super::tests::{T0, VERSION, body, model, vm};
    use super::super::time::{MINUTE, SECOND};
    use serde_json::json;

    const LOG: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/providers\
        /Microsoft.Insights/eventtypes/management/values";

    fn log(model: &mut Model, filter: &str, at: i64) -> (u16, usize) {
        let request = Request::new(Method::Get, LOG)
            .with_query("api-version", "2015-04-01")
            .with_query("$filter", filter);
        let answer = model.apply(&request, at);
        let rows =
            answer.body.as_ref().and_then(|body| body["value"].as_array()).map_or(0, Vec::len);
        (answer.status, rows)
    }

    #[test]
    fn an_eviction_is_in_the_log_minutes_later_and_only_for_who_asks_for_it() {
        let mut model = model();
        model.delays.vm_create_ms = Spread::Fixed(0);
        let mut body = body();
        body["properties"]["priority"] = json!("Spot");
        body["properties"]["evictionPolicy"] = json!("Delete");
        let put = Request::new(Method::Put, &vm("n1-a"))
            .with_query("api-version", VERSION)
            .with_body(body);
        assert_eq!(model.apply(&put, T0).status, 201);
        model.run_until(T0 + SECOND);
        model.evict("n1-a", 0).unwrap();
        model.run_until(T0 + 2 * SECOND);
        let since = "eventTimestamp ge '2023-11-14T22:00:00Z'";
        let group = |name: &str| format!("{since} and resourceGroupName eq '{name}'");
        assert_eq!(log(&mut model, &group("hpc"), T0 + 10 * SECOND), (200, 0), "not yet");
        let late = T0 + 4 * MINUTE;
        assert_eq!(log(&mut model, &group("HPC"), late), (200, 1));
        assert_eq!(log(&mut model, &group("net"), late), (200, 0));
        let ended = format!("{since} and eventTimestamp le '2023-11-14T22:00:01Z'");
        assert_eq!(log(&mut model, &ended, late), (200, 0));
        assert_eq!(log(&mut model, "", late).0, 400);
        assert_eq!(log(&mut model, &format!("{since} and caller eq 'x'"), late).0, 400);
    }
}
