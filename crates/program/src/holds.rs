//! The ledger's holds in core's words.

use azslurm_core::Timestamp;
use azslurm_core::attempt::Attempt;
use azslurm_core::boot::{self, Missed, Verdict};
use azslurm_core::config::Config;
use azslurm_core::failure::{Moment, hold_of};
use azslurm_core::hold::{Candidate, Hold, HoldScope, HoldStanding, Success, ended_by_success};
use azslurm_ledger::{Event, LedgerError, Reader, Writer};

use crate::facts;

/// The holds that are not over. A scope that a newer azslurm wrote holds nothing for us.
pub fn not_over(reader: &Reader, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
    let mut holds = all(reader)?;
    holds.retain(|hold| hold.standing(now) != HoldStanding::Over);
    Ok(holds)
}

/// All holds that are remembered, those that are over too.
pub fn all(reader: &Reader) -> Result<Vec<Hold>, LedgerError> {
    Ok(reader.holds_all()?.into_iter().filter_map(read).collect())
}

fn read(row: azslurm_ledger::Hold) -> Option<Hold> {
    let scope = row.scope.parse::<HoldScope>().ok()?;
    let azslurm_ledger::Hold { code, text, strikes, struck_at, until, .. } = row;
    Some(Hold { scope, code, text, strikes, struck_at, until })
}

/// Remembers that something was refused: a new hold, or one more strike of the one that is there.
/// `intended_at`: when the refused attempt was intended. What is written.
pub fn strike(
    writer: &mut Writer<'_>,
    new: &Hold,
    intended_at: Timestamp,
) -> Result<Hold, LedgerError> {
    let before = writer.hold_of(&new.scope.to_string())?;
    let since = before.as_ref().map_or(new.struck_at, |before| before.since);
    let before = before.and_then(read);
    // Any number will do: it only keeps those who were refused together from coming together again.
    let seed = u64::try_from(new.struck_at.as_millis()).unwrap_or(0);
    let hold = Hold::after(before.as_ref(), new, intended_at, seed);
    write(writer, &hold, since)?;
    Ok(hold)
}

/// Ends the holds that VMs disprove which have come as far as `success` says.
pub fn end(
    writer: &mut Writer<'_>,
    config: &Config,
    (succeeded, success): (&[Attempt], Success),
) -> Result<(), LedgerError> {
    let known = if succeeded.is_empty() { Vec::new() } else { all(writer)? };
    if known.is_empty() {
        return Ok(());
    }
    let facts = facts::read(writer)?;
    let is_over = |hold: &&Hold| {
        succeeded.iter().any(|attempt| {
            Candidate::of(&attempt.is, (config, &facts), |candidate| {
                ended_by_success(hold, candidate, (success, attempt.intended_at))
            })
        })
    };
    for hold in known.iter().filter(is_over) {
        let scope = hold.scope.to_string();
        tracing::info!(scope, "a VM came: the hold is over");
        writer.unhold(&scope)?;
    }
    Ok(())
}

/// Judges VMs whose nodes missed ResumeTimeout or could not set themselves up, of one call, and
/// remembers those that say something about their nodeset and image.
pub fn strike_boots(
    writer: &mut Writer<'_>,
    config: &Config,
    (missed, at): (&[Missed], Timestamp),
) -> Result<(), LedgerError> {
    let facts = facts::read(writer)?;
    let mut counted: Vec<&Missed> = Vec::new();
    for one in missed {
        let Missed { attempt, fate, told } = one;
        let newest = writer.newest_registered(&attempt.is.nodeset, &attempt.is.image)?;
        let verdict = boot::judge(attempt, *fate, newest);
        let what = told.as_deref().unwrap_or("the node missed ResumeTimeout");
        tracing::warn!(node = %attempt.is.node, vm = %attempt.is.vm, ?verdict, "{what}");
        if verdict == Verdict::Counts {
            counted.push(one);
        }
    }
    let pair = |one: &Missed| (one.attempt.is.nodeset.clone(), one.attempt.is.image.clone());
    counted.sort_by_key(|one| pair(one));
    for of_pair in counted.chunk_by(|one, next| pair(one) == pair(next)) {
        let says = boot::says(of_pair);
        let newest = of_pair.iter().map(|one| &one.attempt).max_by_key(|one| one.intended_at);
        let hold = newest.and_then(|attempt| {
            let found = Candidate::of(&attempt.is, (config, &facts), |candidate| {
                hold_of(Moment::Operation, &says, candidate, at)
            });
            Some((found?, attempt.intended_at))
        });
        let Some((hold, intended_at)) = hold else { continue };
        let hold = strike(writer, &hold, intended_at)?;
        let closed = match hold.standing(at) {
            HoldStanding::Closed => format!("no VM of it is made until {}", hold.until),
            HoldStanding::HalfOpen | HoldStanding::Over => "the next one closes it".to_owned(),
        };
        let Hold { scope, strikes, text, .. } = &hold;
        let text = format!("{scope}: boot failure {strikes} in a row: {text}: {closed}");
        tracing::error!("{text}");
        writer.event(&Event::new(at, "boot-guard", text))?;
    }
    Ok(())
}

/// Writes a hold as it is.
pub fn write(writer: &mut Writer<'_>, hold: &Hold, since: Timestamp) -> Result<(), LedgerError> {
    writer.hold(&azslurm_ledger::Hold {
        scope: hold.scope.to_string(),
        code: hold.code.clone(),
        text: hold.text.clone(),
        strikes: hold.strikes,
        since,
        struck_at: hold.struck_at,
        until: hold.until,
    })
}
