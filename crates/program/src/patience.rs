//! Telling a person what is waited for.

use std::io::{IsTerminal as _, stderr};
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// From here on a person at a terminal is told.
const SILENT_MAX: Duration = Duration::from_secs(2);

/// Says what is waited for, to a person at a terminal, if it takes long.
pub async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(SILENT_MAX, &mut work).await {
        return done;
    }
    if stderr().is_terminal() {
        eprintln!("{what} …");
    }
    work.await
}
