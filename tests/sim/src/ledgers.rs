//! Where connections to the ledger come from, and what a new ledger is like. SQLite parses the
//! schema and each statement once for each connection, which costs more than all that a program
//! does with them: the connection of a process that is gone is handed to the next.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use azslurm_arm_emulator::catalog;
use azslurm_core::Timestamp;
use azslurm_core::config::{Region, Sku};
use azslurm_core::facts::{Ground, SkuFacts};
use azslurm_ledger::{Ledger, LedgerError};
use azslurm_program::Session;
use azslurm_program::facts::keep_skus;

use crate::place::{NODESETS, REGIONS, SUBSCRIPTION};
use crate::world::BEGAN_MS;

/// An empty ledger's file.
static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();

/// The sizes have been asked for, as on every cluster that has had a job: the list is long.
fn knows_sizes(mut ledger: Ledger) -> Result<(), LedgerError> {
    let known: BTreeMap<Sku, SkuFacts> = catalog::skus()
        .iter()
        .filter_map(|of| {
            let (family, is_rdma, is_offered) = (of.family.to_owned(), of.rdma, !of.is_retired);
            let facts = SkuFacts { family, vcpus: of.vcpus, is_rdma, is_offered };
            Some((Sku::new(of.name)?, facts))
        })
        .collect();
    let wanted: Vec<Sku> = NODESETS.iter().filter_map(|of| Sku::new(of.sku)).collect();
    let wanted: Vec<&Sku> = wanted.iter().collect();
    let at = Timestamp::from_millis(BEGAN_MS);
    ledger.write(|writer| {
        for region in REGIONS.iter().filter_map(|name| Region::new(name)) {
            let ground = Ground::new(SUBSCRIPTION, &region);
            keep_skus(writer, &ground, (Some(&known), &wanted, at))?;
        }
        Ok(())
    })
}

/// The connections to one ledger that nobody uses at the moment.
#[derive(Debug)]
pub struct Ledgers {
    path: PathBuf,
    idle: RefCell<Vec<Ledger>>,
    /// How often the file was taken away. A connection to an older file is of no use.
    lost: Cell<u32>,
}

impl Ledgers {
    /// None yet.
    pub fn new(path: &Path) -> Ledgers {
        Ledgers { path: path.to_owned(), idle: RefCell::default(), lost: Cell::new(0) }
    }

    /// An empty ledger is there, as if somebody had looked at the cluster before it is used.
    pub fn lay(&self) {
        let empty = EMPTY.get_or_init(|| {
            let ledger = Ledger::open(&self.path).expect("the folder is new and can be written to");
            knows_sizes(ledger).expect("nobody else writes it");
            let bytes = std::fs::read(&self.path).expect("it has just been closed");
            std::fs::remove_file(&self.path).expect("nobody has it open");
            bytes
        });
        std::fs::write(&self.path, empty).expect("the folder can be written to");
    }

    fn take(&self) -> Result<Ledger, LedgerError> {
        let idle = self.idle.borrow_mut().pop();
        idle.map_or_else(|| Ledger::open(&self.path), Ok)
    }

    /// The file is taken away, or another is put in its place.
    pub fn lose(&self) {
        self.lost.set(self.lost.get() + 1);
        self.idle.borrow_mut().clear();
    }
}

/// A session whose connection comes back.
#[derive(Debug)]
pub struct Lent {
    session: Option<Session>,
    ledgers: Rc<Ledgers>,
    lost: u32,
}

impl Lent {
    /// A session with a connection to the ledger.
    pub fn new(
        ledgers: &Rc<Ledgers>,
        with: impl FnOnce(Ledger) -> Session,
    ) -> Result<Lent, LedgerError> {
        let session = with(ledgers.take()?);
        let lost = ledgers.lost.get();
        Ok(Lent { session: Some(session), ledgers: Rc::clone(ledgers), lost })
    }
}

impl Deref for Lent {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is taken when it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is taken when it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let session = self.session.take();
        if let Some(session) = session.filter(|_| self.lost == self.ledgers.lost.get()) {
            self.ledgers.idle.borrow_mut().push(session.ledger);
        }
    }
}
