//! Settings of a running slurmctld (`scontrol show config`) that azslurm needs, or that break it
//! (SLURM.md §5).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_slurm::SlurmVersion;

use super::Finding;

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
const SUSPEND_TIMEOUT_MIN: Duration = Duration::from_secs(120);
/// From here on nodes that are off are always shown.
const ALWAYS_SHOWN: SlurmVersion = SlurmVersion::new(23, 2, 0);
/// From here on addresses come with the registration, and messages fan out to cloud nodes.
const REGISTERED_ADDRESSES: SlurmVersion = SlurmVersion::new(23, 11, 0);
/// No fan-out: every node is spoken to by slurmctld itself.
const TREE_WIDTH_FLAT: &str = "65533";

/// Settings, keys in lower case.
pub type Settings = BTreeMap<String, Option<String>>;

/// A program that slurmctld calls, as this machine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSeen {
    /// There, and may be executed.
    Executable,
    /// There, with these mode bits.
    NotExecutable(u32),
    /// Not there, or not to be seen.
    Absent,
}

impl ProgramSeen {
    /// Looks at a file.
    pub fn look(path: &Path) -> ProgramSeen {
        match fs::metadata(path) {
            Ok(file) if file.permissions().mode() & 0o111 != 0 => ProgramSeen::Executable,
            Ok(file) => ProgramSeen::NotExecutable(file.permissions().mode() & 0o7777),
            Err(_) => ProgramSeen::Absent,
        }
    }
}

/// slurmctld's version, of its settings.
pub fn version(settings: &Settings) -> Option<SlurmVersion> {
    value(settings, "SLURM_VERSION").parse().ok()
}

/// SlurmUser's number, of `slurm(64030)`.
pub fn slurm_user(settings: &Settings) -> Option<u32> {
    value(settings, "SlurmUser").split_once('(')?.1.strip_suffix(')')?.parse().ok()
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
        .chain(times(settings, resume_timeout))
        .chain(rates(settings))
        .chain(switches(settings))
        .collect();
    match version(settings) {
        Some(version) => findings.extend(by_version(settings, version)),
        None => findings.push(Finding::warning(
            CHECK,
            format!("slurmctld's version {:?} cannot be read", value(settings, "SLURM_VERSION")),
            "report it: what depends on the version is not checked",
        )),
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "every setting that matters is as it should be"));
    }
    findings
}

fn value<'s>(settings: &'s Settings, key: &str) -> &'s str {
    settings.get(&key.to_ascii_lowercase()).and_then(Option::as_deref).unwrap_or_default()
}

fn has_word(settings: &Settings, key: &str, word: &str) -> bool {
    value(settings, key).split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// `60 sec` and `60 nodes/min`; `None` for `INFINITE` and what is no number.
fn number(settings: &Settings, key: &str) -> Option<u64> {
    value(settings, key).split_whitespace().next()?.parse().ok()
}

fn program(
    settings: &Settings,
    (key, ours): (&str, &str),
    look: &impl Fn(&Path) -> ProgramSeen,
) -> Option<Finding> {
    let text = value(settings, key);
    let path = PathBuf::from(text);
    let set = format!("set {key}=/usr/sbin/{ours} (wherever it is) in slurm.conf, and reconfigure");
    if text.is_empty() {
        return Some(Finding::error(CHECK, format!("{key} is not set"), set));
    }
    if path.file_name().is_none_or(|name| name != ours) {
        return Some(Finding::error(CHECK, format!("{key} is {text}, and not {ours}"), set));
    }
    match look(&path) {
        ProgramSeen::Executable => None,
        ProgramSeen::NotExecutable(mode) => Some(Finding::error(
            CHECK,
            format!("{key} {text} is not executable (mode {mode:04o})"),
            format!("`chmod 0755 {text}`"),
        )),
        ProgramSeen::Absent => Some(Finding::error(
            CHECK,
            format!("{key} {text} is not on this machine"),
            "install azslurm where slurmctld runs, and run doctor there",
        )),
    }
}

fn times(settings: &Settings, ours: Option<Duration>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let seconds = |key| number(settings, key).map(Duration::from_secs);
    let resume = seconds("ResumeTimeout");
    if let Some(resume) = resume.filter(|resume| *resume < RESUME_TIMEOUT_MIN) {
        findings.push(Finding::warning(
            CHECK,
            format!("ResumeTimeout is {} s: slower VMs are given up", resume.as_secs()),
            "set ResumeTimeout=1800 in slurm.conf (a partition may have its own)",
        ));
    } else if let (Some(resume), Some(ours)) = (resume, ours)
        && ours > resume
    {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "resume_timeout_seconds of the config is {}, and ResumeTimeout {} s: \
                 azslurm-resume goes on after slurmctld has given up",
                ours.as_secs(),
                resume.as_secs()
            ),
            "set both to the same, the greatest of all partitions",
        ));
    }
    let suspend = seconds("SuspendTimeout");
    if let Some(suspend) = suspend.filter(|suspend| *suspend < SUSPEND_TIMEOUT_MIN) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "SuspendTimeout is {} s: a node may be resumed while its old VM still registers",
                suspend.as_secs()
            ),
            "set SuspendTimeout=120 or more; a node whose VM is gone comes back earlier anyway",
        ));
    }
    findings
}

fn rates(settings: &Settings) -> Vec<Finding> {
    let limited = |(key, what): (&str, &str)| {
        let rate = number(settings, key).filter(|rate| *rate > 0)?;
        Some(Finding::warning(
            CHECK,
            format!("{key} lets slurmctld {what} {rate} nodes in a minute"),
            format!("set {key}=0: azslurm keeps within Azure's limits itself"),
        ))
    };
    [("ResumeRate", "resume"), ("SuspendRate", "suspend")].into_iter().filter_map(limited).collect()
}

fn switches(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if number(settings, "ReturnToService") != Some(2) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "ReturnToService is {}: a late VM does not serve",
                value(settings, "ReturnToService")
            ),
            "set ReturnToService=2",
        ));
    }
    if !has_word(settings, "SlurmctldParameters", "idle_on_node_suspend") {
        findings.push(Finding::warning(
            CHECK,
            "SlurmctldParameters lacks idle_on_node_suspend: a node that is suspended stays DOWN",
            "add idle_on_node_suspend to SlurmctldParameters",
        ));
    }
    findings
}

fn by_version(settings: &Settings, version: SlurmVersion) -> Vec<Finding> {
    let mut findings = Vec::new();
    if version < ALWAYS_SHOWN && !has_word(settings, "PrivateData", "cloud") {
        findings.push(Finding::error(
            CHECK,
            format!("PrivateData lacks cloud: Slurm {version} then shows no node that is off"),
            "add cloud to PrivateData",
        ));
    }
    if version >= REGISTERED_ADDRESSES {
        return findings;
    }
    let has_dns = has_word(settings, "SlurmctldParameters", "cloud_dns");
    if !has_dns && !has_word(settings, "SlurmctldParameters", "cloud_reg_addrs") {
        findings.push(Finding::error(
            CHECK,
            format!(
                "SlurmctldParameters lacks cloud_reg_addrs: Slurm {version} does not learn \
                where a VM is"
            ),
            "add cloud_reg_addrs to SlurmctldParameters",
        ));
    }
    let width = value(settings, "TreeWidth");
    if !has_dns && width != TREE_WIDTH_FLAT {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "TreeWidth is {width}: Slurm {version} fans messages out over nodes that do \
                not know each other's addresses"
            ),
            format!("set TreeWidth={TREE_WIDTH_FLAT}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    const OURS: Option<Duration> = Some(Duration::from_secs(1800));

    /// As `scontrol show config` prints what SLURM.md recommends.
    fn good(version: &str) -> Settings {
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
            ("privatedata", "cloud"),
            ("treewidth", "65533"),
        ];
        settings.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into()
    }

    fn with(version: &str, key: &str, value: Option<&str>) -> Vec<Finding> {
        let mut settings = good(version);
        settings.insert(key.to_owned(), value.map(str::to_owned));
        check(&settings, OURS, |_| ProgramSeen::Executable)
    }

    #[test]
    fn the_recommended_settings_are_good_on_every_version() {
        for version in ["22.05.8", "23.02.1", "23.11.4", "26.05.0"] {
            let findings = check(&good(version), OURS, |_| ProgramSeen::Executable);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].level, Level::Ok);
        }
        assert_eq!(slurm_user(&good("22.05.8")), Some(64030));
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
            ("25.05.0", "resumetimeout", Some("INFINITE"), Ok, ""),
            ("22.05.8", "suspendtimeout", Some("30 sec"), Warning, "SuspendTimeout is 30 s"),
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
            let findings = check(&good("22.05.8"), None, |_| seen.clone());
            (findings.len(), findings[0].level, findings[0].text.clone())
        };
        let (count, level, text) = seen(&ProgramSeen::Absent);
        assert_eq!((count, level), (3, Level::Error));
        assert!(text.contains("is not on this machine"), "{text}");
        let (count, _, text) = seen(&ProgramSeen::NotExecutable(0o644));
        assert!(count == 3 && text.contains("not executable (mode 0644)"), "{text}");
    }
}
