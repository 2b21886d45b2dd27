//! The life of attempts: intend before the effect, record after it, each under a lease that still
//! holds and each with its line of history. What a change means is core's table; nothing here
//! chooses.

use std::collections::BTreeMap;

use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change, EndReason, NewAttempt};
use azslurm_core::{NodeName, VmName, config::Zone};

use crate::known::Known;
use crate::{Event, Lease, LedgerError, Writer};

/// What became of a write about an attempt. Only `Done` means that the ledger now says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a write that was refused must stop its writer"]
pub enum Recorded {
    /// Written, or written already by the same word before; the state that the attempt is in.
    Done(AttemptState),
    /// The lease expired, was released or belongs to another: nothing changed, and this writer must
    /// not go on.
    LeaseLost,
    /// Something newer is known, which the change makes no sense after: nothing changed. The state
    /// that is in the way.
    Superseded(AttemptState),
    /// There is no such attempt: nothing changed.
    NoSuchAttempt,
}

impl Writer<'_> {
    /// Writes the intent to make a VM, before its PUT is sent. `settles_at`: when a PUT that is
    /// sent under this lease can no longer arrive in Azure.
    ///
    /// `Superseded` if the node has an attempt with this or a higher number (somebody else was
    /// faster). The same intent twice is one.
    pub fn intend(
        &mut self,
        lease: &Lease,
        new: &NewAttempt,
        now: Timestamp,
        settles_at: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        assert_eq!(lease.node(), &new.node, "a lease is for one node");
        assert_eq!(new.vm, VmName::of(&new.node, new.attempt), "the VM's name says its attempt");
        if !self.is_held(lease, now)? {
            return Ok(Recorded::LeaseLost);
        }
        if let Some((newest, state)) = self.attempt_newest(&new.node)?
            && newest >= new.attempt
        {
            return self.intended_already(new, state);
        }
        let attempt = Attempt {
            is: new.clone(),
            state: AttemptState::Intended,
            why: None,
            says: None,
            operation: None,
            request_id: None,
            generation: lease.generation(),
            intended_at: now,
            settles_at,
            accepted_at: None,
            running_at: None,
            registered_at: None,
            delete_intended_at: None,
            ended_at: None,
            changed_at: now,
        };
        self.insert_attempt(&attempt)?;
        self.tell(&Known::from(&attempt), describe_intent(new), None)?;
        Ok(Recorded::Done(AttemptState::Intended))
    }

    fn intended_already(
        &self,
        new: &NewAttempt,
        newest: AttemptState,
    ) -> Result<Recorded, LedgerError> {
        let same = self.attempt(&new.vm)?.filter(|attempt| attempt.is == *new);
        match same.map(|attempt| attempt.state) {
            Some(AttemptState::Intended) => Ok(Recorded::Done(AttemptState::Intended)),
            Some(state) => Ok(Recorded::Superseded(state)),
            None => Ok(Recorded::Superseded(newest)),
        }
    }

    /// Writes what became known of an attempt, or what is to be done with it.
    pub fn record(
        &mut self,
        lease: &Lease,
        vm: &VmName,
        change: &Change,
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        if !self.is_held(lease, now)? {
            return Ok(Recorded::LeaseLost);
        }
        let Some(old) = self.known(vm)? else { return Ok(Recorded::NoSuchAttempt) };
        self.record_read(lease, &old, change, now)
    }

    /// [`Writer::record`] of one change for every attempt of the leased nodes of which `is_about`
    /// says that it is about it. All attempts of these nodes that have not ended, each with what
    /// became of the write, if it was about it.
    pub fn record_each(
        &mut self,
        leases: &[Lease],
        (change, is_about): (&Change, impl Fn(&Attempt) -> bool),
        now: Timestamp,
    ) -> Result<Vec<(Attempt, Option<Recorded>)>, LedgerError> {
        let nodes: Vec<NodeName> = leases.iter().map(|lease| lease.node().clone()).collect();
        let held = self.which_are_held(leases, now)?;
        let leases: BTreeMap<&NodeName, &Lease> =
            leases.iter().map(|lease| (lease.node(), lease)).collect();
        let mut attempts = self.attempts_of(&nodes)?;
        attempts.retain(|attempt| !attempt.state.is_ended());
        let mut each = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            let lease = leases.get(&attempt.is.node).filter(|_| is_about(&attempt));
            let recorded = match lease {
                None => None,
                Some(lease) if !held.contains(lease.node()) => Some(Recorded::LeaseLost),
                Some(lease) => {
                    Some(self.record_read(lease, &Known::from(&attempt), change, now)?)
                }
            };
            each.push((attempt, recorded));
        }
        Ok(each)
    }

    /// Under a lease that is held, of an attempt as it was just read in this transaction.
    fn record_read(
        &mut self,
        lease: &Lease,
        old: &Known,
        change: &Change,
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        self.check_node(old)?;
        assert_eq!(lease.node(), &old.node, "a lease is for one node");
        let Some(state) = old.state.after(change) else {
            return Ok(Recorded::Superseded(old.state));
        };
        let mut new = changed(old, state, change, now);
        if new == *old {
            return Ok(Recorded::Done(state));
        }
        new.generation = lease.generation();
        new.changed_at = now;
        self.update_known_from(old, &new)?;
        let is_news = new.registered_at != old.registered_at;
        if is_news {
            let text = describe(&new, change);
            self.event(&Event { kind: "registered".to_owned(), ..event(&new, text, None) })?;
        } else if new.state != old.state || new.says != old.says {
            self.tell(&new, describe(&new, change), request_id_of(change))?;
        }
        Ok(Recorded::Done(state))
    }

    /// A VM is of the node that its name says: under the lease of another one nobody may touch it.
    fn check_node(&self, known: &Known) -> Result<(), LedgerError> {
        let Known { vm, node, .. } = known;
        if vm.split().is_none_or(|(of, _)| of == *node) {
            return Ok(());
        }
        Err(self.damage(("attempts", vm.as_str()), "node", format!("{:?}", node.as_str())))
    }

    /// Writes an attempt whose VM Azure has and the ledger does not know (it was lost and is
    /// rebuilt), or knows as ended: a PUT whose answer was lost has arrived late. That one is
    /// opened again, to be deleted; for one that is `Gone` the caller must have seen the VM itself,
    /// because lists lag. `Superseded` if it is known and has not ended.
    ///
    /// # Panics
    /// One that has ended is given in another state than `DeleteIntended`.
    pub fn adopt(
        &mut self,
        lease: &Lease,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        assert_eq!(lease.node(), &attempt.is.node, "a lease is for one node");
        let is_ended = attempt.ended_at.is_some();
        assert_eq!(is_ended, attempt.state.is_ended(), "an end has its time: {attempt:?}");
        if !self.is_held(lease, now)? {
            return Ok(Recorded::LeaseLost);
        }
        if let Some(known) = self.attempt(&attempt.is.vm)? {
            return self.reopen(lease, (&known, attempt), now);
        }
        let mut adopted = attempt.clone();
        adopted.generation = lease.generation();
        adopted.changed_at = now;
        self.insert_attempt(&adopted)?;
        let text = "adopted: azure has it and the ledger did not know it".to_owned();
        self.tell(&Known::from(&adopted), text, attempt.request_id.clone())?;
        Ok(Recorded::Done(adopted.state))
    }

    /// Writes an attempt that a person has said to be its node's VM, and whose VM Azure has: as
    /// [`Writer::adopt`], and one that the ledger had ended is wanted again.
    pub fn adopt_by_person(
        &mut self,
        lease: &Lease,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        assert!(attempt.state.is_wanted(), "a person wants it: {attempt:?}");
        let known = self.attempt(&attempt.is.vm)?.filter(|known| known.ended_at.is_some());
        let Some(known) = known else { return self.adopt(lease, attempt, now) };
        if !self.is_held(lease, now)? {
            return Ok(Recorded::LeaseLost);
        }
        assert_eq!(lease.node(), &known.is.node, "a lease is for one node");
        let again = Attempt {
            state: attempt.state,
            why: None,
            says: None,
            operation: None,
            generation: lease.generation(),
            accepted_at: known.accepted_at.or(Some(now)),
            delete_intended_at: None,
            ended_at: None,
            changed_at: now,
            ..known
        };
        let again = Known::from(&again);
        self.update_known(&again)?;
        self.tell(&again, "adopted again: a person says that it is the node's".to_owned(), None)?;
        Ok(Recorded::Done(again.state))
    }

    /// Opens an attempt again that had ended and whose VM is there. What is known of it stays; the
    /// deletion is decided anew.
    fn reopen(
        &mut self,
        lease: &Lease,
        (known, seen): (&Attempt, &Attempt),
        now: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        if !known.state.is_ended() {
            return Ok(Recorded::Superseded(known.state));
        }
        assert_eq!(lease.node(), &known.is.node, "a lease is for one node");
        let state = AttemptState::DeleteIntended;
        assert_eq!(seen.state, state, "one that has ended is opened only to be deleted: {seen:?}");
        let reopened = Attempt {
            state,
            why: known.why.or(seen.why),
            operation: None,
            generation: lease.generation(),
            // Azure has taken the PUT: an absence is from now on the end.
            accepted_at: known.accepted_at.or(seen.accepted_at).or(Some(now)),
            delete_intended_at: Some(now),
            ended_at: None,
            changed_at: now,
            ..known.clone()
        };
        let reopened = Known::from(&reopened);
        self.update_known(&reopened)?;
        let text = format!("adopted: azure has it although it had ended ({})", known.state.word());
        self.tell(&reopened, text, seen.request_id.clone())?;
        Ok(Recorded::Done(state))
    }

    /// The line of history of a change; when it was and what it is now is in the attempt.
    fn tell(
        &mut self,
        attempt: &Known,
        text: String,
        request_id: Option<String>,
    ) -> Result<(), LedgerError> {
        self.event(&event(attempt, text, request_id))
    }
}

fn event(attempt: &Known, text: String, request_id: Option<String>) -> Event {
    Event {
        at: attempt.changed_at,
        kind: attempt.state.word().to_owned(),
        node: Some(attempt.node.clone()),
        vm: Some(attempt.vm.clone()),
        job: attempt.job,
        site: Some(attempt.site.clone()),
        request_id,
        text,
    }
}

/// The attempt after a change that makes sense in its state. What was known first stays: times, and
/// why it is deleted (an evicted VM that is suspended afterwards was evicted).
fn changed(old: &Known, state: AttemptState, change: &Change, now: Timestamp) -> Known {
    let mut new = old.clone();
    new.state = state;
    match change {
        Change::Accepted { operation, request_id } => {
            // The operation of a creation that is to be undone is followed by nobody.
            if state.is_wanted() {
                take_newer(&mut new.operation, operation);
            }
            take_newer(&mut new.request_id, request_id);
            new.accepted_at.get_or_insert(now);
        }
        Change::Running => {
            new.operation = None;
            new.running_at.get_or_insert(now);
        }
        Change::Registered => {
            new.registered_at.get_or_insert(now);
        }
        Change::Refused(says) => {
            new.operation = None;
            new.says = Some(says.clone());
            new.ended_at.get_or_insert(now);
        }
        Change::DeleteIntended { why, says } => {
            if old.state.is_wanted() {
                // The operation was the creation's, which nobody follows any more.
                new.operation = None;
            }
            new.why.get_or_insert(*why);
            if says.is_some() {
                new.says.clone_from(says);
            }
            new.delete_intended_at.get_or_insert(now);
        }
        Change::DeleteAccepted { operation, request_id } => {
            take_newer(&mut new.operation, operation);
            take_newer(&mut new.request_id, request_id);
            if operation.is_some() {
                // Azure deletes what was there: the PUT has arrived, also if nobody wrote it down.
                new.accepted_at.get_or_insert(now);
            }
        }
        Change::DeleteFailed(says) => {
            new.operation = None;
            new.says = Some(says.clone());
        }
        Change::Gone => {
            new.operation = None;
            new.ended_at.get_or_insert(now);
        }
    }
    new
}

fn take_newer(known: &mut Option<String>, said: &Option<String>) {
    if said.is_some() {
        known.clone_from(said);
    }
}

fn describe_intent(new: &NewAttempt) -> String {
    let place = &new.place;
    let zone = place.zone.as_ref().map(|zone: &Zone| format!(" zone {zone}")).unwrap_or_default();
    let priority = if new.is_spot { "spot " } else { "" };
    let sku = &new.sku;
    format!("to make a {priority}{sku} in {}{zone}", place.region)
}

fn describe(attempt: &Known, change: &Change) -> String {
    match change {
        Change::Accepted { .. } => "azure took the PUT".to_owned(),
        Change::Running => "azure says that it is provisioned".to_owned(),
        Change::Registered => "slurmd has registered: the node is up".to_owned(),
        Change::Refused(says) => describe_error(says),
        Change::DeleteIntended { why, says } => {
            let why = attempt.why.unwrap_or(*why);
            let says = says.as_ref().map(|says| format!(": {}", describe_error(says)));
            format!("{}{}", EndReason::word(why), says.unwrap_or_default())
        }
        Change::DeleteAccepted { .. } => "azure took the DELETE".to_owned(),
        Change::DeleteFailed(says) => format!("the deletion failed: {}", describe_error(says)),
        Change::Gone => "confirmed absent".to_owned(),
    }
}

fn describe_error(says: &AzureSays) -> String {
    let code = if says.code.is_empty() { "no code" } else { &says.code };
    format!("{code}: {}", says.text)
}

fn request_id_of(change: &Change) -> Option<String> {
    match change {
        Change::Accepted { request_id, .. } | Change::DeleteAccepted { request_id, .. } => {
            request_id.clone()
        }
        Change::Refused(says) | Change::DeleteFailed(says) => says.request_id.clone(),
        Change::DeleteIntended { says, .. } => says.as_ref()?.request_id.clone(),
        Change::Running | Change::Registered | Change::Gone => None,
    }
}

#[cfg(test)]
mod tests {
    use azslurm_core::JobId;
    use azslurm_core::attempt::AttemptState as S;

    use super::*;
    use crate::sample::{ask, at, holder, leased, new_attempt, node, write};
    use crate::{EventFilter, Ledger, Take};

    fn intend(ledger: &mut Ledger, lease: &Lease, number: i64, now: i64) -> Recorded {
        let new = new_attempt("n1", number);
        write(ledger, |writer| writer.intend(lease, &new, at(now), at(now + 60)))
    }

    fn record(ledger: &mut Ledger, lease: &Lease, change: &Change, now: i64) -> Recorded {
        let vm = new_attempt("n1", 1).vm;
        write(ledger, |writer| writer.record(lease, &vm, change, at(now)))
    }

    fn first(ledger: &Ledger) -> Attempt {
        ledger.attempt(&new_attempt("n1", 1).vm).unwrap().unwrap()
    }

    fn says(code: &str) -> AzureSays {
        AzureSays { code: code.into(), text: "no room".into(), request_id: Some("r-9".into()) }
    }

    fn accepted(operation: &str) -> Change {
        Change::Accepted { operation: Some(operation.into()), request_id: Some("r-1".into()) }
    }

    fn deleting(operation: &str) -> Change {
        Change::DeleteAccepted { operation: Some(operation.into()), request_id: Some("r-2".into()) }
    }

    fn suspended() -> Change {
        Change::DeleteIntended { why: EndReason::Suspended, says: None }
    }

    #[test]
    fn a_life_from_intent_to_gone_is_kept_with_its_times() {
        let (mut ledger, lease) = leased();
        assert_eq!(intend(&mut ledger, &lease, 1, 1), Recorded::Done(S::Intended));
        assert_eq!(record(&mut ledger, &lease, &accepted("op-1"), 2), Recorded::Done(S::Accepted));
        assert_eq!(first(&ledger).operation.as_deref(), Some("op-1"));
        assert_eq!(record(&mut ledger, &lease, &Change::Running, 3), Recorded::Done(S::Running));
        assert_eq!(first(&ledger).operation, None);
        assert_eq!(record(&mut ledger, &lease, &suspended(), 4), Recorded::Done(S::DeleteIntended));
        assert_eq!(record(&mut ledger, &lease, &deleting("op-2"), 5), Recorded::Done(S::Deleting));
        assert_eq!(first(&ledger).operation.as_deref(), Some("op-2"));
        assert_eq!(record(&mut ledger, &lease, &Change::Gone, 6), Recorded::Done(S::Gone));
        let expected = Attempt {
            is: new_attempt("n1", 1),
            state: S::Gone,
            why: Some(EndReason::Suspended),
            says: None,
            operation: None,
            request_id: Some("r-2".into()),
            generation: 1,
            intended_at: at(1),
            settles_at: at(61),
            accepted_at: Some(at(2)),
            running_at: Some(at(3)),
            registered_at: None,
            delete_intended_at: Some(at(4)),
            ended_at: Some(at(6)),
            changed_at: at(6),
        };
        assert_eq!(first(&ledger), expected);
    }

    #[test]
    fn every_change_of_state_is_one_line_of_history() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let failed = Change::DeleteFailed(says("InternalServerError"));
        let why = Change::DeleteIntended {
            why: EndReason::CreateFailed,
            says: Some(says("SkuNotAvailable")),
        };
        let life = [accepted("op"), why, deleting("op"), failed, deleting("op"), Change::Gone];
        for (now, change) in (2..).zip(&life) {
            // Said twice, told once.
            for _ in 0..2 {
                assert!(matches!(record(&mut ledger, &lease, change, now), Recorded::Done(_)));
            }
        }
        let events = ledger.events(&EventFilter::default()).unwrap();
        let lines: Vec<String> = events
            .iter()
            .map(|event| {
                let request = event.request_id.as_deref().unwrap_or("-");
                format!("{} {request} {}", event.kind, event.text)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "intended - to make a spot Standard_D4s_v5 in westeurope zone 2",
                "accepted r-1 azure took the PUT",
                "delete-intended r-9 create-failed: SkuNotAvailable: no room",
                "deleting r-2 azure took the DELETE",
                "delete-intended r-9 the deletion failed: InternalServerError: no room",
                "deleting r-2 azure took the DELETE",
                "gone - confirmed absent",
            ]
        );
        for event in events {
            assert_eq!(event.node, Some(node("n1")));
            assert_eq!(event.vm, Some(new_attempt("n1", 1).vm));
            assert_eq!(event.job, Some(JobId(7)));
            assert_eq!(event.site.unwrap().as_str(), "west");
        }
    }

    #[test]
    fn a_refused_attempt_keeps_what_azure_said() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let refused = Change::Refused(says("ZonalAllocationFailed"));
        assert_eq!(record(&mut ledger, &lease, &refused, 2), Recorded::Done(S::Refused));
        let attempt = first(&ledger);
        assert_eq!(attempt.says, Some(says("ZonalAllocationFailed")));
        assert_eq!(attempt.ended_at, Some(at(2)));
        let late = record(&mut ledger, &lease, &Change::Running, 3);
        assert_eq!(late, Recorded::Superseded(S::Refused));
        assert_eq!(first(&ledger), attempt);
    }

    #[test]
    fn the_first_reason_to_delete_stays() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let evicted = Change::DeleteIntended { why: EndReason::Evicted, says: None };
        let _ = record(&mut ledger, &lease, &evicted, 2);
        let _ = record(&mut ledger, &lease, &suspended(), 3);
        let attempt = first(&ledger);
        assert_eq!(
            (attempt.why, attempt.delete_intended_at),
            (Some(EndReason::Evicted), Some(at(2)))
        );
        let _ = record(&mut ledger, &lease, &deleting("op-d"), 4);
        let _ = record(&mut ledger, &lease, &suspended(), 5);
        assert_eq!(first(&ledger).state, S::Deleting);
        assert_eq!(first(&ledger).operation.as_deref(), Some("op-d"));
    }

    #[test]
    fn an_expired_holder_changes_nothing() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let before = (first(&ledger), ledger.events(&EventFilter::default()).unwrap());
        assert_eq!(record(&mut ledger, &lease, &Change::Running, 1000), Recorded::LeaseLost);
        assert_eq!(intend(&mut ledger, &lease, 2, 1000), Recorded::LeaseLost);
        let adopted = Attempt { is: new_attempt("n1", 3), ..before.0.clone() };
        let answer = write(&mut ledger, |writer| writer.adopt(&lease, &adopted, at(1000)));
        assert_eq!(answer, Recorded::LeaseLost);
        let vm = &before.0.is.vm;
        let answer = write(&mut ledger, |writer| writer.resettle(&lease, vm, at(1000), at(99_999)));
        assert_eq!(answer, Recorded::LeaseLost);
        assert_eq!((first(&ledger), ledger.events(&EventFilter::default()).unwrap()), before);
        assert_eq!(ledger.attempts_latest().unwrap().len(), 1);
    }

    #[test]
    fn a_superseded_holder_changes_nothing_also_while_its_time_lasts() {
        let (mut ledger, old) = leased();
        let _ = intend(&mut ledger, &old, 1, 1);
        let suspend = holder("suspend");
        let seized = write(&mut ledger, |writer| {
            writer.lease(&node("n1"), &ask(&suspend, Take::Seize, 2, 900))
        });
        let seized = seized.granted().unwrap();
        assert_eq!(
            record(&mut ledger, &seized, &suspended(), 3),
            Recorded::Done(S::DeleteIntended)
        );
        let before = first(&ledger);
        assert_eq!(before.generation, 2);
        assert_eq!(record(&mut ledger, &old, &accepted("late"), 4), Recorded::LeaseLost);
        assert_eq!(first(&ledger), before);
        // Also its own holder cannot make the creation's late answer undo the decision; but now it
        // is known that the PUT has arrived, so that an absence is an end.
        assert_eq!(
            record(&mut ledger, &seized, &accepted("late"), 5),
            Recorded::Done(S::DeleteIntended)
        );
        let after = first(&ledger);
        assert_eq!((after.accepted_at, after.operation), (Some(at(5)), before.operation));
    }

    #[test]
    fn an_intent_twice_is_one_and_an_older_one_is_none() {
        let (mut ledger, lease) = leased();
        assert_eq!(intend(&mut ledger, &lease, 1, 1), Recorded::Done(S::Intended));
        assert_eq!(intend(&mut ledger, &lease, 1, 2), Recorded::Done(S::Intended));
        assert_eq!(first(&ledger).intended_at, at(1));
        let mut differs = new_attempt("n1", 1);
        differs.body_hash = "ffff".into();
        let answer = write(&mut ledger, |writer| writer.intend(&lease, &differs, at(3), at(63)));
        assert_eq!(answer, Recorded::Superseded(S::Intended));
        assert_eq!(intend(&mut ledger, &lease, 5, 4), Recorded::Done(S::Intended));
        let _ = record(&mut ledger, &lease, &accepted("op"), 5);
        assert_eq!(intend(&mut ledger, &lease, 1, 6), Recorded::Superseded(S::Accepted));
        assert_eq!(intend(&mut ledger, &lease, 3, 7), Recorded::Superseded(S::Intended));
        assert_eq!(ledger.attempts_unfinished().unwrap().len(), 2);
        assert_eq!(ledger.events(&EventFilter::default()).unwrap().len(), 3);
    }

    #[test]
    fn that_slurmd_has_registered_is_remembered_once_and_by_nodeset_and_image() {
        let (mut ledger, lease) = leased();
        let is = new_attempt("n1", 1);
        let newest =
            |ledger: &Ledger, image: &str| ledger.newest_registered(&is.nodeset, image).unwrap();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let _ = record(&mut ledger, &lease, &Change::Running, 2);
        assert_eq!(newest(&ledger, &is.image), None);
        for now in [3, 4] {
            let recorded = record(&mut ledger, &lease, &Change::Registered, now);
            assert_eq!(recorded, Recorded::Done(S::Running));
        }
        assert_eq!(first(&ledger).registered_at, Some(at(3)));
        assert_eq!(newest(&ledger, &is.image), Some(at(1)), "when it was intended");
        assert_eq!(newest(&ledger, "another"), None);
        let told = ledger.events(&EventFilter::default()).unwrap();
        assert_eq!(told.iter().filter(|event| event.kind == "registered").count(), 1);
        // What goes was a success all the same; a late word about it is none.
        let _ = record(&mut ledger, &lease, &suspended(), 5);
        let late = record(&mut ledger, &lease, &Change::Registered, 6);
        assert_eq!(late, Recorded::Superseded(S::DeleteIntended));
        assert_eq!(newest(&ledger, &is.image), Some(at(1)));
    }

    #[test]
    fn an_attempt_is_found_without_case_and_the_unknown_is_said() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let loud: VmName = new_attempt("n1", 1).vm.as_str().to_uppercase().parse().unwrap();
        assert_eq!(ledger.attempt(&loud).unwrap(), Some(first(&ledger)));
        let answer =
            write(&mut ledger, |writer| writer.record(&lease, &loud, &Change::Running, at(2)));
        assert_eq!(answer, Recorded::Done(S::Running));
        let unknown = new_attempt("n1", 99).vm;
        let answer =
            write(&mut ledger, |writer| writer.record(&lease, &unknown, &Change::Running, at(2)));
        assert_eq!(answer, Recorded::NoSuchAttempt);
    }

    #[test]
    fn a_vm_that_only_azure_knows_is_adopted_once() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 5, 1);
        let orphan = Attempt {
            is: new_attempt("n1", 1),
            state: S::DeleteIntended,
            why: Some(EndReason::Orphaned),
            delete_intended_at: Some(at(2)),
            generation: 0,
            ..ledger.attempts_latest().unwrap().remove(0)
        };
        let adopt =
            |ledger: &mut Ledger| write(ledger, |writer| writer.adopt(&lease, &orphan, at(3)));
        assert_eq!(adopt(&mut ledger), Recorded::Done(S::DeleteIntended));
        assert_eq!(adopt(&mut ledger), Recorded::Superseded(S::DeleteIntended));
        let known = Attempt { generation: 1, changed_at: at(3), ..orphan.clone() };
        assert_eq!(first(&ledger), known);
        assert_eq!(ledger.events(&EventFilter::default()).unwrap().len(), 2);
        // It is older than the newest, which stays the newest.
        assert_eq!(ledger.attempts_latest().unwrap()[0].is.attempt.number(), 5);
    }

    #[test]
    fn a_vm_that_arrives_after_its_end_is_opened_again_to_be_deleted() {
        let refused = vec![Change::Refused(says("AzureUnreachable"))];
        let gone = vec![accepted("op"), suspended(), deleting("op-d"), Change::Gone];
        for (life, why, accepted_at) in
            [(refused, EndReason::Orphaned, 1), (gone, EndReason::Suspended, 2)]
        {
            let (mut ledger, lease) = leased();
            let _ = intend(&mut ledger, &lease, 1, 1);
            let seen = Attempt {
                state: S::DeleteIntended,
                why: Some(EndReason::Orphaned),
                accepted_at: Some(at(1)),
                delete_intended_at: Some(at(8)),
                ..first(&ledger)
            };
            let adopt = |ledger: &mut Ledger, now| {
                write(ledger, |writer| writer.adopt(&lease, &seen, at(now)))
            };
            for change in &life {
                assert_eq!(adopt(&mut ledger, 2), Recorded::Superseded(first(&ledger).state));
                assert!(matches!(record(&mut ledger, &lease, change, 2), Recorded::Done(_)));
            }
            let ended = first(&ledger);
            assert_eq!(ended.ended_at, Some(at(2)));
            assert_eq!(adopt(&mut ledger, 9), Recorded::Done(S::DeleteIntended));
            let expected = Attempt {
                state: S::DeleteIntended,
                why: Some(why),
                accepted_at: Some(at(accepted_at)),
                delete_intended_at: Some(at(9)),
                ended_at: None,
                changed_at: at(9),
                ..ended.clone()
            };
            assert_eq!(first(&ledger), expected);
            assert_eq!(ledger.attempts_unfinished().unwrap(), [expected]);
            let told = ledger.events(&EventFilter::default()).unwrap().pop().unwrap();
            let text = format!("azure has it although it had ended ({})", ended.state.word());
            assert!(told.text.contains(&text), "{}", told.text);
            assert_eq!(adopt(&mut ledger, 10), Recorded::Superseded(S::DeleteIntended));
            // It can end again.
            let _ = record(&mut ledger, &lease, &deleting("op-e"), 11);
            assert_eq!(record(&mut ledger, &lease, &Change::Gone, 12), Recorded::Done(S::Gone));
            assert_eq!(first(&ledger).ended_at, Some(at(12)));
        }
    }

    #[test]
    #[should_panic(expected = "opened only to be deleted")]
    fn to_open_an_ended_attempt_as_wanted_is_our_own_mistake() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let wanted = Attempt { state: S::Running, ..first(&ledger) };
        let _ = record(&mut ledger, &lease, &Change::Refused(says("Lost")), 2);
        let _ = write(&mut ledger, |writer| writer.adopt(&lease, &wanted, at(3)));
    }

    #[test]
    fn an_attempt_whose_row_names_another_node_is_damage_and_no_panic() {
        let (mut ledger, lease) = leased();
        let _done = intend(&mut ledger, &lease, 1, 0);
        ledger.connection.execute("UPDATE attempts SET node = 'n2'", ()).unwrap();
        let vm = new_attempt("n1", 1).vm;
        let recorded = ledger.write(|writer| writer.record(&lease, &vm, &Change::Running, at(1)));
        let error = recorded.unwrap_err().to_string();
        assert!(error.contains("has node \"n2\""), "{error}");
    }

    #[test]
    fn only_an_intent_gets_more_time_and_never_less() {
        let (mut ledger, lease) = leased();
        let _ = intend(&mut ledger, &lease, 1, 1);
        let vm = new_attempt("n1", 1).vm;
        for (asked, got) in [(500, 500), (400, 500)] {
            let answer =
                write(&mut ledger, |writer| writer.resettle(&lease, &vm, at(2), at(asked)));
            assert_eq!(answer, Recorded::Done(S::Intended));
            assert_eq!(first(&ledger).settles_at, at(got));
        }
        let _ = record(&mut ledger, &lease, &accepted("op"), 3);
        let answer = write(&mut ledger, |writer| writer.resettle(&lease, &vm, at(4), at(900)));
        assert_eq!(answer, Recorded::Superseded(S::Accepted));
        assert_eq!(first(&ledger).settles_at, at(500));
    }

    #[test]
    #[should_panic(expected = "a lease is for one node")]
    fn a_lease_of_another_node_is_our_own_mistake() {
        let (mut ledger, lease) = leased();
        let other = new_attempt("n2", 1);
        let _ = write(&mut ledger, |writer| writer.intend(&lease, &other, at(1), at(2)));
    }

    #[test]
    fn one_change_is_written_for_all_attempts_that_it_is_about() {
        let (mut ledger, lease) = leased();
        let refused = Change::Refused(says("AllocationFailed"));
        let written = [
            intend(&mut ledger, &lease, 1, 1),
            intend(&mut ledger, &lease, 2, 2),
            record(&mut ledger, &lease, &refused, 3),
            intend(&mut ledger, &lease, 3, 4),
        ];
        assert!(written.iter().all(|it| matches!(it, Recorded::Done(_))), "{written:?}");
        let change = Change::DeleteIntended { why: EndReason::Suspended, says: None };
        let is_second = |attempt: &Attempt| attempt.is.attempt.number() == 2;
        let each = write(&mut ledger, |writer| {
            writer.record_each(std::slice::from_ref(&lease), (&change, is_second), at(5))
        });
        let each: Vec<(i64, Option<Recorded>)> =
            each.into_iter().map(|(it, recorded)| (it.is.attempt.number(), recorded)).collect();
        assert_eq!(each, [(2, Some(Recorded::Done(S::DeleteIntended))), (3, None)]);
        // A lease that is over writes nothing.
        let late = write(&mut ledger, |writer| {
            writer.record_each(
                std::slice::from_ref(&lease),
                (&change, |_: &Attempt| true),
                at(1000),
            )
        });
        let lost = [Some(Recorded::LeaseLost), Some(Recorded::LeaseLost)];
        let late: Vec<Option<Recorded>> = late.into_iter().map(|(_, recorded)| recorded).collect();
        assert_eq!(late, lost);
        // Neither does one that another has, nor an earlier one of the same holder.
        for thief in [holder("thief"), lease.holder().clone()] {
            write(&mut ledger, |writer| {
                writer.lease(lease.node(), &ask(&thief, Take::Seize, 6, 2000))
            });
            let after = write(&mut ledger, |writer| {
                writer.record_each(
                    std::slice::from_ref(&lease),
                    (&change, |_: &Attempt| true),
                    at(7),
                )
            });
            let after: Vec<Option<Recorded>> =
                after.into_iter().map(|(_, recorded)| recorded).collect();
            assert_eq!(after, lost, "{thief}");
        }
    }
}
