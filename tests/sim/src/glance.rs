//! What the ledger says now beside what it said before: laws about how it changes.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use crate::lists::Lists;

/// A driver renews its leases of five minutes every minute: so much is left at least, in
/// milliseconds, also when slurmctld keeps it waiting.
const LEFT_MIN: i64 = 120_000;
/// Numbers that are compared with nothing.
const NOTHING: f64 = -0.001;

/// A lease as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Whose; `None`: it was released.
    pub holder: Option<String>,
    /// Which of the node.
    pub generation: i64,
    /// Until when.
    pub until: i64,
}

/// An attempt as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its node.
    pub node: String,
    /// Its state.
    pub state: String,
    /// Why it ends.
    pub why: Option<String>,
    /// The generation of the lease under which it was changed last.
    pub generation: i64,
    /// Whether Azure has ever taken its PUT.
    pub was_accepted: bool,
}

impl AttemptRow {
    /// Whether its VM is to be there.
    pub fn is_wanted(&self) -> bool {
        matches!(self.state.as_str(), "intended" | "accepted" | "running")
    }

    /// Whether nothing more is done about its VM.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "refused" | "gone")
    }
}

/// Who else is looked at.
pub struct Around<'a> {
    /// The wall clock, in milliseconds.
    pub wall: i64,
    /// True time.
    pub now: i64,
    /// Whether a driver lives, by its holder; `None`: it is no driver's.
    pub drives: &'a dyn Fn(&str) -> bool,
    /// Names of VMs that Azure has, lower case.
    pub alive: &'a dyn Fn() -> BTreeSet<String>,
    /// VMs whose PUT has arrived once more after they were deleted.
    pub revived: &'a BTreeSet<String>,
    /// What Azure has shown to processes.
    pub lists: &'a Lists,
}

/// What the ledger said when it was looked at last.
#[derive(Debug, Default)]
pub struct Glance {
    version: Option<i64>,
    /// Wall clock minus true time.
    offset: Option<i64>,
    /// Somebody has set the wall clock.
    pub was_set: bool,
    /// What the wall clock said when it was looked last.
    wall: i64,
    /// The number of the last event.
    event: i64,
    /// Leases, by node.
    pub leases: BTreeMap<String, LeaseRow>,
    /// Attempts, by VM, lower case.
    pub attempts: BTreeMap<String, AttemptRow>,
}

impl Glance {
    /// Looks, and says which laws are broken by what has changed.
    pub fn look(
        &mut self,
        connection: &Connection,
        around: &Around<'_>,
    ) -> rusqlite::Result<Vec<String>> {
        let offset = around.wall - around.now;
        let has_stepped = self.offset.replace(offset).is_some_and(|old| old != offset);
        self.was_set |= has_stepped;
        let mut broken: Vec<String> = self.unrenewed(around).into_iter().collect();
        let version =
            connection.prepare_cached("PRAGMA data_version")?.query_row((), |row| row.get(0))?;
        let wall = std::mem::replace(&mut self.wall, around.wall);
        if self.version.replace(version) == Some(version) {
            return Ok(broken);
        }
        broken.extend(overdrawn(connection)?);
        let leases = leases(connection)?;
        let attempts = attempts(connection)?;
        let (seized, adopted) = self.news(connection)?;
        for vm in adopted {
            let why = attempts.get(&vm).and_then(|row| row.why.as_deref());
            // A suspend deletes whatever is listed of its nodes.
            let is_by_pass = matches!(why, None | Some("orphaned"));
            if is_by_pass {
                broken.extend(around.lists.adopted(&vm, why.is_some()));
            }
        }
        for (node, old) in &self.leases {
            if let Some(new) = leases.get(node) {
                let taken = taken(node, (old, new), seized.contains(node), around);
                broken.extend(taken.filter(|_| !has_stepped));
                broken.extend(of_generation(node, (old, new)));
            }
        }
        for (vm, new) in &attempts {
            let old = self.attempts.get(vm);
            if let Some(old) = old.filter(|old| new.generation < old.generation) {
                broken.push(format!(
                    "{vm} is {} by generation {} after {} by {}: who writes has lost the lease",
                    new.state, new.generation, old.state, old.generation
                ));
            }
            let wall = if has_stepped { 0 } else { wall };
            broken.extend(self.late(vm, (new, leases.get(&new.node)), wall));
            let ends = new.is_over() && old.is_none_or(|old| !old.is_over());
            if ends && !around.revived.contains(vm) && (around.alive)().contains(vm) {
                broken.push(format!("the ledger calls {vm} {}, and Azure has it", new.state));
            }
        }
        broken.extend(twice(&attempts));
        (self.leases, self.attempts) = (leases, attempts);
        Ok(broken)
    }

    /// A living driver of a resume that has not renewed a lease for long. One of a suspend renews
    /// nothing while it searches Azure for VMs that its ledger does not know, and sends nothing.
    fn unrenewed(&self, around: &Around<'_>) -> Option<String> {
        if self.was_set {
            return None;
        }
        let is_old = |row: &LeaseRow| row.until - around.wall < LEFT_MIN;
        let (node, row) = self.leases.iter().find(|(_, row)| {
            let holder = row.holder.as_deref().filter(|of| of.starts_with("azslurm-resume-"));
            is_old(row) && holder.is_some_and(around.drives)
        })?;
        let left = (row.until - around.wall) / 1000;
        Some(format!("{:?} lives, and its lease of {node} has {left} s left", row.holder))
    }

    /// A row that was written by a lease which somebody had taken over before, or that was over
    /// before and is as it was.
    fn late(
        &self,
        vm: &str,
        (new, now): (&AttemptRow, Option<&LeaseRow>),
        wall: i64,
    ) -> Option<String> {
        let lease = self.leases.get(&new.node)?;
        if self.attempts.get(vm) == Some(new) {
            return None;
        }
        let is_over = lease.holder.is_some() && lease.until <= wall;
        if is_over && new.generation == lease.generation && now == Some(lease) {
            let until = lease.until;
            return Some(format!("{vm} is {} by a lease that was over at {until}", new.state));
        }
        (new.generation < lease.generation).then(|| {
            format!(
                "{vm} is {} by generation {} after the lease of {} has generation {}: who writes \
                 has lost it",
                new.state, new.generation, new.node, lease.generation
            )
        })
    }

    /// Nodes whose leases were taken from living holders, with a word about it, and VMs that were
    /// adopted, since it was looked last.
    fn news(
        &mut self,
        connection: &Connection,
    ) -> rusqlite::Result<(BTreeSet<String>, Vec<String>)> {
        let sql = "SELECT id, node, kind, lower(vm) FROM events WHERE id > ?1
                   AND (kind = 'lease-seized' OR text LIKE 'adopted: %') ORDER BY id";
        let mut statement = connection.prepare_cached(sql)?;
        let (mut seized, mut adopted) = (BTreeSet::new(), Vec::new());
        let mut rows = statement.query([self.event])?;
        while let Some(row) = rows.next()? {
            self.event = row.get(0)?;
            let kind: String = row.get(2)?;
            if kind == "lease-seized" {
                seized.insert(row.get(1)?);
            } else {
                adopted.push(row.get(3)?);
            }
        }
        Ok((seized, adopted))
    }
}

/// What is wrong with a lease that has changed hands while a driver worked under it.
fn taken(
    node: &str,
    (old, new): (&LeaseRow, &LeaseRow),
    is_told: bool,
    around: &Around<'_>,
) -> Option<String> {
    let (from, to) = (old.holder.as_ref()?, new.holder.as_ref()?);
    let was_alive = from != to && around.wall < old.until && (around.drives)(from);
    let is_by_pass = to.starts_with("azslurm-sync");
    (was_alive && (is_by_pass || !is_told))
        .then(|| format!("{to} takes the lease of {node} from {from}, which is alive"))
}

fn of_generation(node: &str, (old, new): (&LeaseRow, &LeaseRow)) -> Option<String> {
    let has_other = new.holder.is_some() && old.holder.is_some() && old.holder != new.holder;
    let is_wrong = new.generation < old.generation || has_other && new.generation == old.generation;
    is_wrong.then(|| format!("the lease of {node} was {old:?} and is {new:?}"))
}

fn overdrawn(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT name, tokens FROM budgets WHERE tokens < ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([NOTHING])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (name, tokens): (String, f64) = (row.get(0)?, row.get(1)?);
    Ok(Some(format!("the budget {name} is overdrawn: {tokens} tokens")))
}

fn twice(attempts: &BTreeMap<String, AttemptRow>) -> Option<String> {
    let mut nodes = BTreeMap::new();
    let wanted = attempts.iter().filter(|(_, row)| row.is_wanted());
    wanted
        .filter_map(|(vm, row)| Some((vm, nodes.insert(&row.node, vm)?, &row.node)))
        .next()
        .map(|(vm, other, node)| format!("the ledger wants {other} and {vm} for {node} at once"))
}

fn leases(connection: &Connection) -> rusqlite::Result<BTreeMap<String, LeaseRow>> {
    let sql = "SELECT node, holder, generation, until FROM leases";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let lease = LeaseRow { holder: row.get(1)?, generation: row.get(2)?, until: row.get(3)? };
        Ok((row.get(0)?, lease))
    })?;
    rows.collect()
}

fn attempts(connection: &Connection) -> rusqlite::Result<BTreeMap<String, AttemptRow>> {
    let sql = "SELECT lower(vm), node, state, why, generation, accepted_at FROM attempts";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let (node, state) = (row.get(1)?, row.get(2)?);
        let (why, generation, accepted): (_, _, Option<i64>) =
            (row.get(3)?, row.get(4)?, row.get(5)?);
        let was_accepted = accepted.is_some();
        Ok((row.get(0)?, AttemptRow { node, state, why, generation, was_accepted }))
    })?;
    rows.collect()
}
