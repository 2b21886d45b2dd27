//! Who may talk to slurmctld: MUNGE or auth/slurm, and SlurmUser.

use std::path::{Path, PathBuf};

use azslurm_program::check::settings::Settings;
use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::SlurmVersion;

use crate::check::scene::Scene;

const CHECK: &str = "auth";
/// Where munged listens and has its key unless somebody says otherwise (munged(8)).
const MUNGE_SOCKET: &str = "/run/munge/munge.socket.2";
const MUNGE_KEY: &str = "/etc/munge/munge.key";
/// Where auth/slurm has its key (slurm.conf(5)).
const SLURM_KEY: &str = "/etc/slurm/slurm.key";
/// A key is its owner's.
const OTHERS: u32 = 0o077;
/// From here on there is auth/slurm.
const AUTH_SLURM: SlurmVersion = SlurmVersion::new(23, 11, 0);

/// The socket of munged, if Slurm uses it.
pub fn munge_socket(settings: &Settings) -> Option<PathBuf> {
    let is_munge = ["", "auth/munge"].contains(&settings.value("AuthType"));
    let named = settings.parameter("AuthInfo", "socket");
    is_munge.then(|| PathBuf::from(named.unwrap_or(MUNGE_SOCKET)))
}

/// The key, if it is where it usually is.
pub fn munge_key(settings: &Settings) -> Option<&'static Path> {
    match settings.value("AuthType") {
        "auth/slurm" => Some(Path::new(SLURM_KEY)),
        "" | "auth/munge" if settings.parameter("AuthInfo", "socket").is_none() => {
            Some(Path::new(MUNGE_KEY))
        }
        _ => None,
    }
}

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = kind(scene).into_iter().collect::<Vec<_>>();
    findings.extend(socket(scene));
    findings.extend(key(scene));
    if scene.settings.slurm_user_name() == "root" {
        let said = "SlurmUser is root";
        let fix = "make a user for it (`useradd -r slurm`), and give it StateSaveLocation, the log \
                   and the ledger";
        let finding = Finding::warning(CHECK, said, fix)
            .because("slurmctld and every program that it calls then may do everything here");
        findings.push(finding.at(scene.settings.place("SlurmUser")).of(Pitfall::Security));
    }
    findings
}

fn kind(scene: &Scene<'_>) -> Option<Finding> {
    let key = "AuthType";
    let finding = match scene.settings.value(key) {
        "auth/none" => Finding::error(
            CHECK,
            "AuthType is auth/none: whoever reaches slurmctld is whoever they say",
            "set AuthType=auth/munge",
        ),
        "auth/slurm" if scene.version().is_some_and(|version| version < AUTH_SLURM) => {
            let said = "auth/slurm is there from Slurm 23.11 on";
            Finding::error(CHECK, said, "set AuthType=auth/munge")
        }
        _ => return None,
    };
    Some(finding.at(scene.settings.place(key)).of(Pitfall::Security))
}

fn socket(scene: &Scene<'_>) -> Option<Finding> {
    let socket = munge_socket(&scene.settings)?;
    let why = scene.seen.munge.as_ref().err()?;
    let said = format!("munged does not answer at {}: {why}", socket.display());
    let fix = "`systemctl enable --now munge`, or correct socket= in AuthInfo";
    let finding = Finding::error(CHECK, said, fix).because("no command of Slurm works without it");
    Some(finding.at(scene.settings.place("AuthInfo")))
}

fn key(scene: &Scene<'_>) -> Option<Finding> {
    let path = munge_key(&scene.settings)?;
    let seen = scene.seen.file(path)?;
    let shown = path.display();
    if seen.is_absent() {
        let said = format!("there is no key {shown}");
        let fix = "make one (`mungekey` for MUNGE, 1024 random bytes for auth/slurm), the same on \
                   all nodes";
        return Some(Finding::error(CHECK, said, fix).of(Pitfall::Security));
    }
    let mode = seen.itself()?.mode;
    (mode & OTHERS != 0).then(|| {
        let said = format!("the key {shown} is open to others (mode {mode:04o})");
        Finding::error(CHECK, said, format!("`chmod 0400 {shown}`, and make a new key"))
            .because("whoever has the key is root for Slurm, on every node")
            .of(Pitfall::Security)
    })
}
