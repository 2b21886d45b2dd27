//! Golden files of `crates/core`, which itself may not write files: `make golden`
//! (`UPDATE_GOLDEN=1`) rewrites them.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../crates/core/tests/plan/table.rs"]
mod table;
#[path = "../crates/core/tests/plan/world.rs"]
mod world;

use std::path::Path;

#[test]
fn the_decision_matrix_is_as_reviewed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/core/src/decide_matrix.txt");
    let now = azslurm_core::decide::matrix();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap() == now, "`make golden` rewrites {file:?}");
}

#[test]
fn the_situations_of_the_plan_are_as_reviewed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = file.join("../crates/core/tests/plan/situations.txt");
    let then = std::fs::read_to_string(&file).unwrap();
    let now = table::rendered(&then);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap() == now, "`make golden` rewrites {file:?}");
}

#[test]
fn the_agents_matrix_is_as_reviewed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/core/src/agent_matrix.txt");
    let now = azslurm_core::agent::matrix();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap() == now, "`make golden` rewrites {file:?}");
}
