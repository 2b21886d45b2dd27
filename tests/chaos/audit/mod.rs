//! The audit: what became of jobs, of Azure and of the ledgers, told in words. Must never repair
//! anything.

mod azure;
mod ledgers;
mod work;

use std::fs;

use anyhow::Result;

use crate::bed::Bed;
use crate::diary::Diary;
use crate::jobs::Jobs;

/// All that is wrong; nothing, when all is well.
pub fn audit(bed: &Bed, jobs: &Jobs, diary: &mut Diary) -> Result<Vec<String>> {
    let lines = crate::evidence::lines(&fs::read_to_string(bed.evidence()).unwrap_or_default());
    let ledgers = ledgers::read(bed)?;
    let resources = bed.cluster.emulator().resources()?;
    let mut findings = ledgers.findings.clone();
    findings.extend(azure::findings(bed, &resources, &ledgers)?);
    findings.extend(work::findings(bed, jobs, diary, &lines)?);
    findings.extend(work::interrupted(&work::nodes_of(jobs), diary, &lines));
    findings.extend(ledgers::scattered(&ledgers, &lines));
    findings.extend(panics(bed));
    println!("chaos: {}", work::summary(bed, jobs, &lines, &resources)?);
    for finding in &findings {
        diary.say(&format!("finding: {finding}"));
    }
    Ok(findings)
}

/// Programs that fell over.
fn panics(bed: &Bed) -> Vec<String> {
    let read = |name: &str| {
        let bytes = fs::read(bed.cluster.dir().join("log").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let texts = [read("azslurm.log"), read("followers.log"), read("slurmctld.out")];
    let lines = texts.iter().flat_map(|text| text.lines());
    let told = lines.filter(|line| line.contains("panicked at"));
    told.map(|line| format!("a program has panicked: {line}")).collect()
}
