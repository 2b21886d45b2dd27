//! What every program does around its work: finding and judging the config file, logs, clients,
//! staying known as alive, starting a driver, exit codes. It must hold no behaviour: what a program
//! does is in its own crate.

pub mod alive;
pub mod asked;
pub mod check;
pub mod clients;
pub mod clock;
pub mod config_file;
pub mod driver;
pub mod errands;
pub mod exit;
pub mod facts;
pub mod holds;
pub mod logs;
pub mod memory;
mod no_name_service;
pub mod patience;
pub mod session;
pub mod sight;
pub mod texts;
pub mod throttles;
pub mod view;

pub use clients::Clients;
pub use clock::now;
pub use config_file::{ConfigFileError, Loaded};
pub use patience::patiently;
pub use session::Session;
