//! Golden files of `crates/core`, which itself may not write files: `make golden`
//! (`UPDATE_GOLDEN=1`) rewrites them.

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
