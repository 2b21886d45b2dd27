//! What the checks judge: everything that was looked at, as values. How it is looked at is
//! [`super::look`]'s; no rule looks by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use azslurm_core::size::Sizes;
use azslurm_program::check::Finding;
use azslurm_program::check::disk::Disk;
use azslurm_program::check::ledger::LedgerSeen;
use azslurm_program::check::settings::Settings;
use azslurm_slurm::{Conf, Node, SlurmVersion};

/// Everything that was looked at.
#[derive(Debug, Clone)]
pub struct Seen {
    /// azslurm.toml.
    pub path: PathBuf,
    /// Its text, for the places of findings.
    pub text: String,
    /// What is kept of Azure's sizes beside it.
    pub sizes: Sizes,
    /// slurm.conf with all that it includes; `Err` where it should be, and why it cannot be read.
    pub conf: Result<Conf, (PathBuf, String)>,
    /// topology.conf, if it is there.
    pub topology: Option<Conf>,
    /// slurmctld.
    pub running: Running,
    /// The Slurm that is installed, if that is known.
    pub version: Option<SlurmVersion>,
    /// Every path that a rule asks for.
    pub files: BTreeMap<PathBuf, PathSeen>,
    /// The users of this machine.
    pub accounts: Accounts,
    /// The ledger's place.
    pub ledger: LedgerSeen,
    /// Whether journald takes lines.
    pub has_journal: bool,
    /// Whether the log file of the config takes lines, if it names one.
    pub log: Option<Result<(), String>>,
    /// Whether munged answers at its socket; `Err` why not.
    pub munge: Result<(), String>,
}

/// What slurmctld said.
#[derive(Debug, Clone)]
pub enum Running {
    /// It was not asked.
    NotAsked,
    /// It did not answer, which is a finding.
    Silent(Box<Finding>),
    /// Its settings and nodes.
    Answered {
        /// `scontrol show config`.
        settings: Settings,
        /// `scontrol show nodes`.
        nodes: Vec<Node>,
    },
}

/// A file or folder, with every folder above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathSeen {
    /// From `/` to the path itself, as far as it could be followed.
    pub steps: Vec<Step>,
    /// Why the path itself cannot be seen.
    pub missing: Option<Missing>,
    /// What it is on.
    pub disk: Disk,
    /// What is in it, if a rule asks for that and it can be read.
    pub text: Option<String>,
}

/// Why a path cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is not there.
    Absent,
    /// It may be there: what the system says.
    Hidden(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Absent => f.write_str("it is not there"),
            Missing::Hidden(why) => f.write_str(why),
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// So far.
    pub path: PathBuf,
    /// Its owner's number.
    pub owner: u32,
    /// Its group's number.
    pub group: u32,
    /// Its mode bits.
    pub mode: u32,
}

/// What somebody wants to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write it, or make files in it.
    Write,
    /// Run it, or go through it.
    Execute,
}

/// Whether somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Yes, as far as mode bits say.
    Yes,
    /// No: because of this step.
    No(Step),
    /// The groups of the account, or the path, are not known.
    Unknown,
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// Numbers of all groups, if they are known.
    pub groups: Option<Vec<u32>>,
}

impl PathSeen {
    /// The path itself.
    pub fn itself(&self) -> Option<&Step> {
        self.steps.last().filter(|_| self.missing.is_none())
    }

    /// Whether it is certain that it is not there.
    pub fn is_absent(&self) -> bool {
        self.missing == Some(Missing::Absent)
    }

    /// Whether `who` may do it: through every folder, and then with the path itself. Access control
    /// lists are not looked at.
    pub fn reach(&self, who: &Account, wanted: Access) -> Reach {
        let Some((last, above)) = self.steps.split_last() else { return Reach::Unknown };
        let (last, above) = match self.missing {
            None => (Some(last), above),
            Some(_) => (None, self.steps.as_slice()),
        };
        let steps = above.iter().map(|step| (step, Access::Execute));
        for (step, wanted) in steps.chain(last.map(|last| (last, wanted))) {
            match step.allows(who, wanted) {
                Some(true) => {}
                Some(false) => return Reach::No(step.clone()),
                None => return Reach::Unknown,
            }
        }
        if last.is_some() { Reach::Yes } else { Reach::Unknown }
    }
}

impl Step {
    /// As the kernel decides; `None`: it depends on groups that are not known.
    fn allows(&self, who: &Account, wanted: Access) -> Option<bool> {
        let bit = match wanted {
            Access::Read => 0o4,
            Access::Write => 0o2,
            Access::Execute => 0o1,
        };
        let (of_owner, of_group, of_others) =
            (self.mode & (bit << 6) != 0, self.mode & (bit << 3) != 0, self.mode & bit != 0);
        if who.user == 0 {
            return Some(wanted != Access::Execute || of_owner || of_group || of_others);
        }
        if who.user == self.owner {
            return Some(of_owner);
        }
        match &who.groups {
            Some(groups) if groups.contains(&self.group) => Some(of_group),
            Some(_) => Some(of_others),
            None if of_group == of_others => Some(of_others),
            None => None,
        }
    }
}

/// `/etc/passwd` and `/etc/group`. What a directory service adds is not known here: the programs
/// ask no name service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The text of `/etc/passwd`.
    pub passwd: String,
    /// The text of `/etc/group`.
    pub group: String,
}

impl Accounts {
    /// A user by name or number; `None`: nobody here has the name.
    pub fn by_name(&self, name: &str) -> Option<Account> {
        let line = self.users().find(|user| user[0] == name);
        match (line, name.parse()) {
            (Some(user), _) => Some(self.account(user[2].parse().ok()?)),
            (None, Ok(number)) => Some(self.account(number)),
            (None, Err(_)) => None,
        }
    }

    /// A user by number, with all groups if it is one of this machine.
    pub fn account(&self, user: u32) -> Account {
        let line = self.users().find(|fields| fields[2].parse() == Ok(user));
        let groups = line.map(|fields| {
            let of_its_own = fields[3].parse().ok();
            let others = self.group.lines().filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let is_in = fields.get(3)?.split(',').any(|name| self.is_name_of(name, user));
                fields.get(2)?.parse().ok().filter(|_: &u32| is_in)
            });
            of_its_own.into_iter().chain(others).collect()
        });
        Account { user, groups }
    }

    fn is_name_of(&self, name: &str, user: u32) -> bool {
        self.users().any(|fields| fields[0] == name && fields[2].parse() == Ok(user))
    }

    fn users(&self) -> impl Iterator<Item = Vec<&str>> {
        let fields = self.passwd.lines().map(|line| line.split(':').collect::<Vec<&str>>());
        fields.filter(|fields| fields.len() >= 4)
    }
}

impl Seen {
    /// What was seen of a path; `None`: nobody looked.
    pub fn file(&self, path: &Path) -> Option<&PathSeen> {
        self.files.get(path)
    }
}
