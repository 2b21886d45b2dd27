//! slurmctld itself: is it up, which version, which settings.

use std::fmt;
use std::str::FromStr;

use azslurm_core::Timestamp;

/// What slurmctld says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// When it was started; `None` if it does not say so. A backup that took control says when it
    /// was started, and not when it took control (measured with 22.05.8 and 24.11.5).
    pub at: Option<Timestamp>,
    /// How many `SlurmctldHost` its slurm.conf names.
    pub controllers: usize,
}

/// One line of `scontrol ping`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// "primary", "backup" …
    pub role: String,
    /// Its host.
    pub host: String,
    /// Whether it answered.
    pub is_up: bool,
}

/// Reads `Slurmctld(primary) at vm is UP`; `None` for any other line.
pub(crate) fn controller_of_line(line: &str) -> Option<Controller> {
    let (role, rest) = line.trim().strip_prefix("Slurmctld(")?.split_once(')')?;
    let (host, state) = rest.trim_start().strip_prefix("at ")?.rsplit_once(" is ")?;
    Some(Controller { role: role.to_owned(), host: host.to_owned(), is_up: state == "UP" })
}

/// `22.05.8`. Compares as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlurmVersion {
    /// Year.
    pub major: u16,
    /// Month.
    pub minor: u16,
    /// Update.
    pub micro: u16,
}

impl SlurmVersion {
    /// From its three numbers.
    pub const fn new(major: u16, minor: u16, micro: u16) -> SlurmVersion {
        SlurmVersion { major, minor, micro }
    }
}

impl FromStr for SlurmVersion {
    type Err = String;

    /// Reads `22.05.8`, `24.11.0-0rc1`, `slurm-wlm 22.05.8`. What follows the numbers is left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a version of Slurm, such as 22.05.8");
        let word = text.split_whitespace().next_back().ok_or_else(wrong)?;
        let mut numbers = word.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u16>().ok()
        });
        let mut next = || numbers.next().flatten();
        let (Some(major), Some(minor)) = (next(), next()) else { return Err(wrong()) };
        Ok(SlurmVersion { major, minor, micro: next().unwrap_or(0) })
    }
}

impl fmt::Display for SlurmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}.{}", self.major, self.minor, self.micro)
    }
}

/// One line of `scontrol show config`: `ResumeTimeout           = 60 sec`. `(null)` is no value.
pub(crate) fn setting_of_line(line: &str) -> Option<(&str, Option<&str>)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = !key.is_empty() && !key.contains(char::is_whitespace);
    is_key.then_some((key, (value != "(null)").then_some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let version = |text: &str| text.parse::<SlurmVersion>().unwrap();
        assert_eq!(version("22.05.8"), SlurmVersion::new(22, 5, 8));
        assert_eq!(version("slurm-wlm 22.05.8").to_string(), "22.05.8");
        assert_eq!(version("24.11.0-0rc1"), SlurmVersion::new(24, 11, 0));
        assert!(version("22.05.11") > version("22.05.8"));
        assert!(version("23.02.1") < version("23.11.0"));
        for bad in ["", "slurm", "x.y.z", "22"] {
            assert!(bad.parse::<SlurmVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pings_of_all_controllers_are_read() {
        let up = controller_of_line("Slurmctld(primary) at vm is UP").unwrap();
        assert!(up.is_up && up.role == "primary" && up.host == "vm");
        let down = controller_of_line("Slurmctld(backup1) at b is DOWN").unwrap();
        assert!(!down.is_up);
        assert_eq!(controller_of_line("*****************************************"), None);
    }

    /// Captured from real controllers of 22.05.8, with a backup in stand-by and in control. The
    /// words are the same up to 26.05 (scontrol.c, `_print_ping`); root is told more when one is
    /// down.
    #[test]
    fn pings_of_several_controllers_keep_their_order() {
        for (text, expected) in [
            (
                include_str!("../testdata/ping/primary-active-22.05.8.txt"),
                &[("primary", "head1", true), ("backup", "head2", true)][..],
            ),
            (
                include_str!("../testdata/ping/backup-active-22.05.8.txt"),
                &[("primary", "head1", false), ("backup", "head2", true)],
            ),
            (
                include_str!("../testdata/ping/three-down-22.05.8.txt"),
                &[
                    ("primary", "head1", false),
                    ("backup1", "head2", false),
                    ("backup2", "head3", false),
                ],
            ),
        ] {
            let seen: Vec<Controller> = text.lines().filter_map(controller_of_line).collect();
            let seen: Vec<(&str, &str, bool)> =
                seen.iter().map(|one| (&*one.role, &*one.host, one.is_up)).collect();
            assert_eq!(seen, expected);
        }
    }
}
