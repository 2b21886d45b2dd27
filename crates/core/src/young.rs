//! What is believed of a slurmctld that has just begun.

use crate::decide::SlurmView;

impl SlurmView {
    /// What is believed of a view while slurmctld is young (or does not say since when it runs). A
    /// slurmctld that has lost its state calls every cloud node powered down until its slurmd
    /// registers, and that view alone needs no memory: all others that let a VM go hold a flag or
    /// a reason that was set before.
    pub fn while_young(self) -> SlurmView {
        match self {
            SlurmView::Off => SlurmView::Unknown,
            SlurmView::Unknown
            | SlurmView::Absent
            | SlurmView::Booting
            | SlurmView::AboutToBoot
            | SlurmView::BootingRefused
            | SlurmView::BootingByPerson
            | SlurmView::Up
            | SlurmView::PoweringDown
            | SlurmView::PoweringDownByPerson
            | SlurmView::OffFailed
            | SlurmView::OffCompleting
            | SlurmView::OffByPerson
            | SlurmView::Down
            | SlurmView::Dead => self,
        }
    }
}
