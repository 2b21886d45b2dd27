//! How much memory the longest answer takes. It has a process of its own, because what is measured
//! is the process.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use std::time::Duration;

use azslurm_azure::Answer;
use azslurm_core::config::{Limits, Region};
use fake::{Do, Fake, limits};

/// Twice the length that was seen (FACTS §10).
const LENGTH: usize = 40_000_000;
const ROW_LENGTH: usize = 4_000;
/// The answer's text, once more for growing buffers, and a row. All of it as values takes several
/// times its length.
const PEAK_MAX: usize = 2 * LENGTH + 20_000_000;

/// A row of that length, in many small members, as a size has them.
fn row(number: usize) -> String {
    let mut row = format!(
        "{{\"resourceType\":\"virtualMachines\",\"name\":\"Standard_X{number}\",\"family\":\"f\",\
         \"capabilities\":[{{\"name\":\"vCPUs\",\"value\":\"{}\"}}",
        number % 100 + 1
    );
    while row.len() < ROW_LENGTH - 40 {
        row.push_str(",{\"name\":\"Capability\",\"value\":\"1\"}");
    }
    row + "]}"
}

/// A line of `/proc/self/status` in bytes.
fn memory(what: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().unwrap();
    Some(kilobytes * 1024)
}

#[tokio::test]
async fn the_longest_answer_is_not_held_as_values() {
    let azure = Fake::start().await;
    let count = LENGTH / ROW_LENGTH;
    azure.next([Do::Rows(count, row)]);
    let arm = azure.arm_with(Limits { request_timeout: Duration::from_secs(600), ..limits() });
    let before = memory("VmRSS");
    let reply = arm.sku_facts("S-1", &Region::new("westeurope").unwrap()).await.unwrap();
    let Answer::Done(sizes) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(sizes.len(), count);
    assert!(sizes.values().all(|facts| (1..=100).contains(&facts.vcpus)));
    let (Some(before), Some(peak)) = (before, memory("VmHWM")) else {
        println!("skipped: this system does not tell a process's memory");
        return;
    };
    let taken = peak.saturating_sub(before);
    println!("{taken} bytes for an answer of about {LENGTH}");
    assert!(taken < PEAK_MAX, "{taken} bytes");
}
