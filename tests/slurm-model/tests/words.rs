//! What the model writes is what azslurm reads, and has the fields that real slurmctlds write, in
//! their order (captures of 22.05.8 and 24.11.5).

use azslurm_slurm::Slurm;
use azslurm_slurm_model::{Call, JobSpec, Output, Settings, Slurmctld, Version};

const START: i64 = 1_795_224_861_000;

const CAPTURES: [(Version, [&str; 3]); 2] = [
    (
        Version::V22_05,
        [
            include_str!("../testdata/22.05.8/nodes.txt"),
            include_str!("../testdata/22.05.8/job.txt"),
            include_str!("../testdata/22.05.8/config.txt"),
        ],
    ),
    (
        Version::V24_11,
        [
            include_str!("../testdata/24.11.5/nodes.txt"),
            include_str!("../testdata/24.11.5/job.txt"),
            include_str!("../testdata/24.11.5/config.txt"),
        ],
    ),
];

fn slurm(version: Version) -> Slurmctld {
    Slurmctld::new(Settings { version, ..Settings::default() }, START)
}

fn scontrol(slurm: &mut Slurmctld, words: &[&str], now: i64) -> Output {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    slurm.run("scontrol", &words, now)
}

/// The keys of a record; `OS=` holds blanks, and keys of its own.
fn keys(record: &str) -> Vec<&str> {
    record.split_whitespace().filter_map(|word| Some(word.split_once('=')?.0)).collect()
}

/// Whether all of `some` stand in `all`, in this order.
fn is_in_order(some: &[&str], all: &[&str]) -> bool {
    let mut all = all.iter();
    some.iter().all(|key| all.any(|other| other == key))
}

#[test]
fn azslurm_reads_the_nodes_that_the_model_writes() {
    for version in [Version::V22_05, Version::V24_11] {
        let mut slurm = slurm(version);
        scontrol(&mut slurm, &["update", "nodename=n[1-2]", "state=power_up"], START);
        slurm.advance(START + 2_000);
        slurm.slurmd_registers("n1", START + 3_000, START + 4_000);
        let down = ["update", "nodename=n2", "state=down", "reason=azslurm: quota: none left"];
        scontrol(&mut slurm, &down, START + 5_000);
        scontrol(&mut slurm, &["update", "nodename=n3", "comment=key 0x8001"], START + 5_000);
        let text = scontrol(&mut slurm, &["-a", "show", "nodes", "-o"], START + 6_000);
        let nodes = Slurm::nodes_of_text(&text.stdout).unwrap();
        let states: Vec<String> = nodes.iter().map(|node| node.state.to_string()).collect();
        let expected = [
            "IDLE+CLOUD",
            "DOWN+CLOUD+POWERING_UP+NOT_RESPONDING",
            "IDLE+CLOUD+POWERED_DOWN",
            "IDLE+CLOUD+POWERED_DOWN",
        ];
        assert_eq!(states, expected);
        assert_eq!(nodes[1].reason.as_deref(), Some("azslurm: quota: none left"));
        assert_eq!(nodes[1].reason_at.map(|at| at.as_millis()), Some(START + 5_000));
        assert_eq!(nodes[2].comment.as_deref(), Some("key 0x8001"));
        assert_eq!(*nodes[0].partitions, ["debug"]);
    }
}

#[test]
fn records_have_the_fields_of_real_ones_in_their_order() {
    for (version, [nodes, job, config]) in CAPTURES {
        let mut slurm = slurm(version);
        scontrol(&mut slurm, &["update", "nodename=n1", "state=power_up"], START);
        slurm.advance(START + 2_000);
        slurm.slurmd_registers("n1", START + 3_000, START + 4_000);
        scontrol(&mut slurm, &["update", "nodename=n4", "state=down", "reason=azure"], START);
        slurm.submit(JobSpec::default(), START + 4_000);
        slurm.advance(START + 6_000);
        let text = scontrol(&mut slurm, &["-a", "show", "nodes", "n[1,4]", "-o"], START + 6_000);
        for (model, real) in text.stdout.lines().zip(nodes.lines()) {
            assert!(is_in_order(&keys(model), &keys(real)), "{version:?}\n{model}\n{real}");
        }
        assert_eq!(text.stdout.lines().count(), 2);
        let text = scontrol(&mut slurm, &["-a", "show", "jobs", "-o"], START + 6_000);
        assert!(is_in_order(&keys(&text.stdout), &keys(job)), "{version:?}\n{}", text.stdout);
        assert!(text.stdout.starts_with("JobId=1 JobName=job UserId="));
        let text = scontrol(&mut slurm, &["show", "config"], START + 6_000);
        for line in config.lines() {
            let (key, _) = line.split_once(" = ").unwrap();
            assert!(text.stdout.contains(&format!("\n{key} = ")), "{key:?} in\n{}", text.stdout);
        }
    }
}

#[test]
fn the_resume_file_is_what_azslurm_reads_in_the_spelling_of_each_version() {
    for version in [Version::V22_05, Version::V24_11] {
        let mut slurm = slurm(version);
        slurm.submit(JobSpec { nodes: 2, ..JobSpec::default() }, START);
        scontrol(&mut slurm, &["update", "nodename=n4", "state=power_up"], START);
        let calls = slurm.advance(START + 5_000);
        let [Call::Resume { nodes, resume_file }] = calls.as_slice() else {
            panic!("{calls:?}");
        };
        assert_eq!(nodes, "n[1-2,4]");
        let file = azslurm_slurm::resume_file::read(resume_file).unwrap();
        assert!(file.odd.is_empty(), "{:?}", file.odd);
        assert_eq!(file.nodes.len(), 3);
        assert_eq!(file.jobs.len(), 1);
        assert_eq!(file.jobs[0].job_id.to_string(), "1");
        assert_eq!(file.jobs[0].nodes_resume.len(), 2);
    }
    let text = include_str!("../testdata/22.05.8/resume-file.json");
    let mut slurm = slurm(Version::V22_05);
    slurm.submit(JobSpec { nodes: 4, ..JobSpec::default() }, START);
    let calls = slurm.advance(START + 5_000);
    let Call::Resume { resume_file, .. } = &calls[0] else { panic!("{calls:?}") };
    assert_eq!(*resume_file, text.trim_end().replace("n[1-40]", "n[1-4]"));
}
