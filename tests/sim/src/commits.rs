//! SQLite's word that a transaction is about to be committed: the moment at which a process can be
//! killed with its transaction undone. Every connection that a simulated process opens gets a hook;
//! the ledger's code knows nothing of it.

#![allow(unsafe_code, reason = "SQLite's hooks have C's types")]

use std::cell::{Cell, RefCell};
use std::os::raw::{c_char, c_int, c_void};
use std::sync::Once;

use rusqlite::ffi;

thread_local! {
    /// The process whose code runs; 0 for none.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
    static JUDGE: RefCell<Option<Judge>> = const { RefCell::new(None) };
}

/// Says whether a process may commit.
pub type Judge = Box<dyn Fn(u32) -> bool>;

static ONCE: Once = Once::new();

/// On this thread, `judge` is asked before every commit of a simulated process.
pub fn begin(judge: Judge) {
    ONCE.call_once(|| {
        // SAFETY: SQLite has not begun: no connection was opened yet. Its account of its memory
        // takes a lock that all threads share.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
        // SAFETY: `on_open` has the type that SQLite calls it by (sqlite.org/c3ref/auto_extension).
        let code = unsafe { ffi::sqlite3_auto_extension(Some(on_open)) };
        assert_eq!(code, ffi::SQLITE_OK);
    });
    JUDGE.with(|cell| *cell.borrow_mut() = Some(judge));
}

/// Nobody is asked any more.
pub fn end() {
    JUDGE.with(|cell| *cell.borrow_mut() = None);
}

/// `process` runs from now on; who ran before.
pub fn set_running(process: u32) -> u32 {
    RUNNING.with(|cell| cell.replace(process))
}

/// The process whose code runs.
pub fn running() -> u32 {
    RUNNING.with(Cell::get)
}

unsafe extern "C" fn on_open(
    connection: *mut ffi::sqlite3,
    _error: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: the connection is being opened by this thread; `on_commit` uses no argument.
    unsafe {
        ffi::sqlite3_commit_hook(connection, Some(on_commit), std::ptr::null_mut());
    }
    ffi::SQLITE_OK
}

/// A connection serves one process after the other: who commits is who runs.
unsafe extern "C" fn on_commit(_nothing: *mut c_void) -> c_int {
    let process = running();
    let may = process == 0
        || JUDGE.with(|cell| cell.borrow().as_ref().is_none_or(|judge| judge(process)));
    c_int::from(!may)
}
