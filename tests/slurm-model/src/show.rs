//! The records of `scontrol show nodes -o` and `show jobs -o`, the columns of `squeue`, and `show
//! config`, as 22.05.8 and 24.11.5 write them.

use std::fmt::Write as _;

use crate::Slurmctld;
use crate::job::Phase;
use crate::seen::Exit;

/// A String takes every write.
const WRITES: &str = "writing to a String cannot fail";

/// How long slurmctld still knows a job that has ended (`MinJobAge`).
const JOB_AGE_MS: i64 = 300_000;

/// `2026-11-21T01:51:13`, in UTC; `None` and times out of range are `nothing`.
fn time(millis: Option<i64>, nothing: &str) -> String {
    let stamp = millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    match stamp {
        Some(stamp) => stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        None => nothing.to_owned(),
    }
}

impl Slurmctld {
    pub(crate) fn text_of_nodes(&self) -> String {
        let mut text = String::with_capacity(self.nodes.len() * 800);
        for at in 0..self.nodes.len() {
            self.write_node(at, &mut text);
        }
        if text.is_empty() { "No nodes in the system\n".to_owned() } else { text }
    }

    pub(crate) fn write_node(&self, at: usize, out: &mut String) {
        let node = &self.nodes[at];
        let (name, cpus) = (&node.name, node.spec.cpus);
        let version = self.settings.version;
        let has_registered = node.started_at.is_some();
        let arch = if has_registered { " Arch=x86_64" } else { "" };
        write!(out, "NodeName={name}{arch} CoresPerSocket=1 ").expect(WRITES);
        write!(out, " CPUAlloc={} CPUEfctv={cpus} CPUTot={cpus}", node.cpus_used).expect(WRITES);
        out.push_str(" CPULoad=N/A AvailableFeatures=(null) ActiveFeatures=(null) Gres=(null)");
        let address = node.address.as_deref().unwrap_or(name.as_str());
        let host_name = node.host_name.as_deref().unwrap_or(name.as_str());
        write!(out, " NodeAddr={address} NodeHostName={host_name} ").expect(WRITES);
        if has_registered {
            write!(out, "Version={} OS=Linux 6.1.0 #1 SMP ", version.as_str()).expect(WRITES);
        }
        write!(out, " RealMemory=500 AllocMem=0 FreeMem=N/A Sockets={cpus} Boards=1")
            .expect(WRITES);
        write!(out, " State={} ThreadsPerCore=1 TmpDisk=0", node.state()).expect(WRITES);
        write!(out, " Weight={} Owner=N/A MCS_label=N/A", node.spec.weight).expect(WRITES);
        write!(out, " Partitions={} ", node.spec.partition).expect(WRITES);
        let boot_time = node.boot_time.filter(|_| has_registered);
        write!(out, " BootTime={}", time(boot_time, "None")).expect(WRITES);
        write!(out, " SlurmdStartTime={}", time(node.started_at, "None")).expect(WRITES);
        write!(out, " LastBusyTime={}", time(node.last_busy, "Unknown")).expect(WRITES);
        if version.is_before_23() {
            write!(out, " CfgTRES=cpu={cpus},mem=500M,billing={cpus} AllocTRES=").expect(WRITES);
            out.push_str(" CapWatts=n/a CurrentWatts=0 AveWatts=0");
            out.push_str(" ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s");
        } else {
            out.push_str(" ResumeAfterTime=None");
            write!(out, " CfgTRES=cpu={cpus},mem=500M,billing={cpus} AllocTRES=").expect(WRITES);
            out.push_str(" CurrentWatts=0 AveWatts=0");
        }
        if let Some(reason) = &node.reason {
            let (text, user) = (&reason.text, &reason.user);
            let at = time(Some(reason.at), "Unknown");
            write!(out, " Reason={text} [{user}@{at}]").expect(WRITES);
        }
        if let Some(comment) = &node.comment {
            write!(out, " Comment={comment}").expect(WRITES);
        }
        out.push('\n');
    }

    /// Whether slurmctld still has a record of a job.
    pub(crate) fn is_known(&self, at: usize) -> bool {
        let job = &self.jobs[at];
        match job.phase {
            Phase::Ended(Exit::LostWithState) => false,
            Phase::Ended(_) => job.ended_at.is_some_and(|end| self.clock < end + JOB_AGE_MS),
            Phase::Pending | Phase::Configuring | Phase::Running | Phase::Completing => true,
        }
    }

    pub(crate) fn text_of_jobs(&self, now: i64) -> String {
        let mut text = String::new();
        for at in (0..self.jobs.len()).filter(|at| self.is_known(*at)) {
            self.write_job(at, now, &mut text);
        }
        if text.is_empty() { "No jobs in the system\n".to_owned() } else { text }
    }

    pub(crate) fn write_job(&self, at: usize, now: i64, out: &mut String) {
        let job = &self.jobs[at];
        let (state, reason) = words_of(job.phase, job.begin_at, now);
        write!(out, "JobId={} JobName={}", job.id, job.spec.name).expect(WRITES);
        out.push_str(" UserId=user(1000) GroupId=user(1000) MCS_label=N/A");
        write!(out, " Priority={} Nice=0 Account=(null) QOS=(null)", u32::MAX - job.id)
            .expect(WRITES);
        write!(out, " JobState={state} Reason={reason} Dependency=(null)").expect(WRITES);
        let (requeue, restarts) = (u8::from(job.spec.requeue), self.restarts(at));
        let batch = u8::from(job.spec.is_batch);
        write!(out, " Requeue={requeue} Restarts={restarts} BatchFlag={batch} Reboot=0")
            .expect(WRITES);
        out.push_str(" ExitCode=0:0 RunTime=00:00:00 TimeLimit=UNLIMITED TimeMin=N/A");
        let submitted = time(Some(job.submitted_at), "Unknown");
        let begins = time(Some(job.begin_at), "Unknown");
        write!(out, " SubmitTime={submitted} EligibleTime={begins} AccrueTime={begins}")
            .expect(WRITES);
        let starts = match job.phase {
            Phase::Pending => Some(job.begin_at).filter(|begin| *begin > now),
            Phase::Configuring => job.allocated_at,
            Phase::Running | Phase::Completing | Phase::Ended(_) => {
                job.started_at.or(job.allocated_at)
            }
        };
        let starts = time(starts, "Unknown");
        write!(out, " StartTime={starts} EndTime={}", time(job.ended_at, "Unknown")).expect(WRITES);
        out.push_str(" Deadline=N/A SuspendTime=None SecsPreSuspend=0");
        write!(out, " Partition={} AllocNode:Sid=head:1", self.partition_of(at)).expect(WRITES);
        let list =
            |names: &[String]| if names.is_empty() { "(null)".to_owned() } else { names.join(",") };
        let (required, excluded) = (list(&job.spec.required), list(&job.spec.excluded));
        write!(out, " ReqNodeList={required} ExcNodeList={excluded}").expect(WRITES);
        let nodes = self.nodes_shown(at);
        write!(out, " NodeList={}", self.fold(&nodes)).expect(WRITES);
        if let Some(first) = nodes.first().filter(|_| job.spec.is_batch) {
            write!(out, " BatchHost={}", self.nodes[*first].name).expect(WRITES);
        }
        write!(out, " NumNodes={} NumCPUs={}", job.spec.nodes, job.spec.nodes).expect(WRITES);
        out.push_str(" Command=(null) WorkDir=/ ");
        if let Some(comment) = &job.admin_comment {
            write!(out, "AdminComment={comment} ").expect(WRITES);
        }
        out.push_str("StdErr=/dev/null StdIn=/dev/null StdOut=/dev/null ");
        out.push_str(if self.settings.version.is_before_23() { "Power= \n" } else { "\n" });
    }

    /// `squeue -O`: each column is its name, a colon and what stands behind its value.
    ///
    /// # Errors
    /// The first column that is not known here.
    pub(crate) fn columns_of_jobs<'a>(&self, asked: &'a str, now: i64) -> Result<String, &'a str> {
        let mut text = String::new();
        for at in (0..self.jobs.len()).filter(|at| self.is_known(*at)) {
            for column in asked.split(',').filter(|column| !column.is_empty()) {
                let (name, suffix) = column.split_once(':').ok_or(column)?;
                let value = self.column_of_job(at, name, now).ok_or(column)?;
                write!(text, "{value}{suffix}").expect(WRITES);
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn column_of_job(&self, at: usize, name: &str, now: i64) -> Option<String> {
        let job = &self.jobs[at];
        match name {
            "JobID" | "ArrayJobID" => Some(job.id.to_string()),
            "ArrayTaskID" => Some("N/A".to_owned()),
            "State" => Some(words_of(job.phase, job.begin_at, now).0.to_owned()),
            "Partition" => Some(self.partition_of(at).to_owned()),
            "BatchFlag" => Some(u8::from(job.spec.is_batch).to_string()),
            "Requeue" => Some(u8::from(job.spec.requeue).to_string()),
            "NodeList" => Some(self.fold(&self.nodes_shown(at))),
            _unknown => None,
        }
    }

    /// A job that is being cleaned up has the nodes that are not clean yet.
    fn nodes_shown(&self, at: usize) -> Vec<usize> {
        let job = &self.jobs[at];
        match job.phase {
            Phase::Completing => job.completing.iter().map(|(node, _)| *node).collect(),
            Phase::Pending | Phase::Configuring | Phase::Running | Phase::Ended(_) => {
                job.nodes.clone()
            }
        }
    }

    fn restarts(&self, at: usize) -> usize {
        let job = &self.jobs[at];
        let was_end = matches!(job.phase, Phase::Ended(Exit::NodeFail));
        job.requeues.len() - usize::from(was_end)
    }

    pub(crate) fn text_of_config(&self, now: i64) -> String {
        let settings = &self.settings;
        let seconds = |millis: i64| millis / 1_000;
        let mut out = format!("Configuration data as of {}\n", time(Some(now), "Unknown"));
        let mut set = |key: &str, value: String| {
            writeln!(out, "{key:<23} = {value}").expect(WRITES);
        };
        set("BOOT_TIME", time(Some(self.booted_at), "Unknown"));
        set("ClusterName", "sim".to_owned());
        set("KillWait", format!("{} sec", seconds(settings.kill_wait_ms)));
        set("PrivateData", "cloud".to_owned());
        set("ResumeFailProgram", "/usr/sbin/azslurm-resume-fail".to_owned());
        set("ResumeProgram", "/usr/sbin/azslurm-resume".to_owned());
        set("ResumeRate", format!("{} nodes/min", settings.resume_rate_per_min));
        set("ResumeTimeout", format!("{} sec", seconds(settings.resume_timeout_ms)));
        set("ReturnToService", settings.return_to_service.to_string());
        set("SlurmUser", format!("{}(64030)", settings.user));
        for (at, name) in settings.controllers.iter().enumerate() {
            set(&format!("SlurmctldHost[{at}]"), name.clone());
        }
        set("SlurmdTimeout", format!("{} sec", seconds(settings.slurmd_timeout_ms)));
        set("SLURM_CONF", "/etc/slurm/slurm.conf".to_owned());
        set("SLURM_VERSION", settings.version.as_str().to_owned());
        set("SuspendProgram", "/usr/sbin/azslurm-suspend".to_owned());
        set("SuspendRate", format!("{} nodes/min", settings.suspend_rate_per_min));
        set("SuspendTime", format!("{} sec", seconds(settings.suspend_time_ms)));
        set("SuspendTimeout", format!("{} sec", seconds(settings.suspend_timeout_ms)));
        out
    }
}

/// `JobState` and `Reason`.
fn words_of(phase: Phase, begin_at: i64, now: i64) -> (&'static str, &'static str) {
    match phase {
        Phase::Pending if begin_at > now => ("PENDING", "BeginTime"),
        Phase::Pending => ("PENDING", "Resources"),
        Phase::Configuring => ("CONFIGURING", "None"),
        Phase::Running => ("RUNNING", "None"),
        Phase::Completing => ("COMPLETING", "None"),
        Phase::Ended(Exit::Completed) => ("COMPLETED", "None"),
        Phase::Ended(Exit::Cancelled) => ("CANCELLED", "None"),
        Phase::Ended(Exit::NodeFail) => ("NODE_FAIL", "NodeDown"),
        Phase::Ended(Exit::LostToFirstEnd | Exit::LostWithState) => ("FAILED", "JobLaunchFailure"),
    }
}
