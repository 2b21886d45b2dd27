//! Asking and telling the installed slurmctld: what the captures cannot show.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use azslurm_core::config::Slurm as Config;
use azslurm_core::node::{NodeBase, NodeFlag};
use azslurm_core::{NodeName, Timestamp};
use azslurm_slurm::reason::{parse_ours, reason};
use azslurm_slurm::{JobState, NodeVerb, Slurm, SlurmError};
use azslurm_test_cluster::{Cluster, ClusterSpec, Programs};

/// A cluster whose programs do nothing: nodes that are powered up stay so.
fn cluster(name: &str) -> Cluster {
    let nothing = || Path::new("/bin/true").to_owned();
    let programs = Programs::Fake { resume: nothing(), suspend: nothing(), resume_fail: nothing() };
    let spec = ClusterSpec { name: name.to_owned(), programs, ..ClusterSpec::default() };
    Cluster::start(&spec).expect("a cluster")
}

fn slurm(cluster: &Cluster) -> Slurm {
    Slurm::new(&Config {
        bin_dir: "/usr/bin".into(),
        conf: Some(cluster.slurm_conf()),
        ..Config::default()
    })
}

fn on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn names(list: &str) -> Vec<NodeName> {
    azslurm_core::hostlist::expand(list).expect(list)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the year 292,000,000"))
}

#[test]
fn the_installed_slurmctld_is_understood() {
    let cluster = cluster("slurm-crate-read");
    let slurm = slurm(&cluster);
    on(async {
        assert!(slurm.ping().await.unwrap()[0].is_up);
        assert!(slurm.version().await.unwrap().major >= 22);
        assert_eq!(slurm.config_value("resumetimeout").await.unwrap().as_deref(), Some("60 sec"));
        let nodes = slurm.nodes().await.unwrap();
        assert_eq!(nodes.len(), 4);
        assert!(nodes.iter().all(|node| node.state.to_string() == "IDLE+CLOUD+POWERED_DOWN"));
        assert_eq!(*nodes[3].partitions, ["hpc"]);
        let some = slurm.nodes_named(&names("hpc-[002,004,009]")).await.unwrap();
        let some: Vec<&str> = some.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(some, ["hpc-002", "hpc-004"], "hpc-009 does not exist");
        assert_eq!(slurm.nodes_named(&names("hpc-009")).await.unwrap(), []);
        assert_eq!(slurm.jobs().await.unwrap(), []);

        let array = ["--hold", "--job-name=a b=c", "--array=1-300:3%7"];
        let job = cluster.sbatch(&array, "#!/bin/sh\n").unwrap();
        let jobs = slurm.jobs().await.unwrap();
        assert_eq!((jobs.len(), jobs[0].id.0, jobs[0].address()), (1, job.0, job.0.to_string()));
        assert_eq!(jobs[0].array.as_ref().unwrap().1, "1-298:3%7");
        assert_eq!((&jobs[0].state, jobs[0].nodes.as_deref()), (&JobState::Pending, None));
        assert_eq!(jobs[0].partition.as_deref(), Some("hpc"));
        assert!(jobs[0].is_batch && jobs[0].can_requeue);
    });
    cluster.finish().unwrap();
}

/// A user writes the name, the comment and more of a job, newlines included. Who took those for
/// records would requeue the jobs of others for him.
#[test]
fn what_a_user_writes_into_a_job_makes_no_other_job() {
    let cluster = cluster("slurm-crate-forged");
    let slurm = slurm(&cluster);
    let record = "JobId=7777 JobName=x UserId=root(0) JobState=RUNNING Requeue=1 NodeList=hpc-001";
    let columns = "7777|7777|N/A|RUNNING|hpc|1|1|hpc-001|";
    on(async {
        let mut jobs = Vec::new();
        for forged in [record, columns, "\u{1b}[31m; $(id) `id` '\" ../%2f -x"] {
            let name = format!("--job-name=a\n{forged}\nb");
            let comment = format!("--comment=a\n{forged}\n");
            let options = ["--hold", name.as_str(), comment.as_str()];
            jobs.push(cluster.sbatch(&options, "#!/bin/sh\n").unwrap().0);
        }
        let mut seen: Vec<u32> = slurm.jobs().await.unwrap().iter().map(|job| job.id.0).collect();
        seen.sort_unstable();
        assert_eq!(seen, jobs);
    });
    cluster.finish().unwrap();
}

#[test]
fn the_installed_slurmctld_is_told() {
    let cluster = cluster("slurm-crate-tell");
    let slurm = slurm(&cluster);
    on(async {
        let told_at = now();
        let until = told_at.plus(Duration::from_secs(600));
        let words = reason("capacity", "no \"room\" for = D4s [v5]\nin 'westeurope'", Some(until));
        slurm.update(&names("hpc-[001-002]"), NodeVerb::Down, Some(&words)).await.unwrap();
        let node = &slurm.nodes_named(&names("hpc-001")).await.unwrap()[0];
        assert_eq!(node.state.base, NodeBase::Down);
        assert_eq!(node.reason.as_deref(), Some(words.as_str()));
        assert_eq!(parse_ours(node.reason.as_deref().unwrap()).unwrap().code, "capacity");
        let set_at = node.reason_at.expect("slurmctld stamps a reason");
        // Seconds, in UTC whatever the machine's zone is.
        assert!(set_at.plus(Duration::from_secs(2)) > told_at && set_at <= now(), "{set_at}");

        slurm.update(&names("hpc-[001-002]"), NodeVerb::Resume, None).await.unwrap();
        let again = slurm.update(&names("hpc-[001-002]"), NodeVerb::Resume, None).await;
        assert!(matches!(again, Err(SlurmError::NotAllowed { .. })), "{again:?}");

        let stray = slurm.update(&names("hpc-[002,008,003]"), NodeVerb::PowerUp, None).await;
        let Err(SlurmError::UnknownNodes { nodes }) = stray else { panic!("{stray:?}") };
        assert_eq!(nodes, "hpc-008");
        for node in slurm.nodes_named(&names("hpc-[002-003]")).await.unwrap() {
            let is_told =
                [NodeFlag::PowerUp, NodeFlag::PoweringUp].iter().any(|f| node.state.has(f));
            assert!(is_told, "{} {}", node.name, node.state);
        }
    });
    cluster.finish().unwrap();
}

#[test]
fn a_stopped_slurmctld_is_no_empty_cluster() {
    let cluster = cluster("slurm-crate-down");
    cluster.stop_slurmctld().unwrap();
    let error = on(slurm(&cluster).nodes()).unwrap_err();
    assert!(matches!(error, SlurmError::NotResponding { .. }), "{error:?}");
    let controllers = on(slurm(&cluster).ping()).unwrap();
    assert!(!controllers[0].is_up);
    cluster.finish().unwrap();
}
