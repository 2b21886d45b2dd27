//! Reading TOML tables key by key and collecting every error with its place.
//!
//! A reader answers `None` (or the default) for a value that is absent or wrong; a wrong one is
//! reported here, so callers read on and never stop at the first error.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{ConfigError, ConfigErrors};
use super::keys::{self, TableKeys};

/// How much of a value an error shows.
const SHOWN_MAX: usize = 80;

/// The text of the config, and what is wrong with it so far.
pub(super) struct Document<'t> {
    text: &'t str,
    errors: RefCell<Vec<ConfigError>>,
    /// What a table that is not there is read as.
    empty: DeTable<'static>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, errors: RefCell::default(), empty: DeTable::new() }
    }

    pub(super) fn root<'a>(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::open(self, table, Place { span: 0..0, key: String::new() }, "")
    }

    pub(super) fn report(&self, span: Range<usize>, key: &str, problem: String) {
        self.report_with_hint(span, key, (problem, None));
    }

    fn report_with_hint(&self, span: Range<usize>, key: &str, what: (String, Option<String>)) {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (problem, hint) = what;
        self.errors.borrow_mut().push(ConfigError {
            line: before.matches('\n').count() + 1,
            column: before[line_begin..].chars().count() + 1,
            key: key.to_owned(),
            problem,
            hint,
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> ConfigErrors {
        ConfigErrors::new(self.errors.into_inner())
    }
}

/// Where something stands: its bytes in the text, and its key with its tables.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) span: Range<usize>,
    pub(super) key: String,
}

/// A text of the config and its place.
pub(super) struct Text<'a> {
    pub(super) value: &'a str,
    pub(super) place: Place,
}

/// One table.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    place: Place,
    keys: &'static TableKeys,
    /// Something else stands where this table should be: that was reported, and nothing in it is
    /// missing.
    is_broken: bool,
}

impl<'a> Section<'a> {
    /// Opens a table as one of the kind `kind` of [`keys::TABLES`], and reports the keys that it
    /// does not know.
    fn open(
        document: &'a Document<'a>,
        table: &'a DeTable<'a>,
        place: Place,
        kind: &'static str,
    ) -> Self {
        let keys = keys::keys_of(kind);
        let section = Self { document, table, place, keys, is_broken: false };
        for key in section.table.keys() {
            let name = key.get_ref().as_ref();
            if !section.keys.keys.is_empty() && !section.keys.keys.contains(&name) {
                let hint = keys::hint(name, section.keys);
                let problem = "is not known".to_owned();
                document.report_with_hint(key.span(), &section.path_of(name), (problem, hint));
            }
        }
        section
    }

    /// The table's own place and path.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn path_of(&self, key: &str) -> String {
        // A key that would need quotes in TOML has them here too.
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let key = match !key.is_empty() && key.chars().all(is_bare) {
            true => key.to_owned(),
            false => format!("{key:?}"),
        };
        if self.place.key.is_empty() { key } else { format!("{}.{key}", self.place.key) }
    }

    fn find(&self, key: &str) -> Option<(Place, &'a DeValue<'a>)> {
        assert!(
            self.keys.keys.is_empty() || self.keys.keys.contains(&key),
            "{key} is not in the list of keys of [{}]",
            self.keys.table
        );
        let value: &'a Spanned<DeValue<'a>> = self.table.get(key)?;
        Some((Place { span: value.span(), key: self.path_of(key) }, value.get_ref()))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    /// Reports what is wrong about a key: at its value, or at its table if it is not there.
    pub(super) fn fault(&self, key: &str, problem: impl Into<String>) {
        let place = match self.find(key) {
            Some((place, _)) => place,
            None if self.is_broken => return,
            None => Place { span: self.place.span.clone(), key: self.path_of(key) },
        };
        self.fault_at(&place, problem);
    }

    pub(super) fn fault_at(&self, place: &Place, problem: impl Into<String>) {
        self.document.report(place.span.clone(), &place.key, problem.into());
    }

    fn missing(&self, key: &str) {
        let table = match self.place.key.as_str() {
            "" => "the file".to_owned(),
            path => format!("[{path}]"),
        };
        self.fault(key, format!("is missing: {table} needs it"));
    }

    /// How an error shows a text. What stands in a credential is not shown.
    fn shown(&self, value: &str) -> String {
        if self.keys.table.ends_with("credential") {
            return "the value".to_owned();
        }
        let cut: String = value.chars().take(SHOWN_MAX).collect();
        if cut.len() < value.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
    }

    fn wrong_type(&self, place: &Place, wanted: &str, found: &DeValue<'_>) {
        let shown = match found {
            DeValue::String(text) => format!("the text {}", self.shown(text)),
            DeValue::Integer(number) => format!("the number {}", self.shown(number.as_str())),
            DeValue::Float(number) => format!("the number {}", self.shown(number.as_str())),
            DeValue::Boolean(flag) => format!("the word {flag}"),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.fault_at(place, format!("{wanted} is wanted here, not {}", shown.replace('"', "")));
    }

    /// A text as it stands.
    pub(super) fn text(&self, key: &str) -> Option<Text<'a>> {
        let (place, value) = self.find(key)?;
        match value.as_str() {
            Some(value) => Some(Text { value, place }),
            None => {
                self.wrong_type(&place, "text in quotes", value);
                None
            }
        }
    }

    /// A text that `check` accepts. A refusal continues a sentence that begins with the value.
    pub(super) fn checked<T>(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        self.accept(&text, check)
    }

    fn accept<T>(&self, text: &Text<'_>, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        check(text.value)
            .map_err(|refusal| {
                self.fault_at(&text.place, format!("{} {refusal}", self.shown(text.value)));
            })
            .ok()
    }

    /// As [`Section::checked`], for a key that must be there.
    pub(super) fn needed<T>(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key);
        }
        self.checked(key, check)
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&'static str, T)]) -> Option<T> {
        self.checked(key, |word| one_of(word, choices))
    }

    pub(super) fn needed_choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.needed(key, |word| one_of(word, choices))
    }

    /// A file or folder, absolute: slurmctld starts its programs in `/`, a person elsewhere.
    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.checked(key, absolute_path)
    }

    pub(super) fn path_or(&self, key: &str, default: &str) -> PathBuf {
        self.path(key).unwrap_or_else(|| PathBuf::from(default))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        let Some((place, value)) = self.find(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.wrong_type(&place, "true or false", value);
            default
        })
    }

    /// A whole number in `allowed`.
    pub(super) fn number(&self, key: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let (place, value) = self.find(key)?;
        let Some(integer) = value.as_integer() else {
            self.wrong_type(&place, "a whole number", value);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| allowed.contains(number));
        if number.is_none() {
            let (least, most) = (allowed.start(), allowed.end());
            self.fault_at(&place, format!("{integer} is not between {least} and {most}"));
        }
        number
    }

    pub(super) fn seconds(
        &self,
        key: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(key, allowed).unwrap_or(default))
    }

    /// A number with or without a fraction.
    pub(super) fn decimal(&self, key: &str) -> Option<f64> {
        let (place, value) = self.find(key)?;
        let text = match value {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number =
            text.and_then(|text| text.parse().ok()).filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.wrong_type(&place, "a number", value);
        }
        number
    }

    /// A list of texts, each accepted by `check` and none twice. Absent: empty. `None`: something
    /// was wrong.
    pub(super) fn list<T: PartialEq>(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let Some((place, value)) = self.find(key) else { return Some(Vec::new()) };
        let Some(array) = value.as_array() else {
            self.wrong_type(&place, "a list of texts, [\"…\", \"…\"],", value);
            return None;
        };
        let mut items = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let place = Place { span: item.span(), key: format!("{}[{index}]", place.key) };
            let Some(value) = item.get_ref().as_str() else {
                self.wrong_type(&place, "text in quotes", item.get_ref());
                continue;
            };
            let text = Text { value, place };
            match self.accept(&text, &check) {
                Some(item) if items.contains(&item) => {
                    self.fault_at(&text.place, format!("{} is there twice", self.shown(value)));
                }
                Some(item) => items.push(item),
                None => {}
            }
        }
        (items.len() == array.len()).then_some(items)
    }

    /// As [`Section::list`], for a list that must be there and not be empty.
    pub(super) fn needed_list<T: PartialEq>(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        if !self.has(key) {
            self.missing(key);
            return None;
        }
        let items = self.list(key, check)?;
        if items.is_empty() {
            self.fault(key, "is empty: at least one is needed");
            return None;
        }
        Some(items)
    }

    /// A table inside this one; if it is not there it reads as empty.
    pub(super) fn table(&self, key: &'static str) -> Section<'a> {
        let kind = match self.keys.table {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        self.open_inside(key, keys::keys_of(&kind).table)
    }

    /// The tables `[key.NAME]` with their names.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(Text<'a>, Section<'a>)> {
        let parent = self.open_inside(key, key);
        let kind = keys::keys_of(&format!("{key}.NAME")).table;
        parent
            .table
            .keys()
            .map(|name| {
                let value = name.get_ref().as_ref();
                let place = Place { span: name.span(), key: parent.path_of(value) };
                (Text { value, place }, parent.open_inside(value, kind))
            })
            .collect()
    }

    /// The names of the tables `[key.NAME]`, right or wrong.
    pub(super) fn names_in(&self, key: &str) -> Vec<&'a str> {
        match self.find(key) {
            Some((_, DeValue::Table(table))) => {
                table.keys().map(|name| name.get_ref().as_ref()).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn open_inside(&self, key: &str, kind: &'static str) -> Section<'a> {
        let absent = || Place { span: self.place.span.clone(), key: self.path_of(key) };
        let (place, table) = match self.find(key) {
            Some((place, DeValue::Table(table))) => (place, table),
            Some((place, _)) => {
                // The value may be a secret that was meant to stand in the table.
                self.fault_at(&place, format!("a table [{kind}] is wanted here"));
                let (document, table) = (self.document, &self.document.empty);
                return Section {
                    document,
                    table,
                    place,
                    keys: keys::keys_of(kind),
                    is_broken: true,
                };
            }
            None => (absent(), &self.document.empty as &DeTable<'_>),
        };
        Section::open(self.document, table, place, kind)
    }
}

fn one_of<T: Copy>(word: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let meant = keys::nearest(word, choices.iter().map(|(name, _)| *name));
        let hint = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        format!("is not one of {}{hint}", names.join(", "))
    })
}

fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err("is not an absolute path: begin it with '/'".to_owned())
    }
}
