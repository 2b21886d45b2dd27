//! Settings of slurmctld that azslurm needs, or that break it (SLURM.md §5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_slurm::SlurmVersion;

use super::settings::Settings;
use super::{Finding, Pitfall};

const CHECK: &str = "slurm-conf";
/// What slurmctld calls, each with the name of our program.
const PROGRAMS: [(&str, &str); 3] = [
    ("ResumeProgram", "azslurm-resume"),
    ("SuspendProgram", "azslurm-suspend"),
    ("ResumeFailProgram", "azslurm-resume-fail"),
];
/// The slowest VMs (large images, many at once) need some minutes until slurmd registers.
const RESUME_TIMEOUT_MIN: Duration = Duration::from_secs(300);
/// A deletion takes up to two minutes; until then the old VM may still register.
pub const SUSPEND_TIMEOUT_MIN: Duration = Duration::from_secs(120);
/// A node whose VM is gone, and whose coming back nobody told slurmctld, is of no use so long.
const SUSPEND_TIMEOUT_EXPECTED_MAX: u64 = 1200;
/// Up to here a job waits for a VM that is gone until it is requeued.
const SLURMD_TIMEOUT_EXPECTED_MAX: u64 = 600;
/// slurmctld looks for nodes to power up or down so often at most; longer is not power saving.
const POWER_SAVE_INTERVAL_MAX: u64 = 60;
/// Jobs wait so long for others at most before their nodes are asked for.
const GATHERING_EXPECTED_MAX: u64 = 60;
/// The oldest and the newest that azslurm is tested with.
const OLDEST: SlurmVersion = SlurmVersion::new(22, 5, 0);
const NEWEST: SlurmVersion = SlurmVersion::new(26, 5, u16::MAX);
/// From here on nodes that are off are always shown.
const ALWAYS_SHOWN: SlurmVersion = SlurmVersion::new(23, 2, 0);
/// From here on addresses come with the registration, and messages fan out to cloud nodes.
const REGISTERED_ADDRESSES: SlurmVersion = SlurmVersion::new(23, 11, 0);
/// From here on a rate and an interval of more than a minute disable power saving.
const TOKEN_BUCKET: SlurmVersion = SlurmVersion::new(24, 5, 0);
/// No fan-out: every node is spoken to by slurmctld itself.
const TREE_WIDTH_FLAT: &str = "65533";

/// A program that slurmctld calls, as this machine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSeen {
    /// There, and may be executed.
    Executable,
    /// There, with these mode bits.
    NotExecutable(u32),
    /// There, and others than its owner may write it: these mode bits.
    WritableByOthers(u32),
    /// Not there, or not to be seen.
    Absent,
}

impl ProgramSeen {
    /// Looks at a file.
    pub fn look(path: &Path) -> ProgramSeen {
        match fs::metadata(path) {
            Ok(file) => ProgramSeen::of_mode(file.permissions().mode() & 0o7777),
            Err(_) => ProgramSeen::Absent,
        }
    }

    /// By a file's mode bits, as slurmctld judges them.
    pub fn of_mode(mode: u32) -> ProgramSeen {
        match (mode & 0o111 != 0, mode & 0o022 != 0) {
            (false, _) => ProgramSeen::NotExecutable(mode),
            (true, true) => ProgramSeen::WritableByOthers(mode),
            (true, false) => ProgramSeen::Executable,
        }
    }
}

/// All that a `slurm.conf` is checked for. `resume_timeout`: `resume_timeout_seconds` of the
/// config, if there is one; `look`: how a program's file is seen.
pub fn check(
    settings: &Settings,
    resume_timeout: Option<Duration>,
    look: impl Fn(&Path) -> ProgramSeen,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = PROGRAMS
        .iter()
        .filter_map(|(key, ours)| program(settings, (key, ours), &look))
        .chain(resume_times(settings, resume_timeout))
        .chain(suspend_times(settings))
        .chain(rates(settings))
        .chain(intervals(settings))
        .chain(switches(settings))
        .collect();
    match settings.version() {
        Some(version) => findings.extend(by_version(settings, version)),
        None if !settings.is_known("SLURM_VERSION") => {}
        None => findings.push(Finding::warning(
            CHECK,
            format!("slurmctld's version {:?} cannot be read", settings.value("SLURM_VERSION")),
            "report it: what depends on the version is not checked",
        )),
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "every setting that matters is as it should be"));
    }
    findings
}

/// A finding about a setting, with its place.
fn of(settings: &Settings, key: &str, finding: Finding) -> Finding {
    finding.at(settings.place(key))
}

fn program(
    settings: &Settings,
    (key, ours): (&str, &str),
    look: &impl Fn(&Path) -> ProgramSeen,
) -> Option<Finding> {
    let text = settings.value(key);
    let path = PathBuf::from(text);
    let set = format!("set {key}=/usr/sbin/{ours} (wherever it is) in slurm.conf, and reconfigure");
    let finding = if text.is_empty() {
        Finding::error(CHECK, format!("{key} is not set"), set).of(Pitfall::Autoscaling)
    } else if path.file_name().is_none_or(|name| name != ours) {
        Finding::error(CHECK, format!("{key} is {text}, and not {ours}"), set)
    } else if path.is_relative() {
        let text = format!("{key} is {text}, which does not begin with /");
        Finding::error(CHECK, text, set).because("slurmctld then does no power saving at all")
    } else {
        match look(&path) {
            ProgramSeen::Executable => return None,
            ProgramSeen::NotExecutable(mode) => Finding::error(
                CHECK,
                format!("{key} {text} is not executable (mode {mode:04o})"),
                format!("`chmod 0755 {text}`"),
            ),
            ProgramSeen::WritableByOthers(mode) => Finding::error(
                CHECK,
                format!("{key} {text} may be written by others (mode {mode:04o})"),
                format!("`chmod go-w {text}`"),
            )
            .because("slurmctld then does no power saving at all")
            .of(Pitfall::Security),
            ProgramSeen::Absent => Finding::error(
                CHECK,
                format!("{key} {text} is not on this machine"),
                "install azslurm where slurmctld runs, and look again there",
            ),
        }
    };
    Some(of(settings, key, finding))
}

fn resume_times(settings: &Settings, ours: Option<Duration>) -> Option<Finding> {
    let resume = settings.number("ResumeTimeout").map(Duration::from_secs);
    let seconds = resume.unwrap_or_default().as_secs();
    let finding = match (resume, ours) {
        (None, _) if settings.has_word("ResumeTimeout", "INFINITE") => Finding::warning(
            CHECK,
            "ResumeTimeout is INFINITE: a node that never comes up is never given up",
            "set ResumeTimeout=1800 in slurm.conf",
        )
        .because("ResumeFailProgram is never called, and the node's jobs wait for ever")
        .of(Pitfall::Autoscaling),
        (Some(resume), _) if resume < RESUME_TIMEOUT_MIN => Finding::warning(
            CHECK,
            format!("ResumeTimeout is {seconds} s: slower VMs are given up"),
            "set ResumeTimeout=1800 in slurm.conf (a partition may have its own)",
        )
        .of(Pitfall::StartUpTime),
        (Some(resume), Some(ours)) if ours > resume => Finding::warning(
            CHECK,
            format!(
                "resume_timeout_seconds of the config is {}, and ResumeTimeout {seconds} s: \
                 azslurm-resume goes on after slurmctld has given up",
                ours.as_secs(),
            ),
            "set both to the same, the greatest of all partitions",
        )
        .of(Pitfall::StartUpTime),
        _ => return None,
    };
    Some(of(settings, "ResumeTimeout", finding))
}

fn suspend_times(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = "SuspendTimeout";
    let suspend = settings.number(key);
    if let Some(suspend) = suspend.filter(|suspend| *suspend < SUSPEND_TIMEOUT_MIN.as_secs()) {
        let text = format!(
            "SuspendTimeout is {suspend} s: a node may be resumed while its old VM still registers"
        );
        let fix =
            "set SuspendTimeout=120 or more; a node whose VM is gone comes back earlier anyway";
        findings.push(of(settings, key, Finding::warning(CHECK, text, fix)));
    }
    if let Some(suspend) = suspend.filter(|suspend| *suspend > SUSPEND_TIMEOUT_EXPECTED_MAX) {
        let text = format!(
            "SuspendTimeout is {suspend} s: a node may be of no use so long after its VM is gone"
        );
        let fix = "set SuspendTimeout=300";
        let finding = Finding::warning(CHECK, text, fix).of(Pitfall::Autoscaling);
        findings.push(of(settings, key, finding));
    }
    let key = "SlurmdTimeout";
    let finding = match settings.number(key) {
        Some(0) => Finding::warning(
            CHECK,
            "SlurmdTimeout is 0: a VM that is gone is never noticed, and its job waits for ever",
            "set SlurmdTimeout=300",
        ),
        Some(slurmd) if slurmd > SLURMD_TIMEOUT_EXPECTED_MAX => Finding::warning(
            CHECK,
            format!("SlurmdTimeout is {slurmd} s: jobs of a VM that is gone are requeued late"),
            "set SlurmdTimeout=300 or less",
        ),
        Some(_) | None => return findings,
    };
    findings.push(of(settings, key, finding.of(Pitfall::Preemption)));
    findings
}

fn rates(settings: &Settings) -> Vec<Finding> {
    let limited = |(key, what): (&str, &str)| {
        let rate = settings.number(key).filter(|rate| *rate > 0)?;
        let finding = Finding::warning(
            CHECK,
            format!("{key} lets slurmctld {what} {rate} nodes in a minute"),
            format!("set {key}=0: azslurm keeps within Azure's limits itself"),
        );
        Some(of(settings, key, finding.of(Pitfall::Autoscaling)))
    };
    [("ResumeRate", "resume"), ("SuspendRate", "suspend")].into_iter().filter_map(limited).collect()
}

fn intervals(settings: &Settings) -> Vec<Finding> {
    let key = "SlurmctldParameters";
    let seconds = |key, name| settings.parameter(key, name).and_then(|text| text.parse().ok());
    let mut findings = Vec::new();
    let is_limited =
        ["ResumeRate", "SuspendRate"].iter().any(|key| settings.number(key).unwrap_or(0) > 0);
    let is_long = |interval: &u64| *interval > POWER_SAVE_INTERVAL_MAX;
    if let Some(interval) = seconds(key, "power_save_interval").filter(is_long) {
        let text = format!("power_save_interval is {interval} s: nodes are asked for late");
        let fix = "take it out of SlurmctldParameters: slurmctld looks every 10 s then";
        let is_off = is_limited && settings.version().is_none_or(|version| version >= TOKEN_BUCKET);
        let finding = match is_off {
            true => Finding::error(CHECK, text, fix).because(
                "with a ResumeRate or SuspendRate an interval of more than 60 s disables power \
                 saving",
            ),
            false => Finding::warning(CHECK, text, fix),
        };
        findings.push(of(settings, key, finding.of(Pitfall::Autoscaling)));
    }
    let gathering = [
        (key, "power_save_min_interval"),
        ("SchedulerParameters", "batch_sched_delay"),
        ("SchedulerParameters", "sched_interval"),
    ];
    for (key, name) in gathering {
        let found = seconds(key, name);
        if let Some(delay) = found.filter(|delay: &u64| *delay > GATHERING_EXPECTED_MAX) {
            let text =
                format!("{name} is {delay} s: so long a job may wait before its nodes start");
            let finding = Finding::warning(CHECK, text, format!("lower {name} in {key}"));
            findings.push(of(settings, key, finding.of(Pitfall::StartUpTime)));
        }
    }
    findings
}

fn switches(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = "ReturnToService";
    if settings.number(key) != Some(2) {
        let text = format!("ReturnToService is {}: a late VM does not serve", settings.value(key));
        let finding = Finding::warning(CHECK, text, "set ReturnToService=2");
        findings.push(of(settings, key, finding.of(Pitfall::StaticThinking)));
    }
    let key = "SlurmctldParameters";
    if !settings.has_word(key, "idle_on_node_suspend") {
        let finding = Finding::warning(
            CHECK,
            "SlurmctldParameters lacks idle_on_node_suspend: a node that is suspended stays DOWN",
            "add idle_on_node_suspend to SlurmctldParameters",
        );
        findings.push(of(settings, key, finding.of(Pitfall::StaticThinking)));
    }
    let percent = settings.parameter(key, "node_reg_mem_percent");
    if percent.and_then(|text| text.parse::<f64>().ok()).is_some_and(|percent| percent > 99.0) {
        let finding = Finding::warning(
            CHECK,
            "node_reg_mem_percent is 100: a VM with a little less memory than slurm.conf says is \
             drained",
            "take it out of SlurmctldParameters: cloud nodes may then have a tenth less",
        );
        findings.push(of(settings, key, finding.of(Pitfall::InstanceTypes)));
    }
    findings
}

fn by_version(settings: &Settings, version: SlurmVersion) -> Vec<Finding> {
    let mut findings = Vec::new();
    if version < OLDEST {
        let text = format!("Slurm {version} is older than azslurm works with");
        findings.push(Finding::error(CHECK, text, "update Slurm to 22.05 or later"));
    }
    if version > NEWEST {
        let text = format!("Slurm {version} is newer than azslurm is tested with (26.05)");
        findings.push(Finding::note(CHECK, text, "see whether there is a newer azslurm"));
    }
    if version < ALWAYS_SHOWN && !settings.has_word("PrivateData", "cloud") {
        let text =
            format!("PrivateData lacks cloud: Slurm {version} then shows no node that is off");
        let finding = Finding::error(CHECK, text, "add cloud to PrivateData");
        findings.push(of(settings, "PrivateData", finding));
    }
    if version < REGISTERED_ADDRESSES {
        findings.extend(addresses(settings, version));
    }
    findings
}

/// What Slurm needs to find nodes whose addresses change, before it did so by itself.
fn addresses(settings: &Settings, version: SlurmVersion) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = "SlurmctldParameters";
    if settings.has_word(key, "cloud_dns") {
        return findings;
    }
    if !settings.has_word(key, "cloud_reg_addrs") {
        let finding = Finding::error(
            CHECK,
            format!(
                "SlurmctldParameters lacks cloud_reg_addrs: Slurm {version} does not learn where \
                 a VM is"
            ),
            "add cloud_reg_addrs to SlurmctldParameters",
        );
        findings.push(of(settings, key, finding.of(Pitfall::Network)));
    }
    let key = "TreeWidth";
    let width = settings.value(key);
    if width != TREE_WIDTH_FLAT {
        let width = if width.is_empty() { "not set" } else { width };
        let finding = Finding::warning(
            CHECK,
            format!(
                "TreeWidth is {width}: Slurm {version} fans messages out over nodes that do \
                 not know each other's addresses"
            ),
            format!("set TreeWidth={TREE_WIDTH_FLAT}"),
        );
        findings.push(of(settings, key, finding.of(Pitfall::Network)));
    }
    let key = "CommunicationParameters";
    if !settings.has_word(key, "NoAddrCache") {
        let finding = Finding::warning(
            CHECK,
            format!(
                "CommunicationParameters lacks NoAddrCache: Slurm {version} goes on sending to \
                 the address of a VM that is gone"
            ),
            "set CommunicationParameters=NoAddrCache",
        );
        findings.push(of(settings, key, finding.of(Pitfall::Network)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Level;

    const OURS: Option<Duration> = Some(Duration::from_secs(1800));

    /// As `scontrol show config` prints what SLURM.md recommends.
    fn good(version: &str) -> BTreeMap<String, Option<String>> {
        let settings = [
            ("slurm_version", version),
            ("slurmuser", "slurm(64030)"),
            ("resumeprogram", "/usr/sbin/azslurm-resume"),
            ("suspendprogram", "/usr/sbin/azslurm-suspend"),
            ("resumefailprogram", "/usr/sbin/azslurm-resume-fail"),
            ("resumetimeout", "1800 sec"),
            ("suspendtimeout", "300 sec"),
            ("resumerate", "0 nodes/min"),
            ("suspendrate", "0 nodes/min"),
            ("returntoservice", "2"),
            ("slurmctldparameters", "cloud_reg_addrs,idle_on_node_suspend"),
            ("communicationparameters", "NoAddrCache"),
            ("slurmdtimeout", "300 sec"),
            ("privatedata", "cloud"),
            ("treewidth", "65533"),
        ];
        settings.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into()
    }

    fn with(version: &str, key: &str, value: Option<&str>) -> Vec<Finding> {
        let mut settings = good(version);
        settings.insert(key.to_owned(), value.map(str::to_owned));
        check(&settings.into(), OURS, |_| ProgramSeen::Executable)
    }

    #[test]
    fn the_recommended_settings_are_good_on_every_version() {
        for version in ["22.05.8", "23.02.1", "23.11.4", "26.05.0"] {
            let findings = check(&good(version).into(), OURS, |_| ProgramSeen::Executable);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].level, Level::Ok);
        }
        assert_eq!(Settings::from(good("22.05.8")).slurm_user(), Some(64030));
    }

    #[test]
    fn each_setting_that_breaks_something_is_named_with_its_fix() {
        use Level::{Error, Ok, Warning};
        let cases = [
            ("22.05.8", "resumeprogram", None, Error, "ResumeProgram is not set"),
            ("22.05.8", "suspendprogram", Some("/bin/mine"), Error, "/bin/mine, and not azslurm-s"),
            ("22.05.8", "resumefailprogram", None, Error, "ResumeFailProgram is not set"),
            ("22.05.8", "resumetimeout", Some("60 sec"), Warning, "ResumeTimeout is 60 s"),
            ("22.05.8", "resumetimeout", Some("1799 sec"), Warning, "is 1800, and ResumeTimeout"),
            ("25.05.0", "resumetimeout", Some("INFINITE"), Warning, "is never given up"),
            ("22.05.8", "suspendtimeout", Some("30 sec"), Warning, "SuspendTimeout is 30 s"),
            ("22.05.8", "suspendtimeout", Some("3600 sec"), Warning, "of no use so long"),
            ("22.05.8", "slurmdtimeout", Some("0 sec"), Warning, "is never noticed"),
            ("22.05.8", "slurmdtimeout", Some("3600 sec"), Warning, "requeued late"),
            ("22.05.8", "resumeprogram", Some("azslurm-resume"), Error, "not begin with /"),
            ("22.05.8", "communicationparameters", None, Warning, "lacks NoAddrCache"),
            ("21.08.1", "slurmuser", None, Error, "21.08.1 is older"),
            ("27.11.0", "slurmuser", None, Level::Note, "27.11.0 is newer"),
            ("22.05.8", "schedulerparameters", Some("batch_sched_delay=90"), Warning, "90 s"),
            ("22.05.8", "resumerate", Some("300 nodes/min"), Warning, "resume 300 nodes"),
            ("22.05.8", "suspendrate", Some("60 nodes/min"), Warning, "suspend 60 nodes"),
            ("22.05.8", "returntoservice", Some("0"), Warning, "ReturnToService is 0"),
            ("22.05.8", "slurmctldparameters", Some("cloud_reg_addrs"), Warning, "idle_on_node"),
            ("22.05.8", "slurmctldparameters", Some("idle_on_node_suspend"), Error, "cloud_reg"),
            ("23.11.1", "slurmctldparameters", Some("idle_on_node_suspend"), Ok, ""),
            ("22.05.8", "privatedata", Some("none"), Error, "PrivateData lacks cloud"),
            ("23.02.0", "privatedata", None, Ok, ""),
            ("22.05.8", "treewidth", Some("50"), Warning, "TreeWidth is 50"),
            ("23.11.1", "treewidth", Some("16"), Ok, ""),
            ("what", "privatedata", None, Warning, "version \"what\" cannot be read"),
        ];
        for (version, key, value, level, words) in cases {
            let findings = with(version, key, value);
            assert_eq!(findings.len(), 1, "{key} {value:?}: {findings:?}");
            let finding = &findings[0];
            assert_eq!(finding.level, level, "{key} {value:?}: {findings:?}");
            assert!(finding.text.contains(words), "{findings:?}");
            assert_eq!(finding.fix.is_some(), level != Ok, "{findings:?}");
        }
    }

    #[test]
    fn a_program_must_be_there_and_executable() {
        let seen = |seen: &ProgramSeen| {
            let findings = check(&good("22.05.8").into(), None, |_| seen.clone());
            (findings.len(), findings[0].level, findings[0].text.clone())
        };
        let (count, level, text) = seen(&ProgramSeen::Absent);
        assert_eq!((count, level), (3, Level::Error));
        assert!(text.contains("is not on this machine"), "{text}");
        let (count, _, text) = seen(&ProgramSeen::NotExecutable(0o644));
        assert!(count == 3 && text.contains("not executable (mode 0644)"), "{text}");
        let (count, _, text) = seen(&ProgramSeen::of_mode(0o775));
        assert!(count == 3 && text.contains("be written by others (mode 0775)"), "{text}");
    }

    #[test]
    fn a_long_interval_is_late_and_with_a_rate_it_is_the_end_of_power_saving() {
        let parameters = "cloud_reg_addrs,idle_on_node_suspend,power_save_interval=90";
        let levels = |version: &str, rate: &str| -> Vec<Level> {
            let mut settings = good(version);
            settings.insert("slurmctldparameters".into(), Some(parameters.into()));
            settings.insert("suspendrate".into(), Some(rate.into()));
            let found = check(&settings.into(), OURS, |_| ProgramSeen::Executable);
            found.iter().map(|finding| finding.level).collect()
        };
        assert_eq!(levels("24.11.5", "0 nodes/min"), [Level::Warning]);
        assert_eq!(levels("24.11.5", "60 nodes/min"), [Level::Warning, Level::Error]);
        assert_eq!(levels("23.11.5", "60 nodes/min"), [Level::Warning, Level::Warning]);
    }
}
