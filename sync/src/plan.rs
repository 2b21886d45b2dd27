//! `azslurm-sync plan`: what would be done about some nodes, and why each place is chosen or passed
//! over, without doing it.

use std::path::Path;

use azslurm_core::NodeName;
use azslurm_core::plan::{Create, Refuse, Step};
use azslurm_program::Session;
use azslurm_program::exit::Stop;
use azslurm_resume::request::ResumeRequest;
use azslurm_resume::{front, words};
use serde::Serialize;

/// What would be done about one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// `create`, `keep`, `refuse` or `unknown`.
    pub step: &'static str,
    /// The VM that would be made, or that is there.
    pub vm: Option<String>,
    /// Site.
    pub site: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Zone.
    pub zone: Option<String>,
    /// The block, for nodesets with InfiniBand.
    pub block: Option<String>,
    /// Why it cannot come, as one word.
    pub code: Option<String>,
    /// The whole of it in one line.
    pub text: String,
    /// Places that were passed over, and why.
    pub passed: Vec<String>,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// One row for each node, in the order of the list.
    pub nodes: Vec<Row>,
    /// Blocks that would begin a new life, with their site.
    pub blocks: Vec<String>,
}

impl Planned {
    /// Whether every node could come.
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(|row| row.step == "create" || row.step == "keep")
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.nodes {
            text += &format!("{}\n", row.text);
            for passed in &row.passed {
                text += &format!("    passed over {passed}\n");
            }
        }
        for block in &self.blocks {
            text += &format!("block {block} would be made\n");
        }
        text
    }
}

/// The request that `slurmctld` would make.
pub fn request(nodes: &str, job_file: Option<&Path>) -> Result<ResumeRequest, Stop> {
    let file = match job_file {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Stop::cannot_start(std::io::Error::new(
                error.kind(),
                format!("cannot read --job-file {}: {error}", path.display()),
            ))
        })?),
    };
    ResumeRequest::new(nodes, file.as_deref()).map_err(Stop::cannot_start)
}

/// Plans by what the ledger knows now.
pub fn planned(session: &Session, request: &ResumeRequest) -> Result<Planned, Stop> {
    let plan = front::look(session, request).map_err(Stop::failed)?;
    let blocks = plan.blocks.iter().map(|block| {
        format!("{} at {} in {} as {}", block.life.block, block.site, block.region, block.name)
    });
    Ok(Planned { blocks: blocks.collect(), nodes: plan.steps.iter().map(row).collect() })
}

fn row(step: &Step) -> Row {
    let empty = Row {
        node: step.node().clone(),
        step: "unknown",
        vm: None,
        site: None,
        region: None,
        zone: None,
        block: None,
        code: None,
        text: words::sentence(step),
        passed: Vec::new(),
    };
    match step {
        Step::Create(create) => {
            let Create { spec, place, passed, .. } = &**create;
            Row {
                step: "create",
                vm: Some(spec.name.to_string()),
                site: Some(place.site.to_string()),
                region: Some(place.region.to_string()),
                zone: place.zone.as_ref().map(ToString::to_string),
                block: place.block.as_ref().map(|life| life.block.to_string()),
                passed: passed.iter().map(words::reason).collect(),
                ..empty
            }
        }
        Step::Keep { vm, .. } => Row { step: "keep", vm: Some(vm.to_string()), ..empty },
        Step::Refuse(refuse) => {
            let Refuse { code, passed, .. } = &**refuse;
            let passed = passed.iter().map(words::reason).collect();
            Row { step: "refuse", code: Some(code.clone()), passed, ..empty }
        }
        Step::Unknown { .. } => empty,
    }
}
