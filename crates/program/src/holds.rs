//! The ledger's holds in core's words.

use azslurm_core::Timestamp;
use azslurm_core::hold::{Hold, HoldScope, HoldStanding};
use azslurm_ledger::{LedgerError, Reader, Writer};

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
