//! Reading rows into our types. What we would never have written is [`LedgerError::Damaged`], never
//! a panic.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use azslurm_core::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row};

use crate::LedgerError;

/// The reads, outside of a transaction ([`crate::Ledger`]) and inside ([`crate::Writer`]).
#[derive(Debug)]
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    /// Device and inode of the file; `None` of one in memory.
    pub(crate) file: Option<(u64, u64)>,
    /// Which questions were seen to have the columns that are read, by what they are doing.
    pub(crate) checked: RefCell<BTreeSet<&'static str>>,
}

/// Device and inode of a file, if it is there.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// One question to the ledger.
pub(crate) struct Query<'sql> {
    /// For errors: "reading attempts". Questions that are doing the same read the same columns.
    pub doing: &'static str,
    /// For errors: the table whose rows are read.
    pub table: &'static str,
    /// The statement.
    pub sql: &'sql str,
}

impl Reader {
    /// What SQLite finds wrong with the file, at most three complaints; none: it is whole. Reads
    /// all of it.
    pub fn quick_check(&self) -> Result<Vec<String>, LedgerError> {
        let query =
            Query { doing: "checking it", table: "sqlite_schema", sql: "PRAGMA quick_check(3)" };
        let mut found = self.rows(&query, (), |cells| cells.text("quick_check"))?;
        found.retain(|line| line != "ok");
        Ok(found)
    }

    /// A number that is another one when somebody else has changed the ledger since: our own
    /// connection does not count. The same number twice: nobody has.
    pub fn version_of_others(&self) -> Result<i64, LedgerError> {
        let query = Query {
            doing: "looking whether somebody has changed it",
            table: "sqlite_schema",
            sql: "PRAGMA data_version",
        };
        let version = self.row(&query, (), |cells| cells.integer("data_version"))?;
        Ok(version.expect("this pragma always has a row"))
    }

    /// Adds what we were doing, and to which file, to an error of SQLite.
    pub(crate) fn while_(
        &self,
        doing: &'static str,
    ) -> impl Fn(rusqlite::Error) -> LedgerError + '_ {
        move |error| LedgerError::of(&self.path, doing, error)
    }

    /// Whether the file still stands where it was opened: what is written into one that does not
    /// is lost, and nobody else sees it.
    pub(crate) fn check_in_place(&self) -> Result<(), LedgerError> {
        let is_there = self.file.is_none() || identity(&self.path) == self.file;
        is_there.then_some(()).ok_or_else(|| LedgerError::Replaced { path: self.path.clone() })
    }

    /// All rows of a query.
    pub(crate) fn rows<T>(
        &self,
        query: &Query<'_>,
        params: impl Params,
        mut read: impl FnMut(&mut Cells<'_>) -> Result<T, LedgerError>,
    ) -> Result<Vec<T>, LedgerError> {
        let failed = self.while_(query.doing);
        let mut statement = self.connection.prepare_cached(query.sql).map_err(&failed)?;
        let mut rows = statement.query(params).map_err(&failed)?;
        let mut found = Vec::new();
        let is_checked = self.checked.borrow().contains(query.doing);
        while let Some(row) = rows.next().map_err(&failed)? {
            let (is_first, path) = (!is_checked && found.is_empty(), self.path.as_path());
            let mut cells = Cells { row, next: 0, table: query.table, path, is_first };
            found.push(read(&mut cells)?);
        }
        if !is_checked && !found.is_empty() {
            self.checked.borrow_mut().insert(query.doing);
        }
        Ok(found)
    }

    /// The only row of a query by primary key.
    pub(crate) fn row<T>(
        &self,
        query: &Query<'_>,
        params: impl Params,
        read: impl Fn(&mut Cells<'_>) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let mut rows = self.rows(query, params, read)?;
        if rows.len() > 1 {
            // The rows of a file that somebody has been at need not be as its keys demand.
            let found = format!("in {} rows", rows.len());
            return Err(self.damage((query.table, "of one key"), "it", found));
        }
        Ok(rows.pop())
    }

    /// What is wrong in a row, for people.
    pub(crate) fn damage(
        &self,
        (table, row): (&'static str, &str),
        column: &'static str,
        found: String,
    ) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), table, row: row.to_owned(), column, found }
    }

    /// Carries a statement out; how many rows it changed.
    pub(crate) fn change(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<usize, LedgerError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(self.while_(doing))
    }
}

/// The cells of one row, read in the order of the statement's columns. Each read names its column,
/// which the first row compares with the statement's: reading in another order is our own mistake.
pub(crate) struct Cells<'row> {
    row: &'row Row<'row>,
    next: usize,
    table: &'static str,
    path: &'row Path,
    /// The question's first row: all others have the same columns.
    is_first: bool,
}

impl Cells<'_> {
    /// The next cell through `read`, which answers `None` for what must not be there.
    fn cell<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(ValueRef<'_>) -> Option<T>,
    ) -> Result<T, LedgerError> {
        if self.is_first {
            self.check(column);
        }
        let value = self.row.get_ref(self.next).expect("the statement has this column");
        self.next += 1;
        read(value).ok_or_else(|| self.damaged(column, value))
    }

    fn check(&self, column: &str) {
        let name = self.row.as_ref().column_name(self.next).unwrap_or_default();
        // SQLite spells it as the file's schema does, and takes any case of ours for it.
        let is_it = name.eq_ignore_ascii_case(column);
        assert!(is_it, "column {} of {} is {name} and not {column}", self.next, self.table);
    }

    fn damaged(&self, column: &'static str, value: ValueRef<'_>) -> LedgerError {
        let key = self.row.get_ref(0).map_or_else(|_| String::new(), shown);
        LedgerError::Damaged {
            path: self.path.to_owned(),
            table: self.table,
            row: key,
            column,
            found: format!("{:?}", shown(value)),
        }
    }

    pub fn text(&mut self, column: &'static str) -> Result<String, LedgerError> {
        self.cell(column, |value| value.as_str().ok().map(str::to_owned))
    }

    pub fn text_or_null(&mut self, column: &'static str) -> Result<Option<String>, LedgerError> {
        self.cell(column, |value| Some(value.as_str_or_null().ok()?.map(str::to_owned)))
    }

    pub fn integer(&mut self, column: &'static str) -> Result<i64, LedgerError> {
        self.cell(column, |value| value.as_i64().ok())
    }

    /// A number that grows by one with each holder. None of ours is where it cannot grow any more.
    pub fn generation(&mut self, column: &'static str) -> Result<i64, LedgerError> {
        self.number(column, |number| (0..i64::MAX).contains(&number).then_some(number))
    }

    pub fn real(&mut self, column: &'static str) -> Result<f64, LedgerError> {
        self.cell(column, |value| value.as_f64().ok())
    }

    pub fn is(&mut self, column: &'static str) -> Result<bool, LedgerError> {
        self.number(column, |number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    /// An integer that stands for something.
    pub fn number<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(i64) -> Option<T>,
    ) -> Result<T, LedgerError> {
        self.cell(column, |value| read(value.as_i64().ok()?))
    }

    pub fn number_or_null<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(i64) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.cell(column, |value| match value.as_i64_or_null().ok()? {
            None => Some(None),
            Some(number) => read(number).map(Some),
        })
    }

    pub fn time(&mut self, column: &'static str) -> Result<Timestamp, LedgerError> {
        self.integer(column).map(Timestamp::from_millis)
    }

    pub fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, LedgerError> {
        self.number_or_null(column, |millis| Some(Timestamp::from_millis(millis)))
    }

    /// A text that stands for something.
    pub fn word<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, LedgerError> {
        self.cell(column, |value| read(value.as_str().ok()?))
    }

    pub fn word_or_null<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.cell(column, |value| match value.as_str_or_null().ok()? {
            None => Some(None),
            Some(text) => read(text).map(Some),
        })
    }

    /// As [`Cells::word`], of a text that is mostly the one of the row before.
    pub fn shared<T: Clone + AsRef<str>>(
        &mut self,
        column: &'static str,
        before: &mut Option<T>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, LedgerError> {
        self.word(column, |text| {
            if before.as_ref().is_none_or(|before| before.as_ref() != text) {
                *before = Some(read(text)?);
            }
            before.clone()
        })
    }

    pub fn name<T: FromStr>(&mut self, column: &'static str) -> Result<T, LedgerError> {
        self.word(column, |text| text.parse().ok())
    }

    pub fn name_or_null<T: FromStr>(
        &mut self,
        column: &'static str,
    ) -> Result<Option<T>, LedgerError> {
        self.word_or_null(column, |text| text.parse().ok())
    }

    /// Refuses the row for what its cells say together.
    pub fn demand(
        &self,
        holds: bool,
        column: &'static str,
        found: impl FnOnce() -> String,
    ) -> Result<(), LedgerError> {
        if holds {
            return Ok(());
        }
        let found = found();
        Err(self.damaged(column, ValueRef::Text(found.as_bytes())))
    }
}

/// A value as a person reads it, cut to 80 characters.
fn shown(value: ValueRef<'_>) -> String {
    let text = match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    };
    text.chars().take(80).collect()
}
