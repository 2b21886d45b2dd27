//! Where connections to the ledger come from, and what a new ledger is like. SQLite parses the
//! schema and each statement once for each connection, which costs more than all that a program
//! does with them: the connection of a process that is gone is handed to the next.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use azslurm_arm_emulator::catalog;
use azslurm_core::Timestamp;
use azslurm_core::config::{Region, Sku};
use azslurm_core::facts::{Ground, SkuFacts};
use azslurm_ledger::{Ledger, LedgerError};
use azslurm_program::Session;
use azslurm_program::facts::keep_skus;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::place::{NODESETS, Place, REGIONS, SUBSCRIPTION};
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

/// A folder in which one schedule after the other has its ledger. A ledger that was not lost is
/// emptied for the next, so that its connections stay of use.
#[derive(Debug)]
pub struct Yard {
    folder: TempDir,
    /// The same for all of its schedules.
    place: Arc<Place>,
    idle: Vec<Ledger>,
    /// Empties the ledger; it knows the facts that are to stay. `None`: there is no ledger to keep.
    broom: Option<Connection>,
}

impl Yard {
    /// Within a folder.
    pub fn new(within: &Path) -> Yard {
        let folder = tempfile::Builder::new().prefix("azslurm-sim-").tempdir_in(within);
        let folder = folder.expect("the folder can be written to");
        let place = Arc::new(Place::new(folder.path()));
        Yard { folder, place, idle: Vec::new(), broom: None }
    }

    /// Where the files of its clusters are.
    pub fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// The connections of a schedule that begins: to an empty ledger, as if somebody had looked at
    /// the cluster before it is used, or to none, which is made by whoever is first.
    pub fn begin(&mut self, ledger: &Path, is_new: bool) -> Ledgers {
        let (idle, broom) = (std::mem::take(&mut self.idle), self.broom.take());
        let swept = broom.filter(|broom| !is_new && sweep(broom).is_ok());
        let is_kept = |path: &Path| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            swept.is_some() && name.starts_with(b"ledger.db")
        };
        let all = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        for old in all.flatten().map(|entry| entry.path()).filter(|path| !is_kept(path)) {
            let _gone = match old.is_dir() {
                true => std::fs::remove_dir_all(old),
                false => std::fs::remove_file(old),
            };
        }
        let idle = if swept.is_some() { idle } else { Vec::new() };
        self.broom = swept.or_else(|| (!is_new).then(|| lay(ledger)));
        let (idle, lost) = (RefCell::new(idle), Cell::new(0));
        Ledgers { path: ledger.to_owned(), idle, lost }
    }

    /// The schedule is over.
    pub fn end(&mut self, ledgers: Ledgers) {
        self.idle = ledgers.idle.into_inner();
        if ledgers.lost.get() > 0 {
            (self.idle, self.broom) = (Vec::new(), None);
        }
    }
}

/// An empty ledger, and who empties it again.
fn lay(path: &Path) -> Connection {
    let empty = EMPTY.get_or_init(|| {
        let ledger = Ledger::open(path).expect("the folder is new and can be written to");
        knows_sizes(ledger).expect("nobody else writes it");
        let bytes = std::fs::read(path).expect("it has just been closed");
        std::fs::remove_file(path).expect("nobody has it open");
        bytes
    });
    std::fs::write(path, empty).expect("the folder can be written to");
    let broom = Connection::open(path).expect("it is an empty ledger");
    broom
        .execute_batch("PRAGMA foreign_keys = OFF; CREATE TEMP TABLE sizes AS SELECT * FROM facts")
        .expect("it is an empty ledger");
    broom
}

/// Empties a ledger, but for the sizes.
fn sweep(broom: &Connection) -> rusqlite::Result<()> {
    let tables: Vec<String> = broom
        .prepare_cached("SELECT name FROM main.sqlite_schema WHERE type = 'table'")?
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    broom.execute_batch("BEGIN IMMEDIATE")?;
    for table in tables {
        broom.prepare_cached(&format!("DELETE FROM main.{table}"))?.execute(())?;
    }
    broom.prepare_cached("INSERT INTO main.facts SELECT * FROM temp.sizes")?.execute(())?;
    broom.execute_batch("COMMIT")
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
