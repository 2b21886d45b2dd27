//! Azure Resource Manager over HTTPS: the calls that azslurm makes, what they answer, and nothing
//! of Slurm.
//!
//! ```text
//! Arm (arm.rs, list.rs, graph.rs, placement.rs, parts.rs, facts.rs, probe.rs, look.rs,
//!  │   network.rs, image.rs, permission.rs)          price.rs, imds.rs: without a token
//!  │  └──► route.rs: URLs ──► client.rs: the only place that sends ──► Azure
//!  │                           │ gate.rs, bucket.rs: who may send now
//!  │ body.rs: what we write    │ token.rs ◄ credential.rs, certificate.rs: who we are
//!  └ read.rs, page.rs, row.rs, └ wire.rs ◄ transport.rs, dns.rs: connections
//!    refusal.rs, header.rs:
//!    what we read, tolerantly; from_bytes.rs: the same of answers that were kept
//! ```
//!
//! Bodies that we write are made of the models of `azure_mgmt_compute`, kept behind `body.rs`; its
//! client is never used. All that we read has small types of our own: an odd row costs that row and
//! never the listing. This crate must never know a Slurm word, decide what is to be done, or keep
//! anything beyond the process.

mod activity;
mod answer;
mod arm;
mod body;
mod bucket;
mod certificate;
mod client;
mod credential;
mod dns;
mod error;
mod facts;
pub mod from_bytes;
mod gate;
mod graph;
mod header;
mod id;
mod image;
mod imds;
mod list;
mod look;
mod network;
mod page;
mod parts;
mod permission;
mod placement;
mod price;
mod probe;
mod random;
mod read;
mod refusal;
mod route;
mod row;
mod scheduled;
mod token;
mod transport;
mod vm;
mod wire;

// Named for its version alone (Cargo.toml): the `url` crate calls it.
use idna_adapter as _;

pub use activity::Activity;
pub use answer::{Answer, Calls, Listing, OperationState, RateLimits, Refusal, Reply, Started};
pub use arm::{Arm, Place};
pub use body::{VmBody, VmDraft};
pub use bucket::{Bucket, Door, Provider};
pub use client::SentMark;
pub use error::{AzureError, Cause};
pub use gate::{Closure, Hunger};
pub use id::{ResourceId, ResourceIdError};
pub use image::{ImageSeen, ImageWanted};
pub use imds::{Imds, ImdsError};
pub use look::{Reservation, ResourceGroup, is_region};
pub use network::{Network, Peering, SecurityRule, Subnet, SubnetUse};
pub use permission::Permission;
pub use placement::{GroupSpec, Placement, SetSpec, group_id, set_id, vm_id};
pub use price::{Price, Prices, price_of};
pub use probe::Probe;
pub use scheduled::Scheduled;
pub use vm::{Leftover, PartKind, ProvisioningState, Vm, VmPower, VmRow, VmStatus};
pub use wire::{Carried, Raw, Wire};

/// The longest text of Azure that we keep, in characters: enough for any message seen, and small
/// enough for a log line and a ledger row.
pub const TEXT_LENGTH_MAX: usize = 2000;

/// How we name ourselves to Azure.
const USER_AGENT: &str = concat!("azslurm/", env!("CARGO_PKG_VERSION"));
