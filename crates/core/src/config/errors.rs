//! What is wrong with a config, for people and for programs.

use std::fmt;

/// One error of a config.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key with its tables, `site.west.region`; empty when the text is not TOML.
    pub key: String,
    /// The offending value and what is allowed.
    pub problem: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All errors of a config in the order of its text; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts them. Errors at one place keep the order in which they were found.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        assert!(!errors.is_empty(), "a config without errors is a config");
        errors.sort_by_key(|error| (error.line, error.column));
        Self(errors)
    }

    /// The errors.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    /// `file:line:column: key: problem`, a line each, without a newline at the end.
    pub fn render(&self, file: &str) -> String {
        let lines: Vec<String> = self.0.iter().map(|error| format!("{file}:{error}")).collect();
        lines.join("\n")
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
