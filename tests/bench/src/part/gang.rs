//! A gang that Azure refuses: how soon it begins in the next site.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Bench;
use crate::bed::{Bed, KEY, SUBSCRIPTION, Wanted, at};
use crate::measure;
use crate::row::Row;

const NODES: u32 = 64;
const SKU: &str = "Standard_HB120rs_v3";
const TIME_MAX_MS: f64 = 1000.0;
const CALLS_MAX: f64 = 10.0;

/// One row.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/net-north");
    let more = format!(
        "[site.north]\nsubscription = \"{SUBSCRIPTION}\"\nregion = \"northeurope\"\n\
         resource_group = \"hpc-north\"\nsubnet = \"{group}/providers/Microsoft.Network/\
         virtualNetworks/vnet/subnets/compute\"\n[nodeset.hb]\nnodes = \"hb[1-{NODES}]\"\n\
         sites = [\"west\", \"north\"]\nspill = \"next-site\"\nsku = \"{SKU}\"\n\
         interconnect = \"infiniband\"\nblock_nodes = {NODES}\n\
         image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key = \"{KEY}\"\n"
    );
    let bed = Bed::warm(bench.programs, &Wanted { more, ..Wanted::nodes(10) })?;
    bed.emulator.set_capacity("westeurope", SKU, Some(0))?;
    let since = bed.log_length()?;
    let nodes = format!("hb[1-{NODES}]");
    let job = json!({ "job_id": 7, "nodes_resume": nodes, "nodes_alloc": nodes });
    let file = bed.path().join("resume.json");
    fs::write(&file, json!({ "all_nodes_resume": nodes, "jobs": [job] }).to_string())?;
    let mut command = bed.command("azslurm-resume", &[&nodes])?;
    command.env("SLURM_RESUME_FILE", &file);
    let mut row = Row::new("gang, next site", u64::from(NODES));
    row.cost = Some(measure::run(command)?);
    row.calls = Some(bed.emulator.calls()?.total);
    let log = bed.log_since(since)?;
    let is_north = |call: &Value| path(call).contains("/hpc-north/") && is_vm(call);
    let first = log.iter().position(is_north).context("no PUT in the next site")?;
    let is_no = |call: &&Value| is_vm(call) && call["status"].as_u64() >= Some(400);
    let refused = log[..first].iter().find(is_no).context("nothing was refused")?;
    let took = (at(&log[first])? - at(refused)?) as f64;
    row.judge("first refusal to first PUT there", took, (TIME_MAX_MS, "ms"));
    let from = log.iter().position(|call| call == refused).unwrap_or_default();
    let between = log[from..first].iter().filter(|call| !is_vm(call)).count();
    row.judge("calls between, but PUTs here", between as f64, (CALLS_MAX, "calls"));
    Ok(vec![row])
}

fn path(call: &Value) -> String {
    call["path"].as_str().unwrap_or_default().to_ascii_lowercase()
}

fn is_vm(call: &Value) -> bool {
    call["method"] == "PUT" && path(call).contains("/virtualmachines/")
}
