//! The ledger's holds in core's words.

use azslurm_core::Timestamp;
use azslurm_core::hold::{Hold, HoldScope};
use azslurm_ledger::{LedgerError, Reader};

/// The holds that are in force. A scope that a newer azslurm wrote holds nothing for us.
pub fn in_force(reader: &Reader, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
    let rows = reader.holds(now)?;
    let read = |row: azslurm_ledger::Hold| {
        let scope = row.scope.parse::<HoldScope>().ok()?;
        Some(Hold {
            scope,
            code: row.code,
            text: row.text,
            strikes: row.strikes,
            struck_at: row.struck_at,
            until: row.until,
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
