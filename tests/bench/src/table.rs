//! The table on the terminal.

use crate::row::{Judged, Row};

const HEAD: &str = "work                 size    CPU ms  minimal    wall s  RSS MiB  syscalls  \
    \u{20}     KB   calls  fsync  scontrol";

/// One line for each row, and below it what was promised.
pub fn table(rows: &[Row]) -> String {
    let lines = rows.iter().map(line);
    std::iter::once(HEAD.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

/// One row.
pub fn line(row: &Row) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let (cost, counts) = (row.cost, row.counts.as_ref());
    let mut text = format!(
        "{:<18} {:>6} {:>9} {:>8} {:>9} {:>8} {:>9} {:>9} {:>7} {:>6} {:>9}",
        row.work,
        row.size,
        number(cost.map(|cost| cost.cpu_ms), 2),
        number(row.bound.map(|bound| bound.cpu_ms), 2),
        number(cost.map(|cost| cost.wall_ms / 1000.0), 3),
        number(cost.map(|cost| cost.rss_mib), 1),
        count(counts.map(|counts| counts.syscalls)),
        count(counts.map(|counts| counts.bytes / 1000)),
        count(row.calls),
        count(counts.map(|counts| counts.fsyncs)),
        count(row.scontrol),
    );
    for judged in &row.judged {
        text += &format!("\n  {}", verdict(judged));
    }
    for note in &row.notes {
        text += &format!("\n         {note}");
    }
    text
}

fn verdict(judged: &Judged) -> String {
    let Judged { what, measured, most, unit, is_met } = judged;
    let word = if *is_met { "met   " } else { "missed" };
    format!("{word} {what}: {} {unit}, at most {}", shown(*measured), shown(*most))
}

fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_stands_below_its_line_with_what_came_of_it() {
        let mut row = Row::new("resume", 1000);
        row.judge("calls", 1005.0, (1004.0, "calls"));
        row.judge("memory", 12.5, (20.0, "MiB"));
        let text = table(&[row]);
        assert!(text.contains("missed calls: 1005 calls, at most 1004"), "{text}");
        assert!(text.contains("met    memory: 12.50 MiB, at most 20"), "{text}");
    }
}
