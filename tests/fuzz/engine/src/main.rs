//! The coverage-guided engine: libFuzzer around one target of `tests/fuzz`, named by the
//! environment variable `AZSLURM_FUZZ_TARGET`. Which inputs there are, and what must hold for them,
//! is not known here.
#![no_main]

use std::sync::LazyLock;

use azslurm_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("AZSLURM_FUZZ_TARGET").expect("AZSLURM_FUZZ_TARGET names a target");
    azslurm_fuzz::target(&name).expect("a target of azslurm_fuzz::TARGETS")
});

fuzz_target!(|bytes: &[u8]| {
    TARGET.run(bytes);
});
