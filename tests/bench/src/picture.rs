//! The picture: CPU over size, both as powers of ten, each work beside the minimal client's.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::row::Row;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;
/// Sizes from 1 to 10,000 and CPU from 0.001 s to 10 s, as powers of ten.
const DECADES: f64 = 4.0;
const CPU_FIRST: f64 = -3.0;
const COLOURS: [&str; 5] = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#9a6700"];

/// Works with two sizes and more, each a line; dashed: what the requests alone cost.
pub fn picture(rows: &[Row]) -> String {
    let mut works: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.cost.is_some()) {
        works.entry(&row.work).or_default().push(row);
    }
    works.retain(|_, rows| rows.len() > 1);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">CPU of azslurm by number of nodes; dashed: \
         the requests alone</text>\n"
    );
    text += &grid();
    for ((work, rows), colour) in works.iter().zip(COLOURS.iter().cycle()) {
        text += &lines((work, rows), colour);
    }
    text + "</svg>\n"
}

fn x(size: f64) -> f64 {
    LEFT + size.max(1.0).log10() / DECADES * (WIDTH - LEFT - RIGHT)
}

fn y(cpu_ms: f64) -> f64 {
    let decade = (cpu_ms / 1000.0).max(1e-3).log10() - CPU_FIRST;
    HEIGHT - BOTTOM - decade / DECADES * (HEIGHT - TOP - BOTTOM)
}

fn grid() -> String {
    let mut text = String::new();
    let labels = ["1 ms", "10 ms", "100 ms", "1 s", "10 s"];
    for (decade, label) in labels.iter().enumerate() {
        let at = y(10.0_f64.powi(i32::try_from(decade).unwrap_or(0)));
        let to = WIDTH - RIGHT;
        let _infallible = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{to}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (decade, label) in ["1", "10", "100", "1,000", "10,000"].iter().enumerate() {
        let at = x(10.0_f64.powi(i32::try_from(decade).unwrap_or(0)));
        let (from, to) = (TOP, HEIGHT - BOTTOM);
        let _infallible = writeln!(
            text,
            "<line x1=\"{at:.1}\" y1=\"{from}\" x2=\"{at:.1}\" y2=\"{to}\" stroke=\"#eee\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            to + 18.0
        );
    }
    text
}

fn lines((work, rows): (&str, &[&Row]), colour: &str) -> String {
    let mut text = String::new();
    let mut ours = rows.iter().filter_map(|row| Some((row.size as f64, row.cost?.cpu_ms)));
    let bound = rows.iter().filter_map(|row| Some((row.size as f64, row.bound?.cpu_ms)));
    let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
        let points = points.map(|(size, cpu)| format!("{:.1},{:.1}", x(size), y(cpu)));
        points.collect::<Vec<_>>().join(" ")
    };
    for (points, dashes) in
        [(path(&mut ours.clone()), ""), (path(&mut bound.clone()), " stroke-dasharray=\"5 4\"")]
    {
        let _infallible = writeln!(
            text,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"2\"{dashes}/>"
        );
    }
    if let Some((size, cpu)) = ours.next_back() {
        let _infallible = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{work}: {cpu:.0} ms</text>",
            x(size) + 8.0,
            y(cpu) + 4.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;

    #[test]
    fn each_work_with_two_sizes_is_a_line_and_its_bound_a_dashed_one() {
        let row = |work: &str, size, cpu_ms| {
            let cost = Cost { cpu_ms, ..Cost::default() };
            Row { cost: Some(cost), bound: Some(cost), ..Row::new(work, size) }
        };
        let rows = [row("resume", 1, 10.0), row("resume", 1000, 100.0), row("single", 1, 1.0)];
        let text = picture(&rows);
        assert_eq!(text.matches("<polyline").count(), 2, "{text}");
        assert!(text.contains("resume: 100 ms") && !text.contains("single"), "{text}");
    }
}
