//! Throttles, shared: a 429 that one program gets closes the bucket for all of them until Azure's
//! own time, through the ledger.

use std::collections::BTreeMap;

use azslurm_azure::Closure;
use azslurm_core::Timestamp;
use azslurm_ledger::{Budget, Ledger, LedgerError};

use crate::clients::Clients;
use crate::now;

/// Differences below this come from reading two clocks one after the other.
const SAME_MILLIS: u64 = 500;

/// What this program has told the others.
#[derive(Debug, Default)]
pub struct Throttles {
    told: BTreeMap<String, Timestamp>,
}

impl Throttles {
    /// Writes closures that the ledger does not know yet; one transaction, and none if there is
    /// nothing new.
    pub fn tell(&mut self, clients: &Clients, ledger: &mut Ledger) -> Result<(), LedgerError> {
        let at = now();
        let mut news = Vec::new();
        for (door, arm, _) in clients.doors() {
            for Closure { bucket, left } in arm.closures() {
                let (name, until) = (format!("{door}/{bucket}"), at.plus(left));
                let told = self.told.get(&name).copied();
                let is_new =
                    told.is_none_or(|told| u128::from(SAME_MILLIS) < until.since(told).as_millis());
                if is_new {
                    self.told.insert(name.clone(), until);
                    news.push(Budget { name, tokens: 0.0, at, closed_until: Some(until) });
                }
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        ledger.write(|writer| {
            for budget in &news {
                let known = writer.budget(&budget.name)?.and_then(|known| known.closed_until);
                if known < budget.closed_until {
                    tracing::warn!(bucket = budget.name, until = ?budget.closed_until,
                        "Azure throttles: no program of ours sends there before");
                    writer.set_budget(budget)?;
                }
            }
            Ok(())
        })
    }
}

/// Closes the buckets that Azure has closed for another program.
pub fn heed(clients: &Clients, ledger: &Ledger) -> Result<(), LedgerError> {
    let at = now();
    let budgets = ledger.budgets()?;
    for (door, arm, _) in clients.doors() {
        for budget in &budgets {
            let Some(until) = budget.closed_until.filter(|until| at < *until) else { continue };
            let bucket = budget.name.strip_prefix(door).and_then(|rest| rest.strip_prefix('/'));
            if let Some(bucket) = bucket {
                arm.close(&Closure { bucket: bucket.to_owned(), left: until.since(at) });
            }
        }
    }
    Ok(())
}
