//! The terminal: text that stays, and below it a table that is drawn anew in its place. Where there
//! is no terminal: one line per change. Must never ask anybody anything.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use crate::look::{Moment, Picture};
use crate::table;

/// The three that are asked, in the order of [`table::cells`].
const SOURCES: [&str; 3] = ["slurmctld", "azslurm", "azure"];

/// Lines longer than the terminal is wide are cut, so that each takes one row whatever the width.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Where the demo is shown.
#[derive(Debug)]
pub struct Screen {
    start: Moment,
    is_terminal: bool,
    is_coloured: bool,
    /// The table as it stands, without what only the terminal understands.
    frame: Vec<String>,
    seen: BTreeMap<(String, &'static str), String>,
}

impl Screen {
    /// Standard output, as it is. Times are told from `start`.
    pub fn new(start: Moment) -> Screen {
        let is_terminal =
            io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen {
            start,
            is_terminal,
            is_coloured: is_terminal && !is_plain,
            frame: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Lines that stay, the first with the time before it.
    pub fn say(&mut self, at: Moment, lines: &[&str]) -> io::Result<()> {
        let mut text = self.up();
        for (index, line) in lines.iter().enumerate() {
            let stamp = if index == 0 { at.after(self.start) } else { String::new() };
            let _never_fails = writeln!(text, "{stamp:>8}  {line}");
        }
        // The table moves down below what was said.
        text += &self.drawn();
        write(&text)
    }

    /// Lines that stay, as they are.
    pub fn print(&mut self, lines: &str) -> io::Result<()> {
        let mut text = self.up();
        text += lines;
        if !lines.ends_with('\n') {
            text += "\n";
        }
        text += &self.drawn();
        write(&text)
    }

    /// Shows a picture: the table anew, or what has changed since the last.
    pub fn show(&mut self, picture: &Picture, title: &str) -> io::Result<()> {
        if self.is_terminal {
            let up = self.back();
            let head = format!("{:>8}  {title}", picture.at.after(self.start));
            self.frame = vec![String::new(), head];
            self.frame.extend(table::table(picture, self.is_coloured));
            return write(&(up + &self.drawn()));
        }
        let mut now = BTreeMap::new();
        for (node, cells) in table::cells(picture) {
            for (cell, source) in cells.into_iter().zip(SOURCES) {
                now.insert((node.clone(), source), cell.text);
            }
        }
        now.insert(("job".to_owned(), "slurmctld"), picture.job.clone());
        let changes = changes(&self.seen, &now);
        self.seen = now;
        let stamp = picture.at.after(self.start);
        let lines = changes.iter().map(|change| format!("{stamp:>8}  {change}\n"));
        write(&lines.collect::<String>())
    }

    /// From now on the table stays as it is, and what comes stands below it.
    pub fn leave_table(&mut self) {
        self.frame.clear();
    }

    /// To the first row of the table.
    fn back(&self) -> String {
        if self.frame.is_empty() { String::new() } else { format!("\r\x1b[{}A", self.frame.len()) }
    }

    /// To the first row of the table, which is cleared.
    fn up(&self) -> String {
        let back = self.back();
        if back.is_empty() { back } else { back + CLEAR_BELOW }
    }

    fn drawn(&self) -> String {
        if self.frame.is_empty() {
            return String::new();
        }
        let lines = self.frame.iter().map(|line| format!("{line}{CLEAR_REST_OF_LINE}\n"));
        format!("{WRAP_OFF}{}{CLEAR_BELOW}{WRAP_ON}", lines.collect::<String>())
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

type Seen = BTreeMap<(String, &'static str), String>;

/// One line for each word that is another than before.
fn changes(before: &Seen, now: &Seen) -> Vec<String> {
    let is_new = |(who, text): &(&(String, &'static str), &String)| before.get(who) != Some(*text);
    let line = |((node, source), text): (&(String, &'static str), &String)| {
        let key = (node.clone(), *source);
        let was = before.get(&key).map(|was| format!("{was} -> ")).unwrap_or_default();
        format!("{node:8} {source:9}  {was}{text}")
    };
    now.iter().filter(is_new).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_told() {
        let seen = |text: &str| Seen::from([(("hpc-001".to_owned(), "azure"), text.to_owned())]);
        assert_eq!(changes(&Seen::new(), &seen("no VM")), ["hpc-001  azure      no VM"]);
        assert_eq!(
            changes(&seen("no VM"), &seen("Creating")),
            ["hpc-001  azure      no VM -> Creating"]
        );
        assert_eq!(changes(&seen("no VM"), &seen("no VM")).len(), 0);
    }

    #[test]
    fn the_table_is_drawn_over_itself() {
        let mut screen = Screen::new(Moment(0));
        assert_eq!(screen.back(), "");
        screen.frame = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(screen.back(), "\r\x1b[2A");
        assert_eq!(screen.drawn().matches('\n').count(), 2);
    }
}
