//! The life of attempts: intend before the effect, record after it, each under a lease that still holds and each
//! with its line of history. What a change means is core's table; nothing here chooses.

use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change, EndReason, NewAttempt};
use azslurm_core::{VmName, config::Zone};

use crate::{Event, Lease, LedgerError, Writer};

/// What became of a write about an attempt. Only `Done` means that the ledger now says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a write that was refused must stop its writer"]
pub enum Recorded {
    /// Written, or written already by the same word before; the state that the attempt is in.
    Done(AttemptState),
    /// The lease expired, was released or belongs to another: nothing changed, and this writer must not go on.
    LeaseLost,
    /// Something newer is known, which the change makes no sense after: nothing changed. The state that is in
    /// the way.
    Superseded(AttemptState),
    /// There is no such attempt: nothing changed.
    NoSuchAttempt,
}

impl Writer<'_> {
    /// Writes the intent to make a VM, before its PUT is sent. `settles_at`: when a PUT that is sent under this
    /// lease can no longer arrive in Azure.
    ///
    /// `Superseded` if the node has an attempt with this or a higher number (somebody else was faster). The
    /// same intent twice is one.
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
            delete_intended_at: None,
            ended_at: None,
            changed_at: now,
        };
        self.insert_attempt(&attempt)?;
        self.tell(&attempt, describe_intent(new), None)?;
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
        let Some(old) = self.attempt(vm)? else { return Ok(Recorded::NoSuchAttempt) };
        assert_eq!(lease.node(), &old.is.node, "a lease is for one node");
        let Some(state) = old.state.after(change) else {
            return Ok(Recorded::Superseded(old.state));
        };
        let mut new = changed(&old, state, change, now);
        if new == old {
            return Ok(Recorded::Done(state));
        }
        new.generation = lease.generation();
        new.changed_at = now;
        self.update_attempt(&new)?;
        if new.state != old.state || new.says != old.says {
            self.tell(&new, describe(&new, change), request_id_of(change))?;
        }
        Ok(Recorded::Done(state))
    }

    /// Writes an attempt whose VM Azure has and the ledger does not know (it was lost and is rebuilt).
    /// `Superseded` if it is known already.
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
            return Ok(Recorded::Superseded(known.state));
        }
        let mut adopted = attempt.clone();
        adopted.generation = lease.generation();
        adopted.changed_at = now;
        self.insert_attempt(&adopted)?;
        let text = "adopted: azure has it and the ledger did not know it".to_owned();
        self.tell(&adopted, text, attempt.request_id.clone())?;
        Ok(Recorded::Done(adopted.state))
    }

    /// The line of history of a change; when it was and what it is now is in the attempt.
    fn tell(
        &mut self,
        attempt: &Attempt,
        text: String,
        request_id: Option<String>,
    ) -> Result<(), LedgerError> {
        self.event(&Event {
            at: attempt.changed_at,
            kind: attempt.state.word().to_owned(),
            node: Some(attempt.is.node.clone()),
            vm: Some(attempt.is.vm.clone()),
            job: attempt.is.jobs.first().copied(),
            site: Some(attempt.is.place.site.clone()),
            request_id,
            text,
        })
    }
}

/// The attempt after a change that makes sense in its state. What was known first stays: times, and why it is
/// deleted (an evicted VM that is suspended afterwards was evicted).
fn changed(old: &Attempt, state: AttemptState, change: &Change, now: Timestamp) -> Attempt {
    let mut new = old.clone();
    new.state = state;
    match change {
        Change::Accepted { operation, request_id } => {
            take_newer(&mut new.operation, operation);
            take_newer(&mut new.request_id, request_id);
            new.accepted_at.get_or_insert(now);
        }
        Change::Running => {
            new.operation = None;
            new.running_at.get_or_insert(now);
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

fn describe(attempt: &Attempt, change: &Change) -> String {
    match change {
        Change::Accepted { .. } => "azure took the PUT".to_owned(),
        Change::Running => "azure says that it is provisioned".to_owned(),
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
        Change::Running | Change::Gone => None,
    }
}
