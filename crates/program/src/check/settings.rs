//! Slurm's settings, from a running slurmctld (`scontrol show config`) or from its files alone,
//! with the places where they are set.

use std::collections::BTreeMap;

use azslurm_slurm::{Conf, ConfLine, SlurmVersion};

/// What slurmctld takes where its files say nothing, as far as a rule asks for it (slurm.conf(5);
/// the same from 22.05 to 26.05).
const DEFAULTS: [(&str, &str); 13] = [
    ("authtype", "auth/munge"),
    ("jobrequeue", "1"),
    ("killwait", "30"),
    ("resumerate", "300"),
    ("resumetimeout", "60"),
    ("returntoservice", "0"),
    ("slurmctldpidfile", "/var/run/slurmctld.pid"),
    ("slurmdpidfile", "/var/run/slurmd.pid"),
    ("slurmdtimeout", "300"),
    ("slurmuser", "root"),
    ("statesavelocation", "/var/spool"),
    ("suspendrate", "60"),
    ("suspendtimeout", "30"),
];
/// Keys of which there may be several, each line with further keys of its own.
const OF_THEIR_OWN: [&str; 6] =
    ["nodename", "partitionname", "nodeset", "downnodes", "frontendname", "poweraction"];
/// There may be several; `scontrol show config` numbers them.
const CONTROLLER: &str = "slurmctldhost";

/// Settings. Keys have no case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, Option<String>>,
    places: BTreeMap<String, String>,
}

impl From<BTreeMap<String, Option<String>>> for Settings {
    /// What slurmctld says, keys in lower case.
    fn from(values: BTreeMap<String, Option<String>>) -> Settings {
        Settings { values, places: BTreeMap::new() }
    }
}

impl Settings {
    /// What the files say, and slurmctld's defaults for what they do not say.
    pub fn of_conf(conf: &Conf) -> Settings {
        let defaults = DEFAULTS.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
        let mut settings = Settings { values: defaults.into(), ..Settings::default() };
        for (key, value, place) in set_by(conf) {
            settings.values.insert(key.clone(), Some(value));
            settings.places.insert(key, place);
        }
        settings
    }

    /// The same settings, with the places where the files set them.
    #[must_use]
    pub fn with_places(self, conf: &Conf) -> Settings {
        let places = set_by(conf).into_iter().map(|(key, _, place)| (key, place));
        Settings { places: places.collect(), ..self }
    }

    /// The same settings, of the Slurm that is installed: files do not say its version.
    #[must_use]
    pub fn with_version(self, version: SlurmVersion) -> Settings {
        self.with("SLURM_VERSION", &version.to_string())
    }

    /// The same settings but for one.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Settings {
        self.values.insert(key.to_ascii_lowercase(), Some(value.to_owned()));
        self
    }

    /// A value; empty if it is not set.
    pub fn value(&self, key: &str) -> &str {
        self.values.get(&key.to_ascii_lowercase()).and_then(Option::as_deref).unwrap_or_default()
    }

    /// Whether anything is known about a key, be it that it is not set.
    pub fn is_known(&self, key: &str) -> bool {
        self.values.contains_key(&key.to_ascii_lowercase())
    }

    /// `60 sec` and `60 nodes/min`; `None` for `INFINITE` and what is no number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value(key).split_whitespace().next()?.parse().ok()
    }

    /// Whether a list has a word.
    pub fn has_word(&self, key: &str, word: &str) -> bool {
        self.words(key).any(|part| part.eq_ignore_ascii_case(word))
    }

    /// The words of a list.
    pub fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        self.value(key).split(',').map(str::trim).filter(|word| !word.is_empty())
    }

    /// `10` of a list with `power_save_interval=10` in it.
    pub fn parameter(&self, key: &str, name: &str) -> Option<&str> {
        self.words(key).find_map(|word| {
            let (key, value) = word.split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Where it is set: `/etc/slurm/slurm.conf:17`.
    pub fn place(&self, key: &str) -> Option<String> {
        self.places.get(&key.to_ascii_lowercase()).cloned()
    }

    /// Every setting that the files make, with its place.
    pub fn placed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|(key, place)| (key.as_str(), place.as_str()))
    }

    /// slurmctld's version; files do not say it.
    pub fn version(&self) -> Option<SlurmVersion> {
        self.value("SLURM_VERSION").parse().ok()
    }

    /// SlurmUser's number, of `slurm(64030)`; files do not say it.
    pub fn slurm_user(&self) -> Option<u32> {
        self.value("SlurmUser").split_once('(')?.1.strip_suffix(')')?.parse().ok()
    }

    /// SlurmUser's name.
    pub fn slurm_user_name(&self) -> &str {
        let value = self.value("SlurmUser");
        value.split_once('(').map_or(value, |(name, _)| name)
    }

    /// The hosts of slurmctld, the primary first, without addresses.
    pub fn controllers(&self) -> Vec<&str> {
        let all = self.values.iter().filter(|(key, _)| key.starts_with(CONTROLLER));
        let name = |value: &str| value.find('(').unwrap_or(value.len());
        all.filter_map(|(_, value)| value.as_deref())
            .map(|value| &value[..name(value)])
            .filter(|host| !host.is_empty())
            .collect()
    }
}

/// Every setting of the files in their order, the key in lower case.
fn set_by(conf: &Conf) -> Vec<(String, String, String)> {
    let mut controllers = 0;
    let mut set = Vec::new();
    let is_setting = |line: &&ConfLine| {
        let key = line.key.to_ascii_lowercase();
        !OF_THEIR_OWN.contains(&key.as_str())
    };
    for line in conf.lines.iter().filter(is_setting) {
        let first = (line.key.as_str(), line.value.as_str());
        let more = line.more.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in std::iter::once(first).chain(more) {
            let mut key = key.to_ascii_lowercase();
            if key == CONTROLLER {
                key = format!("{CONTROLLER}[{controllers}]");
                controllers += 1;
            }
            set.push((key, value.to_owned(), line.place()));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn files_say_the_same_as_slurmctld_with_places_and_defaults() {
        let text = "SlurmctldHost=head1(10.0.0.4)\nSlurmctldHost=head2\nSlurmUser=slurm\n\
            KillWait=20 MessageTimeout=30\nSlurmctldParameters=idle_on_node_suspend, \
            power_save_interval=5\nNodeName=n1 CPUs=4 State=CLOUD\n";
        let text = text.replace(", ", ",");
        let settings = Settings::of_conf(&Conf::of_text(Path::new("/s.conf"), &text));
        assert_eq!(settings.controllers(), ["head1", "head2"]);
        assert_eq!(settings.slurm_user_name(), "slurm");
        assert_eq!((settings.slurm_user(), settings.version()), (None, None));
        assert_eq!(settings.number("MessageTimeout"), Some(30));
        assert_eq!(settings.place("killwait").as_deref(), Some("/s.conf:4"));
        assert_eq!(settings.parameter("SlurmctldParameters", "power_save_interval"), Some("5"));
        assert_eq!(settings.number("ResumeTimeout"), Some(60), "slurmctld's default");
        assert_eq!(settings.place("ResumeTimeout"), None);
        assert!(!settings.is_known("CPUs") && !settings.is_known("TreeWidth"));
    }

    #[test]
    fn slurmctld_numbers_its_hosts_and_its_user() {
        let said = [
            ("slurmctldhost[0]", "a(127.0.0.1)"),
            ("slurmctldhost[1]", "b"),
            ("slurmuser", "slurm(64030)"),
        ];
        let said = said.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
        let settings = Settings::from(BTreeMap::from(said));
        assert_eq!(settings.controllers(), ["a", "b"]);
        assert_eq!((settings.slurm_user(), settings.slurm_user_name()), (Some(64030), "slurm"));
    }
}
