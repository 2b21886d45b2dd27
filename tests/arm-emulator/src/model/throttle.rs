//! Rate limits: the token buckets of Resource Manager's front door and of the compute, network and
//! Resource Graph providers, with the headers that show them (FACTS §3). Buckets are always kept
//! and shown; they refuse only while enforcement is on. Must never: know what a call does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::message::{ArmError, Response};
use super::time::{self, MINUTE, Millis};

/// Share of a bucket by which calls during a throttle can push it below zero: continuing to call
/// extends the penalty (FACTS §3.2), but not for ever.
const PENALTY_SHARE: f64 = 0.1;

/// Buckets kept at once; full ones are forgotten beyond it, which changes nothing.
const BUCKETS_MAX: usize = 20_000;

/// Size of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Most that can be saved up.
    pub max: f64,
    /// What comes back per second.
    pub refill_per_s: f64,
}

const fn per_second(max: f64, refill_per_s: f64) -> Size {
    Size { max, refill_per_s }
}

fn per_minute(refill: f64, max: f64) -> Size {
    Size { max, refill_per_s: refill / 60.0 }
}

/// All sizes, and whether they are enforced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether calls over a limit are refused.
    pub enforce: bool,
    /// Front door, per principal and subscription.
    pub arm_reads: Size,
    /// Front door, per principal and subscription.
    pub arm_writes: Size,
    /// Front door, per principal and subscription.
    pub arm_deletes: Size,
    /// All principals of a subscription together have this many times as much.
    pub arm_global_factor: f64,
    /// Compute buckets by name, per subscription and region.
    pub compute: BTreeMap<String, Size>,
    /// Compute buckets by name, per VM.
    pub compute_per_vm: BTreeMap<String, Size>,
    /// Network writes, per subscription and region.
    pub network_writes: Size,
    /// Network reads, per subscription and region.
    pub network_reads: Size,
    /// Resource Graph queries, per principal.
    pub graph: Size,
}

impl Default for Limits {
    fn default() -> Limits {
        let table = |rows: &[(&str, f64, f64)]| {
            let row = |(name, refill, max): &(&str, f64, f64)| {
                ((*name).to_owned(), per_minute(*refill, *max))
            };
            rows.iter().map(row).collect()
        };
        Limits {
            enforce: true,
            arm_reads: per_second(250.0, 25.0),
            arm_writes: per_second(200.0, 10.0),
            arm_deletes: per_second(200.0, 10.0),
            arm_global_factor: 15.0,
            compute: table(&[
                ("PutVM", 500.0, 1500.0),
                ("UpdateVM", 500.0, 1500.0),
                ("DeleteVM", 500.0, 1500.0),
                ("LowCostGet", 8000.0, 24_000.0),
                ("HighCostGet", 300.0, 900.0),
                ("GetOperation", 5000.0, 15_000.0),
                // 100 per 3 min, 500 per 30 min: the slower of the two rules the refill.
                ("PutDeletePPG", 500.0 / 30.0, 100.0),
            ]),
            compute_per_vm: table(&[
                ("PutVM", 4.0, 12.0),
                ("UpdateVM", 4.0, 12.0),
                ("DeleteVM", 4.0, 12.0),
                ("LowCostGet", 12.0, 36.0),
                ("GetOperation", 15.0, 45.0),
            ]),
            // 1000 writes and 10,000 reads per five minutes.
            network_writes: per_minute(200.0, 1000.0),
            network_reads: per_minute(2000.0, 10_000.0),
            // 15 per five seconds.
            graph: per_second(15.0, 3.0),
        }
    }
}

/// Which front-door bucket a call drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// GET and HEAD.
    Reads,
    /// PUT, PATCH and POST.
    Writes,
    /// DELETE.
    Deletes,
}

impl Door {
    fn word(self) -> &'static str {
        match self {
            Door::Reads => "reads",
            Door::Writes => "writes",
            Door::Deletes => "deletes",
        }
    }
}

/// Which provider bucket a call drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// None of its own.
    None,
    /// A compute bucket, with the VM when the call is about one. A listing of a whole
    /// subscription is charged but not shown (FACTS §1.2).
    Compute {
        /// Bucket.
        bucket: &'static str,
        /// VM, if it is about one.
        vm: Option<String>,
        /// Whether the header shows it.
        shown: bool,
    },
    /// Network writes or reads.
    Network {
        /// A write?
        writes: bool,
    },
    /// Resource Graph.
    Graph,
}

/// What a call costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// Who asks.
    pub principal: &'a str,
    /// Subscription, if the path has one.
    pub subscription: &'a str,
    /// Region of the resource.
    pub region: String,
    /// Front-door bucket.
    pub door: Door,
    /// Provider bucket.
    pub provider: Provider,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Millis,
    max: f64,
}

/// The buckets.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    /// Sizes in force.
    pub limits: Limits,
    buckets: BTreeMap<String, Bucket>,
}

/// Headers for an answer, in order.
pub type Headers = Vec<(String, String)>;

impl Throttle {
    /// Buckets of these sizes, all full.
    pub fn new(limits: Limits) -> Throttle {
        Throttle { limits, buckets: BTreeMap::new() }
    }

    /// Changes the sizes; all buckets are full again.
    pub fn resize(&mut self, limits: Limits) {
        *self = Throttle::new(limits);
    }

    /// Charges a call: the headers for its answer, or the refusal.
    ///
    /// # Errors
    /// 429 in the shape of the bucket that is empty.
    pub fn charge(&mut self, charge: &Charge, now: Millis) -> Result<Headers, Box<ArmError>> {
        let mut headers = self.charge_door(charge, now)?;
        match &charge.provider {
            Provider::None => {}
            Provider::Compute { bucket, vm, shown } => {
                let place = format!("{}/{}", charge.subscription, charge.region);
                let left = self.charge_compute(bucket, &place, vm.as_deref(), now)?;
                if *shown {
                    headers.push(("x-ms-ratelimit-remaining-resource".to_owned(), left));
                }
            }
            Provider::Network { writes } => {
                let size =
                    if *writes { self.limits.network_writes } else { self.limits.network_reads };
                let name = format!("network {writes} {}/{}", charge.subscription, charge.region);
                self.take(&name, size, now).map_err(|wait| {
                    let text = format!("The request was throttled. Retry after {wait} seconds.");
                    refusal("TooManyRequests", text, wait)
                })?;
            }
            Provider::Graph => headers.extend(self.charge_graph(charge.principal, now)?),
        }
        Ok(headers)
    }

    fn charge_door(&mut self, charge: &Charge, now: Millis) -> Result<Headers, Box<ArmError>> {
        let size = match charge.door {
            Door::Reads => self.limits.arm_reads,
            Door::Writes => self.limits.arm_writes,
            Door::Deletes => self.limits.arm_deletes,
        };
        let factor = self.limits.arm_global_factor;
        let global = Size { max: size.max * factor, refill_per_s: size.refill_per_s * factor };
        let word = charge.door.word();
        let own = format!("arm {word} {} {}", charge.subscription, charge.principal);
        let refused = |wait: u32| {
            let text = format!(
                "Number of '{word}' requests for subscription '{}' actor '{}' exceeded. Please \
                 try again after '{wait}' seconds after additional tokens are available. Refer to \
                 https://aka.ms/arm-throttling for additional information.",
                charge.subscription, charge.principal
            );
            refusal("SubscriptionRequestsThrottled", text, wait)
        };
        let left = self.take(&own, size, now).map_err(refused)?;
        let shared = format!("arm {word} {}", charge.subscription);
        let left_global = self.take(&shared, global, now).map_err(refused)?;
        let scope = if charge.subscription.is_empty() { "tenant" } else { "subscription" };
        Ok(vec![
            (format!("x-ms-ratelimit-remaining-{scope}-{word}"), left.to_string()),
            (format!("x-ms-ratelimit-remaining-{scope}-global-{word}"), left_global.to_string()),
        ])
    }

    fn charge_compute(
        &mut self,
        bucket: &str,
        place: &str,
        vm: Option<&str>,
        now: Millis,
    ) -> Result<String, Box<ArmError>> {
        let mut shown = Vec::new();
        if let Some(size) = self.limits.compute.get(bucket).copied() {
            let name = format!("compute {bucket} {place}");
            let full = format!("{bucket}SubscriptionMaximum");
            let left = self
                .take(&name, size, now)
                .map_err(|wait| compute_refusal(&full, size, (now, wait)))?;
            shown.push(format!("Microsoft.Compute/{full};{left}"));
        }
        if let (Some(vm), Some(size)) = (vm, self.limits.compute_per_vm.get(bucket).copied()) {
            let name = format!("vm {bucket} {vm}");
            let full = format!("{bucket}Resource");
            let left = self
                .take(&name, size, now)
                .map_err(|wait| compute_refusal(&full, size, (now, wait)))?;
            shown.push(format!("Microsoft.Compute/{full};{left}"));
        }
        Ok(shown.join(","))
    }

    fn charge_graph(&mut self, principal: &str, now: Millis) -> Result<Headers, Box<ArmError>> {
        let size = self.limits.graph;
        let left = self.take(&format!("graph {principal}"), size, now).map_err(|wait| {
            let text = "Client application has been throttled and should not attempt to repeat \
                        the request until an amount of time has elapsed. Please see \
                        https://aka.ms/resourcegraph-throttling for help.";
            refusal("RateLimiting", text.to_owned(), wait)
        })?;
        Ok(vec![
            ("x-ms-user-quota-remaining".to_owned(), left.to_string()),
            ("x-ms-user-quota-resets-after".to_owned(), "00:00:05".to_owned()),
        ])
    }

    /// Takes one token: what is left, or the seconds until there is one again.
    fn take(&mut self, name: &str, size: Size, now: Millis) -> Result<u64, u32> {
        if self.buckets.len() > BUCKETS_MAX {
            self.buckets.retain(|_, bucket| bucket.tokens < bucket.max - 0.5);
        }
        let enforce = self.limits.enforce;
        let fresh = Bucket { tokens: size.max, at: now, max: size.max };
        let bucket = self.buckets.entry(name.to_owned()).or_insert(fresh);
        let gained = (now - bucket.at).max(0) as f64 / 1000.0 * size.refill_per_s;
        bucket.tokens = (bucket.tokens + gained).min(size.max);
        bucket.at = now.max(bucket.at);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(bucket.tokens as u64);
        }
        if !enforce {
            return Ok(0);
        }
        bucket.tokens = (bucket.tokens - 1.0).max(-(size.max * PENALTY_SHARE));
        let wait = (1.0 - bucket.tokens) / size.refill_per_s.max(1e-6);
        Err(wait.ceil().min(f64::from(u32::MAX)) as u32)
    }
}

fn refusal(code: &str, text: String, wait: u32) -> Box<ArmError> {
    let mut error = ArmError::new(429, code, text);
    error.retry_after_s = Some(wait);
    Box::new(error)
}

/// Compute's own shape: the code says quota, a detail says throttle, its message is JSON text.
fn compute_refusal(bucket: &str, size: Size, (now, wait): (Millis, u32)) -> Box<ArmError> {
    let numbers = json!({
        "operationGroup": bucket,
        "startTime": time::azure(now),
        "endTime": time::azure(now + MINUTE),
        "allowedRequestCount": size.max as u64,
        "measuredRequestCount": size.max as u64 + 1,
    });
    let text = "The server rejected the request because too many requests have been received for \
                this subscription.";
    let mut error = ArmError::new(429, "OperationNotAllowed", text);
    error.details = vec![ArmError::new(429, "TooManyRequests", numbers.to_string()).target(bucket)];
    error.retry_after_s = Some(wait);
    error.is_bare = true;
    Box::new(error)
}

/// Puts rate-limit headers on an answer.
pub fn put_on(response: &mut Response, headers: Headers) {
    response.headers.extend(headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(provider: Provider) -> Charge<'static> {
        Charge {
            principal: "p",
            subscription: "s",
            region: "westeurope".to_owned(),
            door: Door::Writes,
            provider,
        }
    }

    fn put_vm(vm: &str) -> Provider {
        Provider::Compute { bucket: "PutVM", vm: Some(vm.to_owned()), shown: true }
    }

    #[test]
    fn two_hundred_writes_at_once_then_ten_a_second() {
        let mut throttle = Throttle::new(Limits::default());
        for n in 0..200 {
            let headers = throttle.charge(&charge(put_vm(&n.to_string())), 0).unwrap();
            if n == 0 {
                assert_eq!(headers[0].1, "199");
                assert_eq!(headers[1].1, "2999");
                assert_eq!(
                    headers[2].1,
                    "Microsoft.Compute/PutVMSubscriptionMaximum;1499,\
                     Microsoft.Compute/PutVMResource;11"
                );
            }
        }
        let error = throttle.charge(&charge(put_vm("x")), 0).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (429, "SubscriptionRequestsThrottled"));
        assert!(error.message.contains(&format!("'{}'", error.retry_after_s.unwrap())));
        throttle.charge(&charge(put_vm("x")), 1000).unwrap();
    }

    #[test]
    fn compute_throttles_in_its_own_shape_and_calling_on_extends_it() {
        let mut throttle = Throttle::new(Limits::default());
        for _ in 0..12 {
            throttle.charge(&charge(put_vm("one")), 0).unwrap();
        }
        let error = throttle.charge(&charge(put_vm("one")), 0).unwrap_err();
        let body = error.to_response().body.unwrap();
        assert_eq!(body["code"], "OperationNotAllowed");
        assert_eq!(body["details"][0]["code"], "TooManyRequests");
        assert_eq!(body["details"][0]["target"], "PutVMResource");
        let again = throttle.charge(&charge(put_vm("one")), 0).unwrap_err();
        assert!(again.retry_after_s >= error.retry_after_s);
    }

    #[test]
    fn without_enforcement_the_headers_stay_and_nothing_is_refused() {
        let mut throttle = Throttle::new(Limits { enforce: false, ..Limits::default() });
        for _ in 0..300 {
            throttle.charge(&charge(put_vm("one")), 0).unwrap();
        }
    }
}
