//! Leases: the right to change one node's VMs until a time.
//!
//! ```text
//!   free ──lease──► held (holder, generation) ──release──► free
//!                    │   ▲  same holder: until grows, generation stays
//!                    └───┘  another holder, after expiry or by Seize: generation + 1
//! ```
//!
//! A [`Lease`] can only be made here. It is the proof that every change of an attempt asks for;
//! whether it still holds is looked up in the transaction that writes, never remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use azslurm_core::{AttemptId, NodeName, Timestamp};

use crate::reader::{Cells, Query};
use crate::{Event, LedgerError, Reader, Writer};

/// Long enough for program, time and process number, short enough for a log line.
const HOLDER_LENGTH_MAX: usize = 64;
/// So much of it may be the program's name.
const PROGRAM_LENGTH_MAX: usize = 40;

/// Who holds a lease: one run of one program, `<program>-<time in base 36>-<process>`. Clones are
/// cheap: a thousand leases are one run's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(Arc<str>);

/// A text that is no holder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a lease holder: letters, digits, '-', '_' and '.', at most 64, beginning with a \
     letter or digit"
)]
pub struct HolderError(String);

impl Holder {
    /// The holder of a run that started `now` as process `pid`. Characters of `program` that are
    /// not allowed become `-`.
    pub fn new(program: &str, now: Timestamp, pid: u32) -> Holder {
        let allowed = |byte| if is_allowed(byte) { char::from(byte) } else { '-' };
        let program: String = program.bytes().take(PROGRAM_LENGTH_MAX).map(allowed).collect();
        Holder(format!("{program}-{}-{pid}", AttemptId::next(now, None)).into())
    }

    /// As text: the ledger's word, and how a front hands its holder to its driver.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

impl FromStr for Holder {
    type Err = HolderError;

    fn from_str(text: &str) -> Result<Holder, HolderError> {
        // It becomes a file's name: none of a folder.
        let is_good = text.len() <= HOLDER_LENGTH_MAX
            && text.bytes().all(is_allowed)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if is_good {
            Ok(Holder(text.into()))
        } else {
            Err(HolderError(text.chars().take(80).collect()))
        }
    }
}

impl AsRef<str> for Holder {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to change one node's VMs. Only the ledger makes one. Whether it still holds is seen
/// when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    node: NodeName,
    holder: Holder,
    generation: i64,
    until: Timestamp,
}

impl Lease {
    /// The node.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Who was given it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Which lease of the node it is: grows with every change of the holder, from 1.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// Until when it was given; a renewal does not change this value, only the ledger's.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// A lease as a report shows it: not a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The node.
    pub node: NodeName,
    /// Who holds it, or held it until it expired.
    pub holder: Holder,
    /// Which lease of the node it is.
    pub generation: i64,
    /// Until when; it may be past.
    pub until: Timestamp,
}

/// What to do about a living holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Leave the lease with it.
    IfFree,
    /// Take the lease from it (suspend over resume): its later writes change nothing.
    Seize,
}

/// A wish for leases.
#[derive(Debug, Clone, Copy)]
pub struct LeaseAsk<'holder> {
    /// For whom.
    pub holder: &'holder Holder,
    /// What to do about another, living holder.
    pub take: Take,
    /// The time.
    pub now: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// The answer to a wish for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Here it is; to a holder that had it already with the same generation and at least the old
    /// expiry.
    Granted(Lease),
    /// Another holder has it and is alive.
    HeldBy {
        /// Who.
        holder: Holder,
        /// Until when.
        until: Timestamp,
    },
}

impl LeaseAnswer {
    /// The lease, if it was granted.
    pub fn granted(self) -> Option<Lease> {
        match self {
            LeaseAnswer::Granted(lease) => Some(lease),
            LeaseAnswer::HeldBy { .. } => None,
        }
    }
}

impl Reader {
    /// All leases that are held or were held until they expired, by node.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, LedgerError> {
        let query = Query {
            doing: "reading leases",
            table: "leases",
            sql: "SELECT node, holder, generation, until FROM leases
                  WHERE holder IS NOT NULL ORDER BY node",
        };
        let mut before = None;
        self.rows(&query, (), |cells| {
            let Lease { node, holder, generation, until } = read_lease(cells, &mut before)?;
            Ok(LeaseRow { node, holder, generation, until })
        })
    }

    /// The leases of one run, by node: how a driver takes over what its front was given.
    pub fn leases_of_holder(&self, holder: &Holder) -> Result<Vec<Lease>, LedgerError> {
        let query = Query {
            doing: "reading the leases of a holder",
            table: "leases",
            sql: "SELECT node, holder, generation, until FROM leases
                  WHERE holder = ?1 ORDER BY node",
        };
        let mut before = Some(holder.clone());
        self.rows(&query, (holder.as_str(),), |cells| read_lease(cells, &mut before))
    }

    /// Whether a lease allows its holder to write `now`.
    pub fn is_held(&self, lease: &Lease, now: Timestamp) -> Result<bool, LedgerError> {
        let query = Query {
            doing: "checking a lease",
            table: "leases",
            sql: "SELECT node FROM leases
                  WHERE node = ?1 AND holder = ?2 AND generation = ?3 AND until > ?4",
        };
        let params =
            (lease.node.as_str(), lease.holder.as_str(), lease.generation, now.as_millis());
        Ok(self.row(&query, params, |_| Ok(()))?.is_some())
    }

    /// The nodes of those of `leases` that allow their holders to write `now`: one question for
    /// each holder.
    pub(crate) fn which_are_held(
        &self,
        leases: &[Lease],
        now: Timestamp,
    ) -> Result<BTreeSet<NodeName>, LedgerError> {
        let holders: BTreeSet<&Holder> = leases.iter().map(Lease::holder).collect();
        let mut known = BTreeMap::new();
        for holder in holders {
            let of_holder = self.leases_of_holder(holder)?;
            known.extend(of_holder.into_iter().map(|lease| (lease.node.clone(), lease)));
        }
        let is_held = |lease: &&Lease| {
            known.get(lease.node()).is_some_and(|it| {
                (&it.holder, it.generation) == (&lease.holder, lease.generation) && now < it.until
            })
        };
        Ok(leases.iter().filter(is_held).map(|lease| lease.node.clone()).collect())
    }

    /// Holder (`None`: released), generation and expiry of a node's row.
    fn lease_row(
        &self,
        node: &NodeName,
    ) -> Result<Option<(Option<Holder>, i64, Timestamp)>, LedgerError> {
        let query = Query {
            doing: "reading a lease",
            table: "leases",
            sql: "SELECT node, holder, generation, until FROM leases WHERE node = ?1",
        };
        self.row(&query, (node.as_str(),), |cells| {
            cells.text("node")?;
            Ok((
                cells.name_or_null("holder")?,
                cells.generation("generation")?,
                cells.time("until")?,
            ))
        })
    }
}

impl Writer<'_> {
    /// Takes or renews the lease of a node.
    pub fn lease(
        &mut self,
        node: &NodeName,
        ask: &LeaseAsk<'_>,
    ) -> Result<LeaseAnswer, LedgerError> {
        let (generation, until) = match self.lease_row(node)? {
            None => (1, ask.until),
            Some((None, generation, _)) => (generation + 1, ask.until),
            Some((Some(holder), generation, until)) if holder == *ask.holder => {
                (generation, until.max(ask.until))
            }
            Some((Some(holder), generation, until)) => {
                let is_alive = ask.now < until;
                match ask.take {
                    Take::IfFree if is_alive => return Ok(LeaseAnswer::HeldBy { holder, until }),
                    Take::Seize if is_alive => self.tell_seizure(node, ask, &holder)?,
                    Take::IfFree | Take::Seize => {}
                }
                (generation + 1, ask.until)
            }
        };
        let lease = Lease { node: node.clone(), holder: ask.holder.clone(), generation, until };
        self.change(
            "writing a lease",
            "INSERT OR REPLACE INTO leases (node, holder, generation, until)
             VALUES (?1, ?2, ?3, ?4)",
            (node.as_str(), ask.holder.as_str(), generation, until.as_millis()),
        )?;
        Ok(LeaseAnswer::Granted(lease))
    }

    /// [`Writer::lease`] for many nodes; answers in the order of `nodes`.
    pub fn leases_take(
        &mut self,
        nodes: &[NodeName],
        ask: &LeaseAsk<'_>,
    ) -> Result<Vec<LeaseAnswer>, LedgerError> {
        nodes.iter().map(|node| self.lease(node, ask)).collect()
    }

    /// Lets a lease last at least until a time, also when it has expired and nobody took it.
    /// `false`: it is lost, another has it or had it.
    pub fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<bool, LedgerError> {
        let changed = self.change(
            "renewing a lease",
            "UPDATE leases SET until = max(until, ?4)
             WHERE node = ?1 AND holder = ?2 AND generation = ?3",
            (lease.node.as_str(), lease.holder.as_str(), lease.generation, until.as_millis()),
        )?;
        Ok(changed > 0)
    }

    /// [`Writer::renew`] for all that a run holds.
    pub fn renew_holder(&mut self, holder: &Holder, until: Timestamp) -> Result<(), LedgerError> {
        self.change(
            "renewing the leases of a holder",
            "UPDATE leases SET until = max(until, ?2) WHERE holder = ?1",
            (holder.as_str(), until.as_millis()),
        )?;
        Ok(())
    }

    /// Gives a lease back. Nothing happens if it is not ours any more.
    pub fn release(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        self.change(
            "releasing a lease",
            "UPDATE leases SET holder = NULL WHERE node = ?1 AND holder = ?2 AND generation = ?3",
            (lease.node.as_str(), lease.holder.as_str(), lease.generation),
        )?;
        Ok(())
    }

    /// Gives back all that a run still holds, at its end. How many.
    pub fn release_holder(&mut self, holder: &Holder) -> Result<usize, LedgerError> {
        self.change(
            "releasing the leases of a holder",
            "UPDATE leases SET holder = NULL WHERE holder = ?1",
            (holder.as_str(),),
        )
    }

    fn tell_seizure(
        &mut self,
        node: &NodeName,
        ask: &LeaseAsk<'_>,
        from: &Holder,
    ) -> Result<(), LedgerError> {
        let text = format!("{} takes the lease from {from}", ask.holder);
        let mut event = Event::new(ask.now, "lease-seized", text);
        event.node = Some(node.clone());
        self.event(&event)
    }
}

/// A row that has a holder, most likely the one `before`. Only for rows of the ledger, which is
/// what makes a [`Lease`] a proof.
pub(crate) fn read_lease(
    cells: &mut Cells<'_>,
    before: &mut Option<Holder>,
) -> Result<Lease, LedgerError> {
    Ok(Lease {
        node: cells.name("node")?,
        holder: cells.shared("holder", before, |text| text.parse().ok())?,
        generation: cells.generation("generation")?,
        until: cells.time("until")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ask, at, holder, leased, node, write};
    use crate::{EventFilter, Ledger};

    fn take(ledger: &mut Ledger, ask: &LeaseAsk<'_>) -> LeaseAnswer {
        write(ledger, |writer| writer.lease(&node("n1"), ask))
    }

    #[test]
    fn a_living_holder_keeps_its_lease_from_those_who_ask_politely() {
        let (mut ledger, lease) = leased();
        let other = holder("other");
        let answer = take(&mut ledger, &ask(&other, Take::IfFree, 999, 5000));
        let held = LeaseAnswer::HeldBy { holder: holder("front"), until: at(1000) };
        assert_eq!(answer, held);
        assert!(ledger.is_held(&lease, at(999)).unwrap());
        let answer = take(&mut ledger, &ask(&other, Take::IfFree, 1000, 5000));
        let granted = answer.granted().unwrap();
        assert_eq!((granted.generation(), granted.until()), (2, at(5000)));
        assert!(!ledger.is_held(&lease, at(999)).unwrap());
    }

    #[test]
    fn a_lease_ends_at_its_time() {
        let (ledger, lease) = leased();
        assert!(ledger.is_held(&lease, at(999)).unwrap());
        assert!(!ledger.is_held(&lease, at(1000)).unwrap());
    }

    #[test]
    fn seizing_takes_the_lease_from_a_living_holder_and_is_told() {
        let (mut ledger, lease) = leased();
        let suspend = holder("suspend");
        let seized = take(&mut ledger, &ask(&suspend, Take::Seize, 10, 500)).granted().unwrap();
        assert_eq!((seized.generation(), seized.until()), (2, at(500)));
        assert!(!ledger.is_held(&lease, at(11)).unwrap());
        assert!(!write(&mut ledger, |writer| writer.renew(&lease, at(9000))));
        write(&mut ledger, |writer| writer.release(&lease));
        assert!(ledger.is_held(&seized, at(11)).unwrap());
        let events = ledger.events(&EventFilter::default()).unwrap();
        let words: Vec<_> = events.iter().map(|event| (&*event.kind, &*event.text)).collect();
        assert_eq!(words, [("lease-seized", "suspend takes the lease from front")]);
    }

    #[test]
    fn asking_again_renews_and_never_shortens() {
        let (mut ledger, lease) = leased();
        let front = holder("front");
        for (now, until, expected) in [(1, 400, 1000), (2, 2000, 2000), (3000, 4000, 4000)] {
            let answer = take(&mut ledger, &ask(&front, Take::IfFree, now, until));
            let again = answer.granted().unwrap();
            assert_eq!((again.generation(), again.until()), (1, at(expected)));
        }
        assert!(write(&mut ledger, |writer| writer.renew(&lease, at(3500))));
        assert!(ledger.is_held(&lease, at(3999)).unwrap());
        assert!(write(&mut ledger, |writer| writer.renew(&lease, at(9000))));
        assert!(ledger.is_held(&lease, at(8999)).unwrap());
    }

    #[test]
    fn a_holder_renews_what_it_holds_and_nothing_else() {
        let (mut ledger, lease) = leased();
        let (front, other) = (holder("front"), holder("other"));
        let ask = ask(&other, Take::IfFree, 0, 500);
        let others =
            write(&mut ledger, |writer| writer.lease(&node("n2"), &ask)).granted().unwrap();
        write(&mut ledger, |writer| writer.renew_holder(&front, at(9000)));
        write(&mut ledger, |writer| writer.renew_holder(&front, at(10)));
        assert!(ledger.is_held(&lease, at(8999)).unwrap(), "it is never shortened");
        assert!(!ledger.is_held(&others, at(500)).unwrap());
    }

    #[test]
    fn a_generation_that_could_not_grow_is_damage_and_no_panic() {
        let (mut ledger, _) = leased();
        for generation in [i64::MAX, -1] {
            ledger.connection.execute("UPDATE leases SET generation = ?1", (generation,)).unwrap();
            let other = holder("other");
            let asked: Result<LeaseAnswer, LedgerError> =
                ledger.write(|writer| writer.lease(&node("n1"), &ask(&other, Take::Seize, 0, 10)));
            let error = asked.unwrap_err().to_string();
            assert!(error.contains("has generation"), "{error}");
        }
    }

    #[test]
    fn the_generation_grows_also_over_a_release() {
        let (mut ledger, lease) = leased();
        write(&mut ledger, |writer| writer.release(&lease));
        assert_eq!(ledger.leases().unwrap(), []);
        assert!(!ledger.is_held(&lease, at(1)).unwrap());
        let front = holder("front");
        let again = take(&mut ledger, &ask(&front, Take::IfFree, 1, 100)).granted().unwrap();
        assert_eq!(again.generation(), 2);
        // A lease that was released is not held again when its holder takes a new one.
        assert!(!ledger.is_held(&lease, at(2)).unwrap());
        assert!(ledger.is_held(&again, at(2)).unwrap());
    }

    #[test]
    fn a_driver_finds_and_gives_back_what_its_front_took() {
        let (mut ledger, lease) = leased();
        let front = holder("front");
        let nodes = [node("n3"), node("n1"), node("n2")];
        let answers = write(&mut ledger, |writer| {
            writer.leases_take(&nodes, &ask(&front, Take::IfFree, 5, 1000))
        });
        let taken: Vec<_> = answers.into_iter().map(|answer| answer.granted().unwrap()).collect();
        assert_eq!(
            taken.iter().map(Lease::node).collect::<Vec<_>>(),
            nodes.iter().collect::<Vec<_>>()
        );
        let found = ledger.leases_of_holder(&front).unwrap();
        assert_eq!(found, [lease, taken[2].clone(), taken[0].clone()]);
        assert_eq!(write(&mut ledger, |writer| writer.release_holder(&front)), 3);
        assert_eq!(ledger.leases_of_holder(&front).unwrap(), []);
        assert_eq!(ledger.leases().unwrap(), []);
    }

    #[test]
    fn a_holder_is_a_word_that_can_be_handed_over() {
        let named = Holder::new("azslurm resume/1", at(0), 4711);
        assert_eq!(
            named.as_str(),
            format!("azslurm-resume-1-{}-4711", AttemptId::next(at(0), None))
        );
        assert_eq!(named.as_str().parse::<Holder>().unwrap(), named);
        let longest = Holder::new(&"x".repeat(200), at(0), u32::MAX);
        assert!(longest.as_str().parse::<Holder>().is_ok());
        for bad in ["", ".", "..", "-a", "a/b", "a b", "a\n", "é", "a'b", &"x".repeat(65)] {
            assert!(bad.parse::<Holder>().is_err(), "{bad:?}");
        }
    }
}
