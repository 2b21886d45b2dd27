//! `[cluster]`, `[slurm]`, `[ledger]`, `[log]`, `[sync]`, `[limits]` and `[cloud]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use super::types::{Cloud, CloudName, Daemon, Endpoints, Ledger, Limits, Log, LogLevel, Slurm};
use super::{checks, lines};
use crate::ClusterName;

/// A day at most: what takes longer is no timeout but a hang.
const RESUME_TIMEOUT_SECONDS: RangeInclusive<u64> = 60..=86_400;
/// `scontrol` waits up to MessageTimeout several times; an hour is beyond every sane setting.
const COMMAND_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=3_600;
/// Ten years.
const EVENTS_DAYS: RangeInclusive<u64> = 1..=3_650;
/// A hundred million events are about 20 GB of ledger.
const EVENTS: RangeInclusive<u64> = 1_000..=100_000_000;
/// Passes that follow each other faster drain the bucket of polls of a single VM (12 a minute,
/// FACTS §3.2). A job whose VM was taken waits for a pass, and 10 minutes are long for it.
const INTERVAL_SECONDS: RangeInclusive<u64> = 5..=600;
/// Beyond 1000 open connections ARM's own limits decide, and descriptors run out.
const REQUESTS_IN_FLIGHT: RangeInclusive<u64> = 1..=1_000;
/// ARM itself ends a request after a minute or two.
const REQUEST_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=600;
/// With growing pauses 20 tries already take longer than any ResumeTimeout.
const TRIES: RangeInclusive<u64> = 1..=20;

const SECONDS_PER_DAY: u64 = 86_400;

pub(super) fn cluster(section: &Section<'_>) -> Option<ClusterName> {
    section.needed("name", |text| text.parse().map_err(rule))
}

/// A name's refusal without the name, which the error shows already.
pub(super) fn rule(error: crate::name::NameError) -> String {
    format!("is not a {}: {}", error.what, error.rule)
}

pub(super) fn slurm(section: &Section<'_>) -> Slurm {
    let default = Slurm::default();
    let command_timeout = default.command_timeout.as_secs();
    let resume_timeout = default.resume_timeout.as_secs();
    Slurm {
        bin_dir: section.path("bin_dir").unwrap_or(default.bin_dir),
        conf: section.path("conf"),
        command_timeout: section.seconds(
            "command_timeout_seconds",
            command_timeout,
            COMMAND_TIMEOUT_SECONDS,
        ),
        resume_timeout: section.seconds(
            "resume_timeout_seconds",
            resume_timeout,
            RESUME_TIMEOUT_SECONDS,
        ),
        controller: section.checked("controller", checks::host_name).unwrap_or_default(),
        topology: lines::topology(section),
    }
}

pub(super) fn ledger(section: &Section<'_>) -> Ledger {
    let days = section.number("events_days", EVENTS_DAYS).unwrap_or(90);
    Ledger {
        path: section.path_or("path", "/var/lib/azslurm/ledger.db"),
        events_age_max: Duration::from_secs(days * SECONDS_PER_DAY),
        events_max: section.number("events_max", EVENTS).unwrap_or(1_000_000),
    }
}

pub(super) fn log(section: &Section<'_>) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    Log {
        level: section.choice("level", &levels).unwrap_or(LogLevel::Info),
        file: section.path("file"),
    }
}

pub(super) fn sync(section: &Section<'_>) -> Daemon {
    Daemon { interval: section.seconds("interval_seconds", 30, INTERVAL_SECONDS) }
}

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let in_flight = section.number("requests_in_flight", REQUESTS_IN_FLIGHT).unwrap_or(64);
    let tries = section.number("tries", TRIES).unwrap_or(5);
    Limits {
        requests_in_flight: usize::try_from(in_flight).expect("at most 1000"),
        request_timeout: section.seconds("request_timeout_seconds", 60, REQUEST_TIMEOUT_SECONDS),
        tries: u32::try_from(tries).expect("at most 20"),
    }
}

/// The keys of `[cloud]` that name endpoints, for `name = "custom"` alone.
const ENDPOINT_KEYS: [&str; 6] =
    ["authority", "resource_manager", "resource_graph", "imds", "audience", "prices"];

pub(super) fn cloud(section: &Section<'_>) -> Option<Cloud> {
    let names = [
        ("public", CloudName::Public),
        ("usgov", CloudName::UsGov),
        ("china", CloudName::China),
        ("custom", CloudName::Custom),
    ];
    let name = match section.has("name") {
        true => section.choice("name", &names),
        false => Some(CloudName::Public),
    };
    let ca_bundle = section.path("ca_bundle");
    let endpoints = match name? {
        CloudName::Custom => custom_endpoints(section),
        known @ (CloudName::Public | CloudName::UsGov | CloudName::China) => {
            for key in ENDPOINT_KEYS.into_iter().filter(|key| section.has(key)) {
                section.fault(key, "is for name = \"custom\" only: the other clouds' are known");
            }
            known_endpoints(known)
        }
    };
    Some(Cloud { name: name?, endpoints: endpoints?, ca_bundle })
}

fn custom_endpoints(section: &Section<'_>) -> Option<Endpoints> {
    let authority = section.needed("authority", checks::endpoint);
    let resource_manager = section.needed("resource_manager", checks::endpoint);
    let resource_graph = section.needed("resource_graph", checks::endpoint);
    let imds = section.needed("imds", checks::endpoint);
    let audience = match section.has("audience") {
        true => section.checked("audience", checks::endpoint),
        false => resource_manager.clone(),
    };
    let prices = match section.has("prices") {
        true => Some(section.checked("prices", checks::endpoint)?),
        false => None,
    };
    Some(Endpoints {
        authority: authority?,
        resource_manager: resource_manager?,
        audience: audience?,
        resource_graph: resource_graph?,
        imds: imds?,
        prices,
    })
}

/// The endpoints of Azure's own clouds (`Azure/go-autorest`, `autorest/azure/environments.go`);
/// `None` for a custom one. IMDS is the same link-local address in all of them.
fn known_endpoints(name: CloudName) -> Option<Endpoints> {
    let (authority, resource_manager, prices) = match name {
        CloudName::Public => (
            "https://login.microsoftonline.com",
            "https://management.azure.com",
            Some("https://prices.azure.com"),
        ),
        CloudName::UsGov => {
            ("https://login.microsoftonline.us", "https://management.usgovcloudapi.net", None)
        }
        CloudName::China => {
            ("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn", None)
        }
        CloudName::Custom => return None,
    };
    Some(Endpoints {
        authority: authority.to_owned(),
        resource_manager: resource_manager.to_owned(),
        audience: resource_manager.to_owned(),
        resource_graph: resource_manager.to_owned(),
        imds: "http://169.254.169.254".to_owned(),
        prices: prices.map(str::to_owned),
    })
}
