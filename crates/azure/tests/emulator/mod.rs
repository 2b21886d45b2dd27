//! The emulator of Resource Manager, in this process and over HTTP, with a client for it.

use std::time::Duration;

use azslurm_arm_emulator::model::config::SUBSCRIPTION;
use azslurm_arm_emulator::{Emulator, Options};
use azslurm_azure::{Arm, Place};
use azslurm_core::config::{
    Cloud, CloudName, Credential, Endpoints, Limits, ManagedIdentity, Region,
};

/// An emulator whose operations are polled at once and that limits no rates.
pub fn start() -> (Emulator, Arm) {
    let mut options = Options::default();
    options.config.delays.retry_after_s = None;
    options.config.delays.first_poll_retry_after_s = None;
    options.config.throttle.enforce = false;
    let emulator = Emulator::start(options).unwrap();
    let cloud = cloud(&emulator);
    let credential = Credential::ManagedIdentity(ManagedIdentity::System);
    let arm = Arm::new(&cloud, &credential, &limits()).unwrap();
    (emulator, arm)
}

/// The emulator as a cloud.
pub fn cloud(emulator: &Emulator) -> Cloud {
    let urls = emulator.urls();
    Cloud {
        name: CloudName::Custom,
        endpoints: Endpoints {
            authority: urls.authority.clone(),
            resource_manager: urls.arm_http.clone(),
            audience: "https://management.azure.com".to_owned(),
            resource_graph: urls.resource_graph.clone(),
            prices: Some(urls.prices.clone()),
            imds: urls.imds.clone(),
        },
        ca_bundle: None,
    }
}

/// Little patience.
pub fn limits() -> Limits {
    Limits { requests_in_flight: 8, request_timeout: Duration::from_secs(30), tries: 3 }
}

/// A group that the emulator has from the beginning.
pub fn place() -> Place {
    Place { subscription: SUBSCRIPTION.to_owned(), resource_group: "hpc".to_owned(), region: None }
}

/// Where it is.
pub fn region() -> Region {
    Region::new("westeurope").unwrap()
}
