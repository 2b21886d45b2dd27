//! The time in which a PUT may still arrive.

use azslurm_core::Timestamp;
use azslurm_core::VmName;
use azslurm_core::attempt::AttemptState;

use crate::{Lease, LedgerError, Recorded, Writer};

impl Writer<'_> {
    /// Gives an intent that is to be sent (again) more time: until `settles_at` its PUT may arrive
    /// in Azure. It is never shortened. `Superseded` if the attempt is no intent any more.
    pub fn resettle(
        &mut self,
        lease: &Lease,
        vm: &VmName,
        now: Timestamp,
        settles_at: Timestamp,
    ) -> Result<Recorded, LedgerError> {
        if !self.is_held(lease, now)? {
            return Ok(Recorded::LeaseLost);
        }
        let Some(attempt) = self.attempt(vm)? else { return Ok(Recorded::NoSuchAttempt) };
        assert_eq!(lease.node(), &attempt.is.node, "a lease is for one node");
        if attempt.state != AttemptState::Intended {
            return Ok(Recorded::Superseded(attempt.state));
        }
        self.change(
            "giving an intent more time",
            "UPDATE attempts SET settles_at = max(settles_at, ?2) WHERE vm = ?1",
            (vm.as_str(), settles_at.as_millis()),
        )?;
        Ok(Recorded::Done(attempt.state))
    }
}
