//! Throttles: the one place where the gates of this process meet the budgets that all processes of
//! the machine share through the ledger.
//!
//! ```text
//! gate: a call lacks a token ──bell──► reserve in one transaction ──► grant ──► gate: it passes
//! gate: Azure answered 429 ──────────► its bucket is closed in the ledger ──► every process's gate
//! ```
//!
//! Nothing is written while nothing is hungry and nothing is to be told, and what is to be written
//! goes along with the findings of the run where there are any: a transaction is an fsync. The
//! arithmetic is [`azslurm_core::budget`]; nothing here decides how much anybody gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use azslurm_azure::{Arm, Bucket, Closure, Hunger};
use azslurm_core::Timestamp;
use azslurm_core::budget::{self, Ask, Seen, WAITS_FOR, Waiter};
use azslurm_ledger::{Budget, Holder, Ledger, LedgerError, Writer};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clients::Clients;
use crate::now;

/// Differences below this come from reading two clocks one after the other.
const SAME: Duration = Duration::from_millis(500);
/// Between two reservations: answers with what is left come meanwhile, and calls gather.
const RESERVE_EVERY: Duration = Duration::from_millis(200);
/// After a reservation that found too little: ten tokens come back in this time at the slowest
/// refill (FACTS §3.1), and a call that is alone gets its token within about a second.
const DRY_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether Azure has closed a bucket for another process.
const HEED_EVERY: Duration = Duration::from_secs(1);

/// What a run reserves, tells and heeds. While it lives, calls through its clients need tokens.
#[derive(Debug)]
pub struct Throttles {
    clients: Clients,
    /// Who reserves; `None`: nothing is metered.
    holder: Option<String>,
    bell: Arc<Notify>,
    /// Closures that the ledger knows, from us or from others.
    told: BTreeMap<String, Timestamp>,
    is_hungry: bool,
    reserve_at: Instant,
    heeded_at: Option<Instant>,
    /// Budgets for which the ledger has us as waiting.
    waits: BTreeSet<String>,
    /// Transactions for nothing but budgets.
    transactions: u64,
}

/// What a transaction brought for one bucket.
#[derive(Debug)]
pub struct Grant {
    arm: Arm,
    bucket: Bucket,
    tokens: u64,
    closed: Option<Duration>,
}

impl Throttles {
    /// Meters `clients` for `holder`; without one only closures are told and heeded.
    pub fn begin(clients: &Clients, holder: Option<&Holder>) -> Throttles {
        let bell = Arc::new(Notify::new());
        if holder.is_some() {
            clients.doors().for_each(|(_, arm, _)| arm.meter(&bell));
        }
        Throttles {
            clients: clients.clone(),
            holder: holder.map(|holder| holder.as_str().to_owned()),
            bell,
            told: BTreeMap::new(),
            is_hungry: false,
            reserve_at: Instant::now(),
            heeded_at: None,
            waits: BTreeSet::new(),
            transactions: 0,
        }
    }

    /// Rings when a call lacks a token.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// When to look again because of calls that lack tokens.
    pub fn look_at(&self) -> Option<Instant> {
        self.is_hungry.then_some(self.reserve_at)
    }

    /// Heeds what other processes were told, and reserves and tells in a transaction of its own if
    /// there is a reason. `soon`: calls that are sure to read soon.
    pub fn look(&mut self, ledger: &mut Ledger, soon: u64) -> Result<(), LedgerError> {
        self.heed(ledger)?;
        self.is_hungry = self.clients.doors().any(|(_, arm, _)| !arm.hungry().is_empty());
        let is_due = self.is_hungry && self.reserve_at <= Instant::now();
        if !is_due && self.news(now()).is_empty() {
            return Ok(());
        }
        let grants = ledger.write(|writer| self.exchange(writer, soon))?;
        self.transactions += 1;
        tracing::debug!(alone = self.transactions, "budgets written without findings");
        hand_out(grants);
        Ok(())
    }

    /// Closes the buckets that Azure has closed for another process, every now and then.
    pub fn heed(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        if self.heeded_at.is_some_and(|at| at.elapsed() < HEED_EVERY) {
            return Ok(());
        }
        self.heeded_at = Some(Instant::now());
        self.told.extend(heed(&self.clients, ledger)?);
        Ok(())
    }

    /// Tells what is new and reserves what is lacking, inside of a transaction. The grants are to
    /// be handed out when it is committed.
    pub fn exchange(
        &mut self,
        writer: &mut Writer<'_>,
        soon: u64,
    ) -> Result<Vec<Grant>, LedgerError> {
        let at = now();
        self.tell_news(writer, at)?;
        let Some(holder) = self.holder.clone() else { return Ok(Vec::new()) };
        if Instant::now() < self.reserve_at {
            return Ok(Vec::new());
        }
        let mut grants = Vec::new();
        let mut is_dry = false;
        for (door, arm, _) in self.clients.doors() {
            for hunger in arm.hungry() {
                let name = name_of(door, &hunger.bucket);
                let soon = if hunger.bucket.is_reads() { soon } else { 0 };
                let ask = Ask { waiting: hunger.waiting, soon: soon.saturating_sub(hunger.held) };
                let (tokens, closed) = reserve(writer, (&name, &holder), (&hunger, ask), at)?;
                self.told.extend(closed.map(|left| (name.clone(), at.plus(left))));
                if tokens < hunger.waiting {
                    self.waits.insert(name);
                } else {
                    self.waits.remove(&name);
                }
                is_dry |= tokens < hunger.waiting.min(budget::BATCH_MAX);
                grants.push(Grant { arm: arm.clone(), bucket: hunger.bucket, tokens, closed });
            }
        }
        if !grants.is_empty() {
            self.is_hungry = is_dry;
            self.reserve_at = Instant::now() + if is_dry { DRY_PAUSE } else { RESERVE_EVERY };
        }
        Ok(grants)
    }

    /// Tells what is new, gives back what was not used, and waits for nothing any more.
    pub fn end(&mut self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        let at = now();
        let mut unused = Vec::new();
        for (door, arm, _) in self.clients.doors() {
            let taken = arm.unused();
            unused.extend(taken.into_iter().map(|(bucket, left)| (name_of(door, &bucket), left)));
        }
        if self.waits.is_empty() && unused.is_empty() && self.news(at).is_empty() {
            return Ok(());
        }
        ledger.write(|writer| {
            self.tell_news(writer, at)?;
            for (name, tokens) in &unused {
                if let Some(mut known) = writer.budget(name)? {
                    known.bucket = budget::give_back(&known.bucket, *tokens, at);
                    writer.set_budget(&known)?;
                }
            }
            match &self.holder {
                Some(holder) => writer.end_waits(holder, at.minus(WAITS_FOR)),
                None => Ok(()),
            }
        })?;
        self.waits.clear();
        self.transactions += 1;
        tracing::debug!(alone = self.transactions, ?unused, "budgets given back");
        Ok(())
    }

    fn tell_news(&mut self, writer: &mut Writer<'_>, at: Timestamp) -> Result<(), LedgerError> {
        for (name, bucket, until) in self.news(at) {
            tell(writer, (&name, &bucket), until, at)?;
            self.told.insert(name, until);
        }
        Ok(())
    }

    /// Closures that the ledger does not know, with their ends.
    fn news(&self, at: Timestamp) -> Vec<(String, Bucket, Timestamp)> {
        let mut news = Vec::new();
        for (door, arm, _) in self.clients.doors() {
            for Closure { bucket, left } in arm.closures() {
                let (name, until) = (name_of(door, &bucket), at.plus(left));
                let is_new = self.told.get(&name).is_none_or(|told| SAME < until.since(*told));
                if is_new {
                    news.push((name, bucket, until));
                }
            }
        }
        news
    }
}

impl Drop for Throttles {
    fn drop(&mut self) {
        self.clients.doors().for_each(|(_, arm, _)| arm.unmeter(&self.bell));
    }
}

/// Gives the gates what a committed transaction has brought.
pub fn hand_out(grants: Vec<Grant>) {
    for Grant { arm, bucket, tokens, closed } in grants {
        if let Some(left) = closed {
            arm.close(&Closure { bucket, left });
        } else {
            arm.grant(&bucket, tokens);
        }
    }
}

/// Closes the buckets that Azure has closed for another program; their names and ends.
pub fn heed(
    clients: &Clients,
    ledger: &Ledger,
) -> Result<BTreeMap<String, Timestamp>, LedgerError> {
    let at = now();
    let budgets = ledger.budgets()?;
    let mut heeded = BTreeMap::new();
    for (door, arm, _) in clients.doors() {
        for Budget { name, bucket: known } in &budgets {
            let Some(until) = known.closed_until.filter(|until| at < *until) else { continue };
            if let Some(bucket) = bucket_of(door, name) {
                arm.close(&Closure { bucket, left: until.since(at) });
                heeded.insert(name.clone(), until);
            }
        }
    }
    Ok(heeded)
}

fn tell(
    writer: &mut Writer<'_>,
    (name, bucket): (&str, &Bucket),
    until: Timestamp,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let known = known(writer, (name, bucket), at)?;
    if known.closed_until.is_some_and(|known| until.since(known) <= SAME) {
        return Ok(());
    }
    tracing::warn!(bucket = name, %until, "Azure throttles: no program of ours sends there before");
    let closed = budget::close(&known, until, at);
    writer.set_budget(&Budget { name: name.to_owned(), bucket: closed })
}

/// How many tokens one bucket gives, and for how long it is closed.
fn reserve(
    writer: &mut Writer<'_>,
    (name, holder): (&str, &str),
    (hunger, ask): (&Hunger, Ask),
    at: Timestamp,
) -> Result<(u64, Option<Duration>), LedgerError> {
    let mut bucket = known(writer, (name, &hunger.bucket), at)?;
    if let Some((left, age)) = hunger.left {
        let seen = Seen { left: left as f64, held: hunger.held as f64, at: at.minus(age) };
        bucket = budget::correct(&bucket, seen, at);
    }
    let waiters = writer.budget_waiters(name)?;
    let (tokens, after) = budget::reserve(&bucket, ask, (holder, &waiters), at);
    writer.set_budget(&Budget { name: name.to_owned(), bucket: after })?;
    if ask.waiting <= tokens {
        writer.has_budget(name, holder)?;
    } else {
        let before = waiters.into_iter().find(|waiter| waiter.holder == holder);
        let served = (tokens > 0).then_some(at);
        let waiter = Waiter {
            holder: holder.to_owned(),
            since: before.as_ref().map_or(at, |before| before.since),
            asked_at: at,
            served_at: served.or(before.and_then(|before| before.served_at)),
        };
        writer.wait_for_budget(name, &waiter)?;
    }
    let closed = after.closed_until.filter(|until| at < *until).map(|until| until.since(at));
    tracing::debug!(bucket = name, wanted = ask.waiting, tokens, left = after.tokens, "reserved");
    Ok((tokens, closed))
}

/// What the ledger believes of a bucket; of one that it does not know, what Azure documents.
fn known(
    writer: &Writer<'_>,
    (name, bucket): (&str, &Bucket),
    at: Timestamp,
) -> Result<budget::Bucket, LedgerError> {
    let known = writer.budget(name)?.map(|known| known.bucket);
    Ok(known.unwrap_or_else(|| budget::Bucket::full(bucket.size(), at)))
}

/// A bucket's name in the ledger. A door is a principal; a provider's buckets are the same behind
/// every door.
fn name_of(door: &str, bucket: &Bucket) -> String {
    if bucket.is_of_principal() {
        format!("{}{bucket}", prefix_of(door))
    } else {
        bucket.to_string()
    }
}

fn bucket_of(door: &str, name: &str) -> Option<Bucket> {
    let own = name.strip_prefix(&prefix_of(door)).and_then(Bucket::from_name);
    own.or_else(|| Bucket::from_name(name)).filter(|bucket| name_of(door, bucket) == name)
}

fn prefix_of(door: &str) -> String {
    format!("principal:{door}/")
}

#[cfg(test)]
mod tests {
    use azslurm_azure::{Door, Provider};

    use super::*;

    #[test]
    fn a_bucket_of_a_principal_is_known_behind_its_door_alone() {
        let writes = Bucket::Door { door: Door::Writes, subscription: "s".into() };
        let name = name_of("west", &writes);
        assert_eq!(name, "principal:west/writes/s");
        assert_eq!(bucket_of("west", &name), Some(writes));
        assert_eq!(bucket_of("wes", &name), None);
        assert_eq!(bucket_of("west", "writes/s"), None);
        let (subscription, region) = ("s".to_owned(), "westeurope".to_owned());
        let put = Bucket::Provider { provider: Provider::PutVm, subscription, region };
        let name = name_of("west", &put);
        assert_eq!(name, "PutVM/s/westeurope");
        assert_eq!(bucket_of("north", &name), Some(put));
        assert_eq!(bucket_of("west", "principal:west/PutVM/s/westeurope"), None);
    }
}
