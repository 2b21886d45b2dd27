//! The questions and orders of this crate's users, each a run of `scontrol` or a few.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use azslurm_core::config::Slurm as Config;
use azslurm_core::{JobId, NodeName, hostlist};
use tracing::warn;

use crate::command::{Answer, Clients, Scontrol};
use crate::controller::{controller_of_line, setting_of_line};
use crate::record::timestamp;
use crate::update::batches;
use crate::{
    Controller, Job, JobSignal, Node, NodeVerb, SlurmError, SlurmVersion, Started, job, node,
};

/// So many unreadable records are shown in one line of the log.
const ODD_SHOWN_MAX: usize = 3;

/// Every node, hidden ones too, one record in each line.
const SHOW_NODES: [&str; 4] = ["-a", "show", "nodes", "-o"];

/// All jobs that slurmctld still knows, a line each.
const SHOW_JOBS: [&str; 6] = ["-h", "-a", "-t", "all", "-O", job::COLUMNS];

/// The least that Slurm's commands take for a slurm.conf.
const CONF_LEAST: &str = "ClusterName=none\nSlurmctldHost=localhost\n";

/// A cluster's slurmctld. Cheap to clone; clones count their runs together.
#[derive(Debug, Clone)]
pub struct Slurm {
    scontrol: Arc<Scontrol>,
}

impl Slurm {
    /// With `[slurm]` of the config; nothing is run yet.
    pub fn new(config: &Config) -> Slurm {
        Slurm { scontrol: Arc::new(Scontrol::new(config)) }
    }

    /// By other clients than those that are installed.
    pub fn over(clients: Arc<dyn Clients>, config: &Config) -> Slurm {
        Slurm { scontrol: Arc::new(Scontrol::over(clients, config)) }
    }

    /// How often `scontrol` was run so far.
    pub fn runs(&self) -> u64 {
        self.scontrol.runs()
    }

    /// All nodes of the cluster. A record that cannot be read is logged and left out: for its node
    /// nothing is known.
    pub async fn nodes(&self) -> Result<Vec<Node>, SlurmError> {
        Slurm::nodes_of_text(&self.nodes_text().await?)
    }

    /// slurmctld's own words about all nodes, for [`Slurm::nodes_of_text`].
    pub async fn nodes_text(&self) -> Result<String, SlurmError> {
        Ok(self.scontrol.ask(&SHOW_NODES).await?.stdout)
    }

    /// The nodes of a text that slurmctld gave, as [`Slurm::nodes`].
    pub fn nodes_of_text(text: &str) -> Result<Vec<Node>, SlurmError> {
        let listing = node::read(text);
        let command = format!("scontrol {}", SHOW_NODES.join(" "));
        report_odd(&command, &listing.odd, listing.nodes.len())?;
        Ok(listing.nodes)
    }

    /// All nodes, those too that are only named so far (`State=FUTURE`), which [`Slurm::nodes`]
    /// leaves out: every name that slurmctld has.
    pub async fn nodes_with_spares(&self) -> Result<Vec<Node>, SlurmError> {
        let answer = self.scontrol.ask(&["-a", "-F", "show", "nodes", "-o"]).await?;
        let listing = node::read(&answer.stdout);
        report_odd(&answer.command, &listing.odd, listing.nodes.len())?;
        Ok(listing.nodes)
    }

    /// Has all daemons read their files again. Before 23.11 slurmctld ends when the files are
    /// wrong or names of nodes have come or gone; from then on it goes on with what it had, and
    /// that is an error here. A run that is killed for its time may have been heard.
    pub async fn reconfigure(&self) -> Result<(), SlurmError> {
        self.scontrol.ask(&["reconfigure"]).await.map(drop)
    }

    /// Whether Slurm's own parser can read another slurm.conf: no daemon is asked. It knows the
    /// keys and their types; what the values mean together is seen by slurmctld only.
    pub async fn can_parse(&self, conf: &Path) -> Result<(), SlurmError> {
        // Every client reads slurm.conf before anything else, and this one does nothing after it.
        self.scontrol.run_with(conf, &["show", "hostnames", "n1"]).await?.if_done().map(drop)
    }

    /// Some nodes. Names that slurmctld does not know are not in the answer, and no error.
    pub async fn nodes_named(&self, nodes: &[NodeName]) -> Result<Vec<Node>, SlurmError> {
        let mut found = Vec::with_capacity(nodes.len());
        for batch in batches(nodes) {
            let answer = self.show_nodes(batch).await?;
            let listing = node::read(&answer.stdout);
            if !answer.status.success() && !answer.said_not_found() {
                return Err(answer.into_error());
            }
            report_odd(&answer.command, &listing.odd, batch.len())?;
            found.extend(listing.nodes);
        }
        Ok(found)
    }

    /// All jobs that slurmctld still knows. A record that cannot be read is logged and left out.
    pub async fn jobs(&self) -> Result<Vec<Job>, SlurmError> {
        let run = self.scontrol.run_client("squeue", &SHOW_JOBS).await?;
        Slurm::jobs_of_text(&run.if_done()?.stdout)
    }

    /// The jobs of a text that `squeue` gave, as [`Slurm::jobs`].
    pub fn jobs_of_text(text: &str) -> Result<Vec<Job>, SlurmError> {
        let listing = job::read(text);
        let command = format!("squeue {}", SHOW_JOBS.join(" "));
        report_odd(&command, &listing.odd, listing.jobs.len())?;
        Ok(listing.jobs)
    }

    /// Says `verb` about `nodes`, in as few runs as the limits allow; nothing is run for no nodes.
    ///
    /// `reason` should come from [`crate::reason::reason`]. Refusals that concern single nodes
    /// ([`SlurmError::NotAllowed`], [`SlurmError::UnknownNodes`]) are returned after all other
    /// nodes have been told; every other error ends the work at once.
    pub async fn update(
        &self,
        nodes: &[NodeName],
        verb: NodeVerb,
        reason: Option<&str>,
    ) -> Result<(), SlurmError> {
        if verb.needs_reason() && reason.is_none_or(str::is_empty) {
            return Err(SlurmError::ReasonMissing { verb });
        }
        let mut refused = None;
        for batch in batches(nodes) {
            match self.update_batch(batch, verb, reason).await {
                Ok(()) => {}
                Err(error @ (SlurmError::NotAllowed { .. } | SlurmError::UnknownNodes { .. })) => {
                    refused = refused.or(Some(error))
                }
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Writes `Comment` of a node, which neither state nor reason depend on and which stays over
    /// power cycles (measured with 22.05; SLURM.md §7 of later versions).
    pub async fn comment_node(&self, node: &NodeName, text: &str) -> Result<(), SlurmError> {
        let name = format!("nodename={node}");
        self.scontrol.ask(&["update", &name, &format!("comment={text}")]).await.map(drop)
    }

    /// Sends a signal to jobs, each named as [`Job::address`] names it. One that has ended
    /// meanwhile is an error, after all others have got theirs.
    pub async fn signal(&self, jobs: &[String], signal: &JobSignal) -> Result<(), SlurmError> {
        let name = format!("--signal={}", signal.name);
        let mut arguments = vec![name.as_str()];
        arguments.extend(signal.to.option());
        arguments.extend(jobs.iter().map(String::as_str));
        self.scontrol.run_client("scancel", &arguments).await?.if_done().map(drop)
    }

    /// Requeues jobs, each named as [`Job::address`] names it: they get SIGTERM, and SIGKILL after
    /// KillWait. One that cannot be requeued is an error, after all others have been.
    pub async fn requeue(&self, jobs: &[String]) -> Result<(), SlurmError> {
        self.scontrol.ask(&["requeue", &jobs.join(",")]).await.map(drop)
    }

    /// Writes `AdminComment` of a job: a line for whoever asks why it waits. A job that is gone
    /// meanwhile is an error like any other.
    pub async fn comment(&self, job: &Job, text: &str) -> Result<(), SlurmError> {
        let job = format!("jobid={}", job.address());
        let comment = format!("AdminComment={text}");
        self.scontrol.ask(&["update", &job, &comment]).await.map(drop)
    }

    /// Writes a line to the terminal of whoever waits for an salloc or srun.
    pub async fn notify(&self, job: JobId, text: &str) -> Result<(), SlurmError> {
        self.scontrol.ask(&["notify", &job.to_string(), text]).await.map(drop)
    }

    /// The controllers of the cluster and whether each answers.
    pub async fn ping(&self) -> Result<Vec<Controller>, SlurmError> {
        // The exit status says whether the primary is up, which the lines say too.
        let answer = self.scontrol.run(&["ping"]).await?;
        let controllers = Slurm::controllers_of_text(&answer.stdout);
        if controllers.is_empty() { Err(answer.into_error()) } else { Ok(controllers) }
    }

    /// The controllers of a text of `scontrol ping`; lines that name none are passed over.
    pub fn controllers_of_text(text: &str) -> Vec<Controller> {
        text.lines().filter_map(controller_of_line).collect()
    }

    /// slurmctld's version (not scontrol's own).
    pub async fn version(&self) -> Result<SlurmVersion, SlurmError> {
        let text = self.config_value("SLURM_VERSION").await?.unwrap_or_default();
        text.parse().map_err(|what| SlurmError::Unreadable {
            command: "scontrol show config".to_owned(),
            what,
        })
    }

    /// The version of the installed commands; no slurmctld is asked, and no slurm.conf is needed:
    /// `scontrol --version` reads one first, and waits a minute for one that is not there or
    /// includes what is not there. So it gets one of ours that says nothing.
    pub async fn installed_version(&self) -> Result<SlurmVersion, SlurmError> {
        let command = "scontrol --version";
        let failed = |source| SlurmError::NotRead { command: command.to_owned(), source };
        let conf = tempfile::NamedTempFile::new().map_err(failed)?;
        std::fs::write(conf.path(), CONF_LEAST).map_err(failed)?;
        let answer = self.scontrol.with_conf(conf.path()).ask(&["--version"]).await?;
        answer
            .stdout
            .trim()
            .parse()
            .map_err(|what| SlurmError::Unreadable { command: answer.command, what })
    }

    /// One setting of the running slurmctld, as `scontrol show config` prints it (`60 sec`); `None`
    /// when it is not set or does not exist. Case of `key` does not matter.
    pub async fn config_value(&self, key: &str) -> Result<Option<String>, SlurmError> {
        Ok(self.config().await?.remove(&key.to_ascii_lowercase()).flatten())
    }

    /// Since when slurmctld runs, and how many controllers its slurm.conf names.
    pub async fn started(&self) -> Result<Started, SlurmError> {
        let config = self.config().await?;
        let at = config.get("boot_time").and_then(Option::as_deref).and_then(timestamp);
        let is_host = |key: &&String| key.starts_with("slurmctldhost[");
        Ok(Started { at, controllers: config.keys().filter(is_host).count() })
    }

    /// All settings of the running slurmctld, keys in lower case.
    pub async fn config(&self) -> Result<BTreeMap<String, Option<String>>, SlurmError> {
        Ok(Slurm::config_of_text(&self.scontrol.ask(&["show", "config"]).await?.stdout))
    }

    /// The settings of a text of `scontrol show config`, as [`Slurm::config`].
    pub fn config_of_text(text: &str) -> BTreeMap<String, Option<String>> {
        let settings = text.lines().filter_map(setting_of_line);
        settings.map(|(key, value)| (key.to_ascii_lowercase(), value.map(str::to_owned))).collect()
    }

    async fn show_nodes(&self, nodes: &[NodeName]) -> Result<Answer, SlurmError> {
        self.scontrol.run(&["-a", "show", "nodes", &fold(nodes), "-o"]).await
    }

    /// slurmctld stops at the first name that it does not know. Then the names that it does know
    /// are told again by themselves, so that one stray name never keeps the others from being told.
    async fn update_batch(
        &self,
        batch: &[NodeName],
        verb: NodeVerb,
        reason: Option<&str>,
    ) -> Result<(), SlurmError> {
        let answer = self.run_update(batch, verb, reason).await?;
        if answer.status.success() {
            return Ok(());
        }
        if !answer.is_unknown_node() {
            return Err(answer.into_error());
        }
        let known: BTreeSet<NodeName> =
            self.nodes_named(batch).await?.into_iter().map(|node| node.name).collect();
        let (known, unknown): (Vec<NodeName>, Vec<NodeName>) =
            batch.iter().cloned().partition(|name| known.contains(name));
        if unknown.is_empty() {
            return Err(answer.into_error());
        }
        if !known.is_empty() {
            let answer = self.run_update(&known, verb, reason).await?;
            if !answer.status.success() {
                return Err(answer.into_error());
            }
        }
        Err(SlurmError::UnknownNodes { nodes: fold(&unknown) })
    }

    async fn run_update(
        &self,
        nodes: &[NodeName],
        verb: NodeVerb,
        reason: Option<&str>,
    ) -> Result<Answer, SlurmError> {
        let names = format!("nodename={}", fold(nodes));
        let state = format!("state={verb}");
        let reason = reason.map(|reason| format!("reason={reason}"));
        let arguments: Vec<&str> =
            ["update", &names, &state].into_iter().chain(reason.as_deref()).collect();
        self.scontrol.run(&arguments).await
    }
}

impl Answer {
    /// `show nodes LIST` says this, with exit status 1, about names that slurmctld does not know.
    fn said_not_found(&self) -> bool {
        let words = [&self.stdout, &self.stderr];
        words.iter().any(|text| text.lines().any(|line| line.trim_end().ends_with(" not found")))
    }
}

fn fold(nodes: &[NodeName]) -> String {
    hostlist::fold_sorted(nodes)
}

/// Records that cannot be read are a line in the log; an answer in which nothing can be read is an
/// error, because an empty listing would say that there are no nodes.
fn report_odd(command: &str, odd: &[String], readable: usize) -> Result<(), SlurmError> {
    let Some(first) = odd.first() else { return Ok(()) };
    if readable == 0 {
        let what = format!("{} records, the first is {first:?}", odd.len());
        return Err(SlurmError::Unreadable { command: command.to_owned(), what });
    }
    let shown = &odd[..odd.len().min(ODD_SHOWN_MAX)];
    warn!(command, count = odd.len(), ?shown, "records that cannot be read");
    Ok(())
}
