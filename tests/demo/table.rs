//! The table of what all three think of every node, as lines of text. Pure.

use crate::look::{KINDS, Picture};

/// Columns: node, slurmctld, azslurm, Azure. Together with the blanks they fit 80 columns.
const WIDTHS: [usize; 4] = [9, 24, 16, 27];
const HEAD: [&str; 4] = ["NODE", "SLURMCTLD", "AZSLURM (LEDGER)", "AZURE"];

/// How something is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Not there, and all is well.
    Off,
    /// On its way up or down.
    Moving,
    /// There.
    On,
    /// Not as it should be.
    Bad,
}

impl Tone {
    /// The colour's number, as terminals have it (ECMA-48, SGR).
    fn colour(self) -> u8 {
        match self {
            Tone::Off => 2,
            Tone::Moving => 33,
            Tone::On => 32,
            Tone::Bad => 31,
        }
    }
}

/// What one of the three says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its words.
    pub text: String,
    /// How that is.
    pub tone: Tone,
}

impl Cell {
    fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }

    /// In `width` columns; colour adds none.
    fn padded(&self, width: usize, is_coloured: bool) -> String {
        let text = fitted(&self.text, width);
        if is_coloured { format!("\x1b[{}m{text}\x1b[0m", self.tone.colour()) } else { text }
    }
}

/// slurmctld, azslurm and Azure of each node.
pub fn cells(picture: &Picture) -> Vec<(String, [Cell; 3])> {
    let nodes = picture.slurm.iter();
    nodes
        .map(|(node, state)| {
            (node.clone(), [slurm(state), ledger(picture, node), azure(picture, node)])
        })
        .collect()
}

/// The whole table, and below it the job and what Azure has.
pub fn table(picture: &Picture, is_coloured: bool) -> Vec<String> {
    let pair = HEAD.iter().zip(WIDTHS);
    let head: Vec<String> = pair.map(|(name, width)| fitted(name, width)).collect();
    let mut lines = vec![head.join(" ")];
    for (node, cells) in cells(picture) {
        let mut line = fitted(&node, WIDTHS[0]);
        for (cell, width) in cells.iter().zip(&WIDTHS[1..]) {
            line += " ";
            line += &cell.padded(*width, is_coloured);
        }
        lines.push(line);
    }
    lines.push(format!("job: {:20} in Azure: {}", picture.job, left(picture)));
    lines
}

/// `VMs 3, NICs 3, disks 3`.
pub fn left(picture: &Picture) -> String {
    let counts = KINDS.map(|(kind, name)| format!("{name} {}", picture.alive(kind, None).count()));
    counts.join(", ")
}

fn slurm(state: &str) -> Cell {
    let mut words: Vec<&str> = state.split('+').collect();
    let is_silent = words.contains(&"NOT_RESPONDING");
    // All nodes are CLOUD; a silent one has a star, as sinfo shows it.
    words.retain(|word| !["CLOUD", "NOT_RESPONDING"].contains(word));
    let text = format!("{}{}", words.join("+"), if is_silent { " *" } else { "" });
    let tone = match state {
        _ if ["DOWN", "FAIL", "DRAIN"].iter().any(|word| words.contains(word)) => Tone::Bad,
        _ if state.contains("POWERING") || state.contains("POWER_") => Tone::Moving,
        _ if state.contains("POWERED_DOWN") => Tone::Off,
        _ => Tone::On,
    };
    Cell::new(text, tone)
}

fn ledger(picture: &Picture, node: &str) -> Cell {
    let Some(attempt) = picture.ledger.get(node) else { return Cell::new("-", Tone::Off) };
    let tone = match attempt.state.as_str() {
        "running" => Tone::On,
        "gone" => Tone::Off,
        "refused" => Tone::Bad,
        _ => Tone::Moving,
    };
    Cell::new(attempt.state.as_str(), tone)
}

/// `Succeeded/running +NIC+disk`: the VM, and what there is besides.
fn azure(picture: &Picture, node: &str) -> Cell {
    let vms: Vec<_> = picture.alive("virtualMachines", Some(node)).collect();
    let parts = [("networkInterfaces", "+NIC"), ("disks", "+disk")]
        .map(|(kind, word)| word.repeat(picture.alive(kind, Some(node)).count()))
        .concat();
    let parts = if parts.is_empty() { parts } else { format!(" {parts}") };
    let Some(vm) = vms.last() else {
        let tone = if parts.is_empty() { Tone::Off } else { Tone::Moving };
        return Cell::new(format!("no VM{parts}"), tone);
    };
    let state = vm.provisioning_state.as_deref().unwrap_or("?");
    let power = vm.power_state.as_deref().and_then(|power| power.rsplit('/').next());
    let power = power.map(|power| format!("/{power}")).unwrap_or_default();
    let tone = match (state, power.as_str()) {
        ("Failed", _) => Tone::Bad,
        ("Succeeded", "/running") => Tone::On,
        _ => Tone::Moving,
    };
    Cell::new(format!("{state}{power}{parts}"), tone)
}

/// Exactly `width` columns; what is longer ends in a dot.
fn fitted(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:width$}");
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::tests::{picture, resource};

    #[test]
    fn every_line_fits_80_columns_whatever_the_states() {
        let mut picture = picture(&[
            ("hpc-001", "ALLOCATED+CLOUD+COMPLETING+NOT_RESPONDING+POWERING_UP+DRAIN"),
            ("a-very-long-node-name", "IDLE+CLOUD"),
        ]);
        picture.job = "CONFIGURING".to_owned();
        for line in table(&picture, false) {
            assert!(line.chars().count() <= 79, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn all_three_are_told_of_a_node() {
        let mut picture = picture(&[("hpc-001", "MIXED+CLOUD+NOT_RESPONDING+POWERING_UP")]);
        picture.azure = vec![
            resource("virtualMachines", "hpc-001-0a", None),
            resource("disks", "hpc-001-0a-os", None),
        ];
        let (node, [slurm, ledger, azure]) = cells(&picture).remove(0);
        assert_eq!(node, "hpc-001");
        assert_eq!(slurm, Cell::new("MIXED+POWERING_UP *", Tone::Moving));
        assert_eq!(ledger, Cell::new("-", Tone::Off));
        assert_eq!(azure, Cell::new("Succeeded/running +disk", Tone::On));
    }

    #[test]
    fn colour_is_only_there_when_it_is_wanted() {
        let picture = picture(&[("hpc-001", "IDLE+CLOUD")]);
        assert!(!table(&picture, false).concat().contains('\x1b'));
        assert!(table(&picture, true).concat().contains("\x1b[32mIDLE"));
    }
}
