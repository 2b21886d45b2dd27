//! azslurm's own client over the model: every question that it asks is answered in words that it
//! reads, and every refusal is the error that it knows.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azslurm_core::NodeName;
use azslurm_core::config::Slurm as Config;
use azslurm_slurm::{
    Clients, JobSignal, JobState, NodeVerb, Ran, SignalTo, Slurm, SlurmError, SlurmVersion,
};
use azslurm_slurm_model::{JobSpec, Settings, Slurmctld, Version};

const START: i64 = 1_795_224_861_000;

/// One second.
const S: i64 = 1_000;

/// The model, and the time that it is.
#[derive(Debug)]
struct Model(Mutex<(Slurmctld, i64)>);

#[async_trait]
impl Clients for Model {
    async fn run(&self, client: &str, _conf: Option<&Path>, arguments: &[&str]) -> Ran {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let mut model = self.0.lock().expect("no test panics while it holds the model");
        let now = model.1;
        let output = model.0.run(client, &arguments, now);
        // The upper byte of a wait status is the exit status.
        Ran::Ended(ExitStatus::from_raw(output.status << 8), output.stdout, output.stderr)
    }
}

impl Model {
    fn new(settings: Settings) -> (Arc<Model>, Slurm) {
        let model = Arc::new(Model(Mutex::new((Slurmctld::new(settings, START), START))));
        let slurm = Slurm::over(Arc::clone(&model) as Arc<dyn Clients>, &Config::default());
        (model, slurm)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Slurmctld, i64) -> T) -> T {
        let mut model = self.0.lock().expect("no test panics while it holds the model");
        let now = model.1;
        what(&mut model.0, now)
    }

    fn wait(&self, seconds: i64) {
        let mut model = self.0.lock().expect("no test panics while it holds the model");
        model.1 += seconds * S;
        let now = model.1;
        model.0.advance(now);
    }
}

fn names(list: &str) -> Vec<NodeName> {
    azslurm_core::hostlist::expand(list).expect("a host list")
}

#[tokio::test]
async fn azslurm_reads_jobs_in_every_state() {
    for version in [Version::V22_05, Version::V24_11] {
        let (model, slurm) = Model::new(Settings { version, ..Settings::default() });
        let spec = JobSpec { name: "a b=c".to_owned(), nodes: 2, ..JobSpec::default() };
        model.with(|slurm, now| slurm.submit(spec, now));
        let srun = JobSpec { is_batch: false, requeue: false, nodes: 3, ..JobSpec::default() };
        model.with(|slurm, now| slurm.submit(srun, now));
        let states = async || -> Vec<JobState> {
            let jobs = slurm.jobs().await.unwrap();
            jobs.into_iter().map(|job| job.state).collect()
        };
        assert_eq!(states().await, [JobState::Pending, JobState::Pending]);
        model.wait(2);
        assert_eq!(states().await, [JobState::Configuring, JobState::Pending]);
        let jobs = slurm.jobs().await.unwrap();
        assert_eq!(jobs[0].node_names().unwrap(), names("n[1-2]"));
        assert_eq!(jobs[0].partition.as_deref(), Some("debug"));
        assert!(jobs[0].is_batch && jobs[0].can_requeue);
        assert!(!jobs[1].is_batch && !jobs[1].can_requeue);
        slurm.comment(&jobs[0], "azslurm: waits for quota").await.unwrap();
        slurm.notify(jobs[1].id, "wait a little").await.unwrap();
        let seen = model.with(|slurm, _| slurm.jobs());
        assert_eq!(seen[0].admin_comment.as_deref(), Some("azslurm: waits for quota"));
        assert_eq!(seen[1].notices, ["wait a little"]);
        for node in ["n1", "n2"] {
            model.with(|slurm, now| slurm.slurmd_registers(node, now, now));
        }
        model.wait(31);
        assert_eq!(states().await, [JobState::Running, JobState::Pending]);
        let signal = JobSignal { name: "USR1".to_owned(), to: SignalTo::Batch };
        slurm.signal(&["1".to_owned()], &signal).await.unwrap();
        let refused = slurm.signal(&["1".to_owned(), "9".to_owned()], &signal).await;
        assert!(matches!(refused, Err(SlurmError::Failed { .. })), "{refused:?}");
        slurm.requeue(&["1".to_owned()]).await.unwrap();
        assert_eq!(states().await, [JobState::Completing, JobState::Pending]);
        model.wait(2);
        let requeues = model.with(|slurm, _| slurm.jobs()[0].requeues.len());
        assert_eq!(requeues, 1);
        model.wait(110);
        assert_eq!(states().await[0], JobState::Pending, "it waits two minutes to begin again");
        model.with(|slurm, now| slurm.cancel(1, now));
        assert_eq!(states().await, [JobState::Cancelled, JobState::Configuring]);
        model.wait(400);
        assert_eq!(states().await.len(), 1, "MinJobAge has passed");
    }
}

#[tokio::test]
async fn verbs_are_carried_out_or_refused_as_azslurm_expects() {
    let (model, slurm) = Model::new(Settings::default());
    let (verb, why) = (NodeVerb::Down, Some("azslurm: quota: none left"));
    let refused = slurm.update(&names("n1,x9,n3"), verb, why).await;
    assert!(matches!(refused, Err(SlurmError::UnknownNodes { nodes }) if nodes == "x9"));
    let states: Vec<String> =
        slurm.nodes().await.unwrap().iter().map(|node| node.state.to_string()).collect();
    let (down, off) = ("DOWN+CLOUD+POWERED_DOWN", "IDLE+CLOUD+POWERED_DOWN");
    assert_eq!(states, [down, off, down, off], "the known ones were told all the same");
    let refused = slurm.update(&names("n[1-2]"), NodeVerb::Resume, None).await;
    assert!(matches!(refused, Err(SlurmError::NotAllowed { .. })), "{refused:?}");
    let found = slurm.nodes_named(&names("n2,x9")).await.unwrap();
    assert_eq!(found.len(), 1);
    slurm.comment_node(&found[0].name, "pkey 0x8001").await.unwrap();
    let found = slurm.nodes_named(&names("n2")).await.unwrap();
    assert_eq!(found[0].comment.as_deref(), Some("pkey 0x8001"));
    for verb in [NodeVerb::PowerUp, NodeVerb::PowerDown, NodeVerb::PowerDownForce] {
        slurm.update(&names("n4"), verb, Some("azslurm: x: y")).await.unwrap();
        model.wait(2);
    }
    for verb in [NodeVerb::Drain, NodeVerb::Undrain, NodeVerb::Idle] {
        slurm.update(&names("n4"), verb, Some("azslurm: x: y")).await.unwrap();
    }
}

#[tokio::test]
async fn azslurm_learns_whether_slurmctld_is_there_and_since_when() {
    let settings = Settings {
        controllers: vec!["head1".to_owned(), "head2".to_owned()],
        ..Settings::default()
    };
    let (model, slurm) = Model::new(settings);
    let started = slurm.started().await.unwrap();
    assert_eq!(started.at.map(|at| at.as_millis()), Some(START));
    assert_eq!(started.controllers, 2);
    assert_eq!(slurm.version().await.unwrap(), SlurmVersion::new(22, 5, 8));
    let timeout = slurm.config_value("ResumeTimeout").await.unwrap();
    assert_eq!(timeout.as_deref(), Some("600 sec"));
    model.with(|slurm, now| slurm.hang(now + 60 * S, now));
    let silent = slurm.nodes().await;
    assert!(silent.is_err_and(|error| error.is_passing()));
    model.with(|slurm, now| slurm.stop(now));
    let silent = slurm.update(&names("n1"), NodeVerb::PowerUp, None).await;
    assert!(silent.is_err_and(|error| error.is_passing()));
    let pings = slurm.ping().await.unwrap();
    assert_eq!(pings.iter().map(|one| one.is_up).collect::<Vec<_>>(), [false, false]);
    model.wait(5);
    model.with(|slurm, now| slurm.restart(true, now));
    assert!(slurm.ping().await.unwrap()[0].is_up);
    let started = slurm.started().await.unwrap();
    assert_eq!(started.at.map(|at| at.as_millis()), Some(START + 5 * S));
}
