//! Whether the daemon of this machine acts, where slurm.conf names several `SlurmctldHost`.
//!
//! ```text
//! scontrol ping ──► Answer ──ControllersView::of──► view × what we did before ──► act or stand by
//! ```
//!
//! A backup controller in stand-by answers `scontrol ping` as well as the active one (measured with
//! 22.05.8; src/slurmctld/backup.c), so "is UP" says nothing by itself. The active one is the first
//! that is up: a primary that comes back takes control from its backups when it starts, and a
//! backup takes it when all before it are down. With three and more, the second does not take it
//! back from the third; then the daemon beside the second acts, which is one daemon all the same.

/// One controller as `scontrol ping` tells it, in the order of `SlurmctldHost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Its host, as `SlurmctldHost` names it.
    pub host: &'a str,
    /// Whether it answers.
    pub is_up: bool,
}

/// The controllers of a cluster, as this machine sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControllersView {
    /// `scontrol` could not be asked.
    NotKnown,
    /// slurm.conf names one, whether it answers or not.
    One,
    /// Of several the first that is up is on this machine.
    FirstIsHere,
    /// It is on another machine.
    FirstIsElsewhere,
    /// Of several none is up.
    NoneIsUp,
}

impl ControllersView {
    /// Every view.
    pub const ALL: [ControllersView; 5] = [
        ControllersView::NotKnown,
        ControllersView::One,
        ControllersView::FirstIsHere,
        ControllersView::FirstIsElsewhere,
        ControllersView::NoneIsUp,
    ];

    /// Reduces the answers; `here`: this machine's name.
    pub fn of(answers: &[Answer<'_>], here: &str) -> ControllersView {
        match answers {
            [] => ControllersView::NotKnown,
            [_one] => ControllersView::One,
            several => match first_up(several) {
                None => ControllersView::NoneIsUp,
                Some(first) if is_same_host(first.host, here) => ControllersView::FirstIsHere,
                Some(_other) => ControllersView::FirstIsElsewhere,
            },
        }
    }
}

/// The active one, if there is any.
pub fn first_up<'a>(answers: &[Answer<'a>]) -> Option<Answer<'a>> {
    answers.iter().find(|answer| answer.is_up).copied()
}

/// slurm.conf and the machine may each name the host with its domain or without.
fn is_same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let has_domain = |name: &str| name.contains('.');
    if has_domain(one) && has_domain(other) {
        return one.eq_ignore_ascii_case(other);
    }
    short(one) == short(other)
}

/// What this daemon did when it looked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It has just been started.
    Nothing,
    /// It acted.
    Acted,
    /// It stood by.
    StoodBy,
}

impl Before {
    /// Every one.
    pub const ALL: [Before; 3] = [Before::Nothing, Before::Acted, Before::StoodBy];
}

/// What the daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// It makes a pass.
    Act,
    /// The active slurmctld is on another machine.
    NotBesideTheActive,
    /// No slurmctld answers, and it is not known to be the daemon that acted last.
    NobodyAnswers,
}

/// Whether the daemon acts. A pass that cannot ask slurmctld finishes what was decided before and
/// begins nothing.
pub fn decide_stand(view: ControllersView, before: Before) -> Stand {
    match (view, before) {
        (ControllersView::One | ControllersView::FirstIsHere, _) => Stand::Act,
        (ControllersView::FirstIsElsewhere, _) => Stand::NotBesideTheActive,
        // How many there are is not known. Most clusters have one.
        (ControllersView::NotKnown, Before::Nothing | Before::Acted) => Stand::Act,
        (ControllersView::NoneIsUp, Before::Acted) => Stand::Act,
        (ControllersView::NotKnown, Before::StoodBy)
        | (ControllersView::NoneIsUp, Before::Nothing | Before::StoodBy) => Stand::NobodyAnswers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(answers: &[(&str, bool)], here: &str) -> ControllersView {
        let answers: Vec<Answer<'_>> =
            answers.iter().map(|&(host, is_up)| Answer { host, is_up }).collect();
        ControllersView::of(&answers, here)
    }

    #[test]
    fn the_first_controller_that_is_up_is_the_active_one() {
        use ControllersView::{FirstIsElsewhere, FirstIsHere, NoneIsUp, NotKnown, One};
        let both = [("head1", true), ("head2", true)];
        let second = [("head1", false), ("head2", true)];
        let none = [("head1", false), ("head2", false)];
        for (answers, here, expected) in [
            (&[][..], "head1", NotKnown),
            (&[("head1", true)][..], "head1", One),
            (&[("head1", false)], "elsewhere", One),
            (&both, "head1", FirstIsHere),
            (&both, "head2", FirstIsElsewhere),
            (&both, "login", FirstIsElsewhere),
            (&second, "head1", FirstIsElsewhere),
            (&second, "head2", FirstIsHere),
            (&none, "head1", NoneIsUp),
            (&none, "login", NoneIsUp),
            (&[("a", false), ("b", false), ("c", true)], "c", FirstIsHere),
            (&[("a", false), ("b", true), ("c", true)], "c", FirstIsElsewhere),
        ] {
            assert_eq!(view(answers, here), expected, "{answers:?} {here}");
        }
    }

    #[test]
    fn a_host_is_the_same_with_its_domain_and_without() {
        for (slurm, here, is_same) in [
            ("head1", "head1", true),
            ("head1", "HEAD1.hpc.example", true),
            ("head1.hpc.example", "head1", true),
            ("head1.hpc.example", "head1.hpc.example", true),
            ("head1.hpc.example", "head1.other.example", false),
            ("head1", "head10", false),
            ("head1", "", false),
        ] {
            assert_eq!(is_same_host(slurm, here), is_same, "{slurm} {here}");
        }
    }

    /// Every cell, a line each: the view, then what is done after nothing, acting, standing by.
    #[test]
    fn the_daemon_beside_the_active_slurmctld_acts_and_no_other() {
        use Stand::{Act, NobodyAnswers, NotBesideTheActive};
        let table = [
            (ControllersView::NotKnown, [Act, Act, NobodyAnswers]),
            (ControllersView::One, [Act, Act, Act]),
            (ControllersView::FirstIsHere, [Act, Act, Act]),
            (ControllersView::FirstIsElsewhere, [NotBesideTheActive; 3]),
            (ControllersView::NoneIsUp, [NobodyAnswers, Act, NobodyAnswers]),
        ];
        assert_eq!(table.map(|(view, _)| view), ControllersView::ALL);
        for (view, expected) in table {
            assert_eq!(Before::ALL.map(|before| decide_stand(view, before)), expected, "{view:?}");
        }
    }
}
