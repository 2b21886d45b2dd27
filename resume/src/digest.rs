//! What findings mean: counts, deletions of what has failed, blocks that are made or not, holds
//! that a success ends. The attempts that have failed are handed on.

use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change};
use azslurm_core::failure::Moment;
use azslurm_core::hold::Success;
use azslurm_ledger::{Lease, LedgerError, Recorded};
use azslurm_program::errands::{Batch, BlockFate, BlockNews, Noted};
use azslurm_program::{Session, holds, now};

use crate::drive::Driven;
use crate::round::Round;

/// An attempt that Azure refused, or failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// Its lease.
    pub lease: Lease,
    /// As it is now.
    pub attempt: Attempt,
    /// When Azure said it.
    pub moment: Moment,
    /// What Azure said.
    pub says: AzureSays,
}

/// Takes a batch in. Returns what has failed.
pub(crate) fn digest(
    session: &mut Session,
    round: &mut Round,
    batch: Batch,
    driven: &mut Driven,
) -> Result<Vec<Failed>, LedgerError> {
    let mut failed = Vec::new();
    let mut succeeded = Vec::new();
    for noted in batch.noted {
        take_in(session, round, (noted, driven), (&mut failed, &mut succeeded))?;
    }
    for news in batch.blocks {
        failed.extend(take_block(session, round, news)?);
    }
    // A VM that is provisioned shows that its place has room again. Mostly nothing is held, and
    // then nobody need wait for a transaction of ours.
    if !succeeded.is_empty() && !session.ledger.holds_all()?.is_empty() {
        session.ledger.write(|writer| {
            holds::end(writer, &session.config, (&succeeded, Success::Provisioned))
        })?;
    }
    Ok(failed)
}

fn take_in(
    session: &mut Session,
    round: &mut Round,
    (noted, driven): (Noted, &mut Driven),
    (failed, succeeded): (&mut Vec<Failed>, &mut Vec<Attempt>),
) -> Result<(), LedgerError> {
    let Noted { lease, vm, change, recorded } = noted;
    let Some((_, attempt)) = round.attempts.get_mut(&vm) else { return Ok(()) };
    let was_wanted = attempt.state.is_wanted();
    match recorded {
        Recorded::Done(state) => attempt.state = state,
        // Recalled, and then Azure refused it or it was never sent: nothing exists.
        Recorded::Superseded(AttemptState::DeleteIntended)
            if matches!(change, Change::Refused(_)) =>
        {
            let gone =
                session.ledger.write(|writer| writer.record(&lease, &vm, &Change::Gone, now()))?;
            if let Recorded::Done(state) = gone {
                attempt.state = state;
                driven.gone += 1;
            }
            return Ok(());
        }
        Recorded::Superseded(_) | Recorded::LeaseLost | Recorded::NoSuchAttempt => return Ok(()),
    }
    match change {
        Change::Accepted { .. } => {
            attempt.accepted_at.get_or_insert(now());
            if attempt.state == AttemptState::DeleteIntended {
                // It was recalled too late: now it is there, and goes.
                round.add_deletion(session, &vm);
            } else {
                driven.accepted += 1;
            }
        }
        Change::Running => {
            driven.running += 1;
            succeeded.push(attempt.clone());
        }
        Change::Refused(says) => {
            driven.failed += 1;
            let (attempt, moment) = (attempt.clone(), Moment::Operation);
            failed.push(Failed { lease, attempt, moment, says });
        }
        Change::DeleteIntended { says, .. } => {
            let attempt = attempt.clone();
            round.add_deletion(session, &vm);
            if let Some(says) = says.filter(|_| was_wanted) {
                driven.failed += 1;
                failed.push(Failed { lease, attempt, moment: Moment::Operation, says });
            }
        }
        Change::DeleteAccepted { .. } => driven.deleting += 1,
        Change::DeleteFailed(_) => driven.undeleted += 1,
        Change::Registered => {}
        Change::Gone => driven.gone += 1,
    }
    Ok(())
}

fn take_block(
    session: &mut Session,
    round: &mut Round,
    BlockNews { life, fate }: BlockNews,
) -> Result<Vec<Failed>, LedgerError> {
    match fate {
        BlockFate::Made => {
            session.ledger.write(|writer| match writer.block(&life)? {
                Some(block) => writer.block_made(&block, now()),
                None => Ok(()),
            })?;
            round.block_is_made(session, &life)?;
            Ok(Vec::new())
        }
        BlockFate::Refused(moment, says) => {
            // Nothing of its VMs was sent, by anybody: a block is recorded as made before.
            let waiting = round.give_up_block(&life);
            let failed = refuse_waiting(session, waiting, (moment, &says))?;
            for one in &failed {
                let vm = one.attempt.is.vm.clone();
                round.attempts.insert(vm, (one.lease.clone(), one.attempt.clone()));
            }
            Ok(failed)
        }
        BlockFate::Gone => Ok(Vec::new()),
        BlockFate::NotKnown => {
            // The intents stay, and are taken up again.
            round.give_up_block(&life);
            Ok(Vec::new())
        }
    }
}

/// VMs whose block cannot be made.
fn refuse_waiting(
    session: &mut Session,
    waiting: Vec<(Lease, Attempt)>,
    (moment, says): (Moment, &AzureSays),
) -> Result<Vec<Failed>, LedgerError> {
    let change = Change::Refused(says.clone());
    session.ledger.write(|writer| {
        let mut failed = Vec::new();
        for (lease, mut attempt) in waiting {
            let recorded = writer.record(&lease, &attempt.is.vm, &change, now())?;
            let Recorded::Done(state) = recorded else { continue };
            attempt.state = state;
            failed.push(Failed { lease, attempt, moment, says: says.clone() });
        }
        Ok(failed)
    })
}
