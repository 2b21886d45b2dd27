//! A node's state as slurmctld says it.

use std::fmt;
use std::str::FromStr;

/// The base state of a node (`scontrol show node`, before the first `+`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeBase {
    /// Nothing runs on it.
    Idle,
    /// All of it is allocated.
    Allocated,
    /// Part of it is allocated.
    Mixed,
    /// Out of order.
    Down,
    /// Defined, not configured.
    Future,
    /// slurmctld does not know (yet), or the word is new to us: the word is kept.
    Unknown(String),
}

/// A flag of a node's state. Flags that we do not know are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFlag {
    /// The node may be powered on and off (`State=CLOUD`).
    Cloud,
    /// It is off.
    PoweredDown,
    /// Somebody asked to power it down.
    PowerDown,
    /// SuspendProgram was called for it, less than SuspendTimeout ago.
    PoweringDown,
    /// Somebody asked to power it up.
    PowerUp,
    /// ResumeProgram was called for it, and slurmd has not registered yet.
    PoweringUp,
    /// slurmd does not answer.
    NotResponding,
    /// No new jobs.
    Drain,
    /// A job is being cleaned up.
    Completing,
    /// It registered with less than slurm.conf says.
    InvalidReg,
    /// In a maintenance reservation.
    Maintenance,
    /// Reserved.
    Reserved,
    /// A reboot was asked for or is under way.
    Reboot,
    /// Planned for a job by the backfill scheduler.
    Planned,
    /// It is set to fail.
    Fail,
    /// Made with `scontrol create` or `slurmd -Z`.
    Dynamic,
    /// A word that is new to us.
    Other(String),
}

/// A node's state: `IDLE+CLOUD+POWERED_DOWN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// The first word.
    pub base: NodeBase,
    /// The words after it, in our order, each once: a node has one to three.
    flags: Vec<NodeFlag>,
}

impl NodeState {
    /// Whether `flag` is set.
    pub fn has(&self, flag: &NodeFlag) -> bool {
        self.flags.contains(flag)
    }

    /// Sets `flag`, whether it was set or not.
    pub fn set(&mut self, flag: NodeFlag) {
        if let Err(at) = self.flags.binary_search(&flag) {
            self.flags.insert(at, flag);
        }
    }

    /// The words that we do not know, for the report.
    pub fn unknown_words(&self) -> Vec<&str> {
        let base = match &self.base {
            NodeBase::Unknown(word) => Some(word.as_str()),
            NodeBase::Idle
            | NodeBase::Allocated
            | NodeBase::Mixed
            | NodeBase::Down
            | NodeBase::Future => None,
        };
        let flags = self.flags.iter().filter_map(|flag| {
            if let NodeFlag::Other(word) = flag { Some(word.as_str()) } else { None }
        });
        base.into_iter().chain(flags).collect()
    }
}

impl FromStr for NodeState {
    type Err = std::convert::Infallible;

    /// Reads `State=` of `scontrol show node`. Total: what is unknown is kept. The suffixes that
    /// sinfo and older versions add to the base word (`*` for not responding, and so on) are
    /// understood too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split('+').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or("");
        let word = first.trim_end_matches(|suffix: char| "*~#%!$@^-".contains(suffix));
        let of_suffixes = first[word.len()..].chars().map(flag_of_suffix);
        let mut flags: Vec<NodeFlag> = of_suffixes.chain(words.map(flag_of_word)).collect();
        flags.sort_unstable();
        flags.dedup();
        Ok(NodeState { base: base_of_word(word), flags })
    }
}

fn base_of_word(word: &str) -> NodeBase {
    match known_base(word) {
        Some(base) => base,
        // In other letters than slurmctld's, or unknown.
        None => {
            let word = word.to_ascii_uppercase();
            known_base(&word).unwrap_or(NodeBase::Unknown(word))
        }
    }
}

fn known_base(word: &str) -> Option<NodeBase> {
    Some(match word {
        "IDLE" => NodeBase::Idle,
        "ALLOCATED" | "ALLOC" => NodeBase::Allocated,
        "MIXED" | "MIX" => NodeBase::Mixed,
        "DOWN" => NodeBase::Down,
        "FUTURE" => NodeBase::Future,
        _other => return None,
    })
}

fn flag_of_word(word: &str) -> NodeFlag {
    match known_flag(word) {
        Some(flag) => flag,
        None => {
            let word = word.to_ascii_uppercase();
            known_flag(&word).unwrap_or(NodeFlag::Other(word))
        }
    }
}

fn known_flag(word: &str) -> Option<NodeFlag> {
    Some(match word {
        "CLOUD" => NodeFlag::Cloud,
        "POWERED_DOWN" => NodeFlag::PoweredDown,
        "POWER_DOWN" => NodeFlag::PowerDown,
        "POWERING_DOWN" => NodeFlag::PoweringDown,
        "POWER_UP" => NodeFlag::PowerUp,
        "POWERING_UP" => NodeFlag::PoweringUp,
        "NOT_RESPONDING" => NodeFlag::NotResponding,
        "DRAIN" => NodeFlag::Drain,
        "COMPLETING" => NodeFlag::Completing,
        "INVALID_REG" => NodeFlag::InvalidReg,
        "MAINTENANCE" | "MAINT" => NodeFlag::Maintenance,
        "RESERVED" => NodeFlag::Reserved,
        "REBOOT_REQUESTED" | "REBOOT_ISSUED" | "REBOOT" => NodeFlag::Reboot,
        "PLANNED" => NodeFlag::Planned,
        "FAIL" => NodeFlag::Fail,
        "DYNAMIC_NORM" | "DYNAMIC_FUTURE" => NodeFlag::Dynamic,
        _other => return None,
    })
}

fn flag_of_suffix(suffix: char) -> NodeFlag {
    match suffix {
        '*' => NodeFlag::NotResponding,
        '~' => NodeFlag::PoweredDown,
        '#' => NodeFlag::PoweringUp,
        '%' => NodeFlag::PoweringDown,
        '!' => NodeFlag::PowerDown,
        '$' => NodeFlag::Maintenance,
        '@' | '^' => NodeFlag::Reboot,
        '-' => NodeFlag::Planned,
        other => NodeFlag::Other(other.to_string()),
    }
}

impl fmt::Display for NodeState {
    /// As slurmctld writes it, flags in our order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match &self.base {
            NodeBase::Idle => "IDLE",
            NodeBase::Allocated => "ALLOCATED",
            NodeBase::Mixed => "MIXED",
            NodeBase::Down => "DOWN",
            NodeBase::Future => "FUTURE",
            NodeBase::Unknown(word) => word,
        };
        f.write_str(base)?;
        for flag in &self.flags {
            let word = match flag {
                NodeFlag::Cloud => "CLOUD",
                NodeFlag::PoweredDown => "POWERED_DOWN",
                NodeFlag::PowerDown => "POWER_DOWN",
                NodeFlag::PoweringDown => "POWERING_DOWN",
                NodeFlag::PowerUp => "POWER_UP",
                NodeFlag::PoweringUp => "POWERING_UP",
                NodeFlag::NotResponding => "NOT_RESPONDING",
                NodeFlag::Drain => "DRAIN",
                NodeFlag::Completing => "COMPLETING",
                NodeFlag::InvalidReg => "INVALID_REG",
                NodeFlag::Maintenance => "MAINTENANCE",
                NodeFlag::Reserved => "RESERVED",
                NodeFlag::Reboot => "REBOOT",
                NodeFlag::Planned => "PLANNED",
                NodeFlag::Fail => "FAIL",
                NodeFlag::Dynamic => "DYNAMIC_NORM",
                NodeFlag::Other(word) => word,
            };
            write!(f, "+{word}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> NodeState {
        text.parse().unwrap()
    }

    #[test]
    fn states_as_slurmctld_writes_them_come_back_the_same() {
        for text in [
            "IDLE+CLOUD+POWERED_DOWN",
            "MIXED+CLOUD+POWERING_UP+NOT_RESPONDING",
            "DOWN+CLOUD+POWERED_DOWN",
            "ALLOCATED+CLOUD+POWER_DOWN",
        ] {
            assert_eq!(state(text).to_string(), text);
        }
    }

    #[test]
    fn a_word_that_slurm_invents_tomorrow_is_kept_and_reported() {
        let new = state("IDLE+CLOUD+BLESSED");
        assert_eq!(new.unknown_words(), ["BLESSED"]);
        assert_eq!(new.to_string(), "IDLE+CLOUD+BLESSED");
        assert_eq!(state("").base, NodeBase::Unknown(String::new()));
    }

    #[test]
    fn sinfo_suffixes_are_the_same_flags() {
        assert!(state("down*").has(&NodeFlag::NotResponding));
        assert!(state("idle~").has(&NodeFlag::PoweredDown));
        assert_eq!(state("mixed#").base, NodeBase::Mixed);
    }
}
