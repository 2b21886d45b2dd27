//! Every start converges: for every pair of attempts, view of slurmctld, lease and hold, whatever
//! is really in Azure, passes come to rest within a bounded number, and what they rest at is
//! agreement. A small model stands for Slurm, Azure and the programs; what is decided is core's.

use azslurm_core::attempt::{AttemptState as S, AzureSays, Change, EndReason};
use azslurm_core::decide::{
    AttemptAction, LeaseView, NodeAction, NodeReason, SlurmView as V, Standing, decide_attempt,
    decide_node,
};
use azslurm_core::orphan::{OrphanAction, OrphanSight, decide_orphan};

/// By then every start has come to rest.
const PASSES_MAX: usize = 40;
/// slurmctld's timeouts, in passes: longer than anything that a pass needs.
const TIMEOUT: u8 = 8;

/// What Azure really has of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Real {
    Absent,
    Making,
    Works,
    /// Its creation failed.
    Broken,
    /// Deallocated: evicted, or by a person.
    Released,
    Going,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Try {
    /// `None`: the ledger has lost it.
    state: Option<S>,
    why: Option<EndReason>,
    real: Real,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    view: V,
    /// For how long it has had this view.
    since: u8,
    /// Passes for which slurmctld does not answer.
    silent: u8,
    /// Passes for which a holder lives, and does nothing.
    holder: u8,
    /// Passes for which every place is held.
    held: u8,
    /// Whether slurmd comes up in a VM that works.
    boots: bool,
    /// PUTs that Azure will refuse, each with a hold.
    refusals: u8,
    /// Oldest first.
    tries: Vec<Try>,
}

fn says() -> AzureSays {
    AzureSays::default()
}

fn doomed(why: EndReason) -> Change {
    Change::DeleteIntended { why, says: None }
}

impl Try {
    fn known(state: S, real: Real) -> Try {
        Try { state: Some(state), why: None, real }
    }

    fn take(&mut self, change: &Change) {
        let Some(state) = self.state else { return };
        if let Some(next) = state.after(change) {
            if let Change::DeleteIntended { why, .. } = change {
                self.why = self.why.or(Some(*why));
            }
            self.state = Some(next);
        }
    }

    fn is_unfinished(&self) -> bool {
        self.state.is_some_and(|state| !state.is_ended())
    }

    /// A VM that was made and not taken.
    fn is_there(&self) -> bool {
        !matches!(self.real, Real::Absent | Real::Going)
    }

    fn send_put(&mut self, refusals: &mut u8) {
        if self.real == Real::Absent {
            if *refusals > 0 {
                *refusals -= 1;
                return self.take(&Change::Refused(says()));
            }
            self.real = Real::Making;
        }
        self.take(&Change::Accepted { operation: None, request_id: None });
    }

    fn send_delete(&mut self) {
        self.take(&Change::DeleteAccepted { operation: None, request_id: None });
        match self.real {
            Real::Absent => self.take(&Change::Gone),
            Real::Making | Real::Works | Real::Broken | Real::Released | Real::Going => {
                self.real = Real::Going;
            }
        }
    }

    /// What a follower finds: see `resume/src/follow.rs`.
    fn follow(&mut self, view: V) {
        let is_in_use = matches!(
            view,
            V::Up
                | V::Down
                | V::Dead
                | V::BootingByPerson
                | V::OffByPerson
                | V::Unknown
                | V::Absent
        );
        match (self.real, self.state) {
            (Real::Works | Real::Released, _) => self.take(&Change::Running),
            (Real::Making, _) => {
                self.take(&Change::Accepted { operation: None, request_id: None });
            }
            (Real::Broken, _) if is_in_use => self.take(&Change::Running),
            (Real::Broken, _) | (Real::Absent | Real::Going, Some(S::Accepted)) => {
                self.take(&doomed(EndReason::CreateFailed));
            }
            // It may still arrive until it settles; then it never does.
            (Real::Absent | Real::Going, _) => self.take(&doomed(EndReason::CreateFailed)),
        }
    }

    fn confirm(&mut self) {
        match self.real {
            Real::Absent => self.take(&Change::Gone),
            Real::Going => {}
            Real::Making | Real::Works | Real::Broken | Real::Released => {
                self.take(&Change::DeleteFailed(says()));
            }
        }
    }
}

impl World {
    fn seen(&self) -> V {
        if self.silent > 0 { V::Unknown } else { self.view }
    }

    fn lease(&self) -> LeaseView {
        if self.holder > 0 { LeaseView::Held } else { LeaseView::Free }
    }

    fn standing(&self) -> Standing {
        Standing::of(self.tries.iter().filter_map(|one| Some((one.state?, one.why))))
    }

    fn turn(&mut self, view: V) {
        (self.view, self.since) = (view, 0);
    }

    fn doom_all(&mut self, why: EndReason) {
        self.tries.iter_mut().for_each(|one| one.take(&doomed(why)));
    }

    /// ResumeProgram's plan, or a pass's in its place: what is on its way is kept.
    fn resume(&mut self, replaces: bool) {
        if replaces {
            let running = self.tries.iter_mut().filter(|one| one.state == Some(S::Running));
            running.for_each(|one| one.take(&doomed(EndReason::Superseded)));
        }
        if self.standing() != Standing::Wanted {
            self.tries.push(Try::known(S::Intended, Real::Absent));
        }
    }

    /// One pass of azslurm-sync.
    fn pass(&mut self) {
        let (seen, lease) = (self.seen(), self.lease());
        self.take_orphans(seen, lease);
        self.take_lost(seen, lease);
        let first = decide_node(seen, lease, self.standing(), self.held > 0);
        let before = self.refusals;
        for at in 0..self.tries.len() {
            let Some(state) = self.tries[at].state else { continue };
            let (action, _) = decide_attempt(seen, lease, state);
            let one = &mut self.tries[at];
            match action {
                AttemptAction::Leave => {}
                AttemptAction::Create => one.send_put(&mut self.refusals),
                AttemptAction::Follow => one.follow(seen),
                AttemptAction::Delete => {
                    one.take(&doomed(EndReason::Orphaned));
                    one.send_delete();
                }
                AttemptAction::SendDelete => one.send_delete(),
                AttemptAction::Confirm => one.confirm(),
            }
        }
        if first.0 == NodeAction::Resume {
            self.resume(false);
            if let Some(new) = self.tries.last_mut().filter(|one| one.state == Some(S::Intended)) {
                new.send_put(&mut self.refusals);
            }
        }
        if self.refusals < before {
            self.held = TIMEOUT;
        }
        self.tell(decide_node(seen, lease, self.standing(), self.held > 0));
    }

    fn take_orphans(&mut self, seen: V, lease: LeaseView) {
        let standing = self.standing();
        let mut has_adopted = false;
        for one in self.tries.iter_mut().rev() {
            let is_ended = one.state.is_some_and(S::is_ended);
            if !one.is_there() || !(is_ended || one.state.is_none()) {
                continue;
            }
            match decide_orphan(seen, lease, standing, OrphanSight::Clear).0 {
                OrphanAction::Leave => {}
                OrphanAction::Adopt if is_ended || has_adopted => {}
                OrphanAction::Adopt => {
                    one.state = Some(S::Running);
                    has_adopted = true;
                }
                OrphanAction::Delete => {
                    (one.state, one.why) = (Some(S::DeleteIntended), Some(EndReason::Orphaned));
                }
            }
        }
    }

    fn take_lost(&mut self, seen: V, lease: LeaseView) {
        let is_watched = lease == LeaseView::Free && matches!(seen, V::Up | V::Booting | V::Dead);
        for one in self.tries.iter_mut().filter(|one| one.state == Some(S::Running)) {
            if is_watched && matches!(one.real, Real::Absent | Real::Released | Real::Going) {
                one.take(&doomed(EndReason::Evicted));
            }
        }
    }

    fn tell(&mut self, (action, reason): (NodeAction, NodeReason)) {
        match action {
            NodeAction::Leave | NodeAction::Resume => {}
            NodeAction::Refuse => self.turn(V::BootingRefused),
            NodeAction::PowerDown => {
                let is_refused = reason == NodeReason::HoldIsOver;
                assert_eq!(is_refused, self.view == V::BootingRefused, "{reason:?}");
                self.turn(V::PoweringDown);
                self.doom_all(EndReason::Suspended);
            }
            NodeAction::Return => self.turn(V::Off),
        }
    }

    /// What the others do between two passes.
    fn time_passes(&mut self) {
        for one in &mut self.tries {
            one.real = match one.real {
                Real::Making => Real::Works,
                Real::Going => Real::Absent,
                Real::Absent | Real::Works | Real::Broken | Real::Released => one.real,
            };
        }
        self.holder = self.holder.saturating_sub(1);
        self.held = self.held.saturating_sub(1);
        match self.silent {
            0 => self.slurmctld(),
            _ => self.silent -= 1,
        }
    }

    fn slurmctld(&mut self) {
        let is_over = self.since >= TIMEOUT;
        self.since = self.since.saturating_add(1).min(TIMEOUT);
        let works = self.tries.iter().any(|one| one.real == Real::Works);
        match self.view {
            V::AboutToBoot => {
                self.turn(V::Booting);
                self.resume(true);
            }
            V::Booting if works && self.boots => self.turn(V::Up),
            V::Booting | V::BootingRefused if is_over => {
                self.turn(V::OffFailed);
                self.doom_all(EndReason::ResumeTimeout);
            }
            V::BootingByPerson if is_over => {
                self.turn(V::OffByPerson);
                self.doom_all(EndReason::ResumeTimeout);
            }
            V::PoweringDown if is_over => self.turn(V::Off),
            V::PoweringDownByPerson if is_over => self.turn(V::OffByPerson),
            V::OffCompleting if is_over => self.turn(V::OffFailed),
            V::Up if !works && is_over => self.turn(V::Dead),
            V::Unknown
            | V::Absent
            | V::Off
            | V::Booting
            | V::BootingRefused
            | V::BootingByPerson
            | V::Up
            | V::PoweringDown
            | V::PoweringDownByPerson
            | V::OffFailed
            | V::OffCompleting
            | V::OffByPerson
            | V::Down
            | V::Dead => {}
        }
    }

    /// What no pass may do, whatever it sees.
    fn pass_with_care(&mut self) {
        let before = self.clone();
        self.pass();
        let is_by_person = matches!(
            before.view,
            V::BootingByPerson | V::OffByPerson | V::PoweringDownByPerson | V::Down | V::Absent
        );
        if before.silent > 0 || is_by_person {
            assert_eq!(self.view, before.view, "a word that is not ours: {before:?}");
        }
        for (then, now) in before.tries.iter().zip(&self.tries) {
            let is_doomed = now.state == Some(S::DeleteIntended) || now.state == Some(S::Deleting);
            let was_wanted = then.state.is_none_or(|state| {
                matches!(state, S::Intended | S::Accepted | S::Running | S::Gone | S::Refused)
            });
            let is_new = is_doomed && was_wanted;
            assert!(!(is_new && before.holder > 0), "a living holder's: {before:?}");
            let works = then.real == Real::Works;
            let is_kept = before.silent > 0 || matches!(before.view, V::Up | V::Down | V::Absent);
            assert!(!(is_new && works && is_kept), "a VM that may be in use: {before:?}");
            if before.silent > 0 && is_new {
                assert_eq!(then.state, Some(S::Accepted), "unseen: {before:?}");
                assert_ne!(then.real, Real::Broken, "unseen: {before:?}");
            }
        }
    }

    /// Slurm, Azure and the ledger say the same, and nobody pays for what nobody waits for.
    fn is_agreement(&self) -> bool {
        let is_still = |one: &Try| !one.is_unfinished() || one.state == Some(S::Running);
        let is_clean = self.tries.iter().all(|one| !one.is_unfinished() && !one.is_there());
        let works = self.tries.iter().any(|one| one.real == Real::Works);
        match self.view {
            V::Off => is_clean,
            V::Up => works && self.tries.iter().all(is_still),
            // A person decides: at rest is enough.
            V::OffByPerson | V::Down | V::Dead | V::Absent => self.tries.iter().all(is_still),
            V::Unknown
            | V::Booting
            | V::AboutToBoot
            | V::BootingRefused
            | V::BootingByPerson
            | V::PoweringDown
            | V::PoweringDownByPerson
            | V::OffFailed
            | V::OffCompleting => false,
        }
    }
}

/// The newest attempt, if there is one: what the ledger says, and what Azure may have of it.
fn newest() -> Vec<Option<Try>> {
    let known = [
        (S::Intended, &[Real::Absent, Real::Making, Real::Works, Real::Broken][..]),
        (S::Accepted, &[Real::Absent, Real::Making, Real::Works, Real::Broken, Real::Going]),
        (S::Running, &[Real::Absent, Real::Works, Real::Released, Real::Going]),
        (S::Refused, &[Real::Absent, Real::Works]),
        (S::DeleteIntended, &[Real::Absent, Real::Making, Real::Works, Real::Broken]),
        // The last two: the deletion was accepted and has failed.
        (S::Deleting, &[Real::Absent, Real::Going, Real::Works, Real::Released]),
        (S::Gone, &[Real::Absent, Real::Works]),
    ];
    let known = known
        .into_iter()
        .flat_map(|(state, reals)| reals.iter().map(move |real| Some(Try::known(state, *real))));
    let lost = Try { state: None, why: None, real: Real::Works };
    known.chain([None, Some(lost)]).collect()
}

/// One before that, if there is one.
fn older() -> Vec<Option<Try>> {
    let lost = Try { state: None, why: None, real: Real::Works };
    let known = [
        (S::Running, Real::Works),
        (S::DeleteIntended, Real::Works),
        (S::Deleting, Real::Works),
        (S::Gone, Real::Absent),
    ];
    let known = known.into_iter().map(|(state, real)| Some(Try::known(state, real)));
    known.chain([None, Some(lost)]).collect()
}

fn starts() -> Vec<World> {
    let views = V::ALL.into_iter().filter(|view| *view != V::Unknown);
    let with_old = views.flat_map(|view| older().into_iter().map(move |old| (view, old)));
    let with_new = with_old.flat_map(|(view, old)| {
        newest()
            .into_iter()
            .map(move |new| (view, old.iter().chain(&new).cloned().collect::<Vec<_>>()))
    });
    with_new.flat_map(|(view, tries)| (0..32).map(move |odds| start(view, &tries, odds))).collect()
}

/// `odds`: a bit for each thing that may go wrong beside.
fn start(view: V, tries: &[Try], odds: u8) -> World {
    let odd = |bit: u8, value: u8| if odds & bit == 0 { 0 } else { value };
    World {
        view,
        since: 0,
        silent: odd(1, 2),
        holder: odd(2, 2),
        held: odd(4, 3),
        boots: odds & 8 == 0,
        refusals: odd(16, 2),
        tries: tries.to_vec(),
    }
}

#[test]
fn every_start_comes_to_rest_in_agreement_and_a_further_pass_changes_nothing() {
    let starts = starts();
    assert!(starts.len() > 20_000, "{}", starts.len());
    let mut slowest = 0;
    for start in starts {
        let mut world = start.clone();
        let mut rests_since = 0;
        for pass in 1..=PASSES_MAX {
            let before = world.clone();
            world.pass_with_care();
            world.time_passes();
            if world != before {
                rests_since = pass;
            }
        }
        assert!(rests_since < PASSES_MAX, "does not come to rest:\n{start:?}\n{world:?}");
        assert!(world.is_agreement(), "rests where there is no agreement:\n{start:?}\n{world:?}");
        let mut again = world.clone();
        again.pass();
        assert_eq!(again, world, "a second pass changes something: {start:?}");
        slowest = slowest.max(rests_since);
    }
    println!("the slowest start needs {slowest} passes");
}
