//! What is in memory stays there: tokens and secrets are in it, for as long as the program runs.

/// Has the kernel write no core dump of this program, also not to a collector of dumps, and show
/// its memory, environment and open files to no other program of the same user: SlurmUser runs
/// slurmctld and its prologs beside us. Root may look all the same.
///
/// Every program calls it first. It counts for this process alone: a program that it starts, such
/// as scontrol or our own driver, begins anew.
pub fn keep() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("core dumps cannot be switched off: {error}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_dumped_after_it() {
        assert!(nix::sys::prctl::get_dumpable().unwrap());
        super::keep();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        nix::sys::prctl::set_dumpable(true).unwrap();
    }
}
