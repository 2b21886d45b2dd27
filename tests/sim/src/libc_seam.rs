//! The kernel, as far as a seed must decide what it says: the wall clock, random numbers and the
//! number of a process. The programs ask libc for all three; the symbols are defined here, so that
//! they run unchanged. A thread that is in no simulation gets the kernel's own answer.
//!
//! Two more are answered here to be fast: SQLite locks a byte of its file at every turn, which
//! means nothing within one process of the kernel's (it keeps its own account of its connections
//! there), and syncs a file in memory.
//!
//! Must never: be linked into a shipped program.

#![allow(unsafe_code, reason = "the symbols of libc have C's types, and a system call is one")]
#![allow(missing_docs, reason = "each is the function of libc with its name")]

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// What the present thread's kernel says.
#[derive(Clone, Copy)]
struct Kernel {
    /// The wall clock at `began`, in milliseconds since 1970.
    wall_ms: i64,
    began: Instant,
    pid: i32,
    /// The monotonic clock stands still: time passes by tokio's clock only.
    monotonic: libc::timespec,
}

/// Process numbers begin after this one.
pub const FIRST_PID: u32 = 100_000;

thread_local! {
    static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
}

/// From now on this thread's kernel is a simulated one; needs a tokio runtime with a paused clock.
pub fn begin(wall_ms: i64) {
    let mut monotonic = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of this function.
    unsafe { clock_gettime(libc::CLOCK_MONOTONIC, &raw mut monotonic) };
    let kernel = Kernel { wall_ms, began: Instant::now(), pid: 1, monotonic };
    KERNEL.with(|cell| cell.set(Some(kernel)));
}

/// Random numbers of a seed for this thread before its runtime exists.
pub fn seed_random(seed: u64) {
    RANDOM.with(|cell| cell.set(Some(seed)));
}

thread_local! {
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The kernel's own answers again.
pub fn end() {
    KERNEL.with(|cell| cell.set(None));
}

fn change(how: impl FnOnce(&mut Kernel)) {
    KERNEL.with(|cell| {
        if let Some(mut kernel) = cell.get() {
            how(&mut kernel);
            cell.set(Some(kernel));
        }
    });
}

/// Somebody sets the wall clock.
pub fn step_clock(by_ms: i64) {
    change(|kernel| kernel.wall_ms += by_ms);
}

/// Which process runs now.
pub fn set_pid(pid: u32) {
    change(|kernel| kernel.pid = i32::try_from(pid).unwrap_or(i32::MAX));
}

fn kernel() -> Option<Kernel> {
    KERNEL.try_with(Cell::get).ok().flatten()
}

fn wall() -> Option<Duration> {
    let kernel = kernel()?;
    let since = Duration::from_millis(u64::try_from(kernel.wall_ms).unwrap_or_default());
    Some(since + kernel.began.elapsed())
}

fn random_bits() -> Option<u64> {
    let seed = RANDOM.try_with(Cell::get).ok().flatten()?;
    let next = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.with(|cell| cell.set(Some(next)));
    let mut mixed = next;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ (mixed >> 31))
}

/// Fills `length` bytes at `at`; whether this thread's numbers come from a seed.
///
/// # Safety
/// `at` must be valid for `length` bytes.
unsafe fn fill(at: *mut u8, length: usize) -> bool {
    let mut filled = 0;
    while filled < length {
        let Some(bits) = random_bits() else { return false };
        for byte in bits.to_le_bytes().into_iter().take(length - filled) {
            // SAFETY: the caller's; `filled` is below `length`.
            unsafe { at.add(filled).write(byte) };
            filled += 1;
        }
    }
    true
}

/// As libc's.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    at: *mut libc::timespec,
) -> libc::c_int {
    if clock == libc::CLOCK_REALTIME
        && let Some(now) = wall()
    {
        let seconds = now.as_secs().try_into().unwrap_or(libc::time_t::MAX);
        let shown = libc::timespec { tv_sec: seconds, tv_nsec: now.subsec_nanos().into() };
        // SAFETY: the caller's, as for libc's.
        unsafe { at.write(shown) };
        return 0;
    }
    if clock == libc::CLOCK_MONOTONIC
        && let Some(kernel) = kernel()
    {
        // SAFETY: the caller's, as for libc's.
        unsafe { at.write(kernel.monotonic) };
        return 0;
    }
    // SAFETY: the same call with the same arguments.
    unsafe { raw(libc::SYS_clock_gettime, [clock as i64, at as i64, 0, 0, 0, 0]) as libc::c_int }
}

/// As libc's.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(
    at: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    // SAFETY: the caller's, as for libc's.
    if unsafe { fill(at.cast(), length) } {
        return length as libc::ssize_t;
    }
    // SAFETY: the same call with the same arguments.
    unsafe {
        raw(libc::SYS_getrandom, [at as i64, length as i64, i64::from(flags), 0, 0, 0]) as isize
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn getpid() -> libc::pid_t {
    match kernel() {
        Some(kernel) => FIRST_PID as i32 + kernel.pid,
        // SAFETY: takes nothing and cannot fail.
        None => unsafe { raw(libc::SYS_getpid, [0; 6]) as libc::pid_t },
    }
}

/// Locks of a file, by the name that glibc has for programs with large files. It is variadic; on
/// x86_64 its third argument is where that of a function with three is.
///
/// # Safety
/// That of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(file: libc::c_int, what: libc::c_int, how: i64) -> libc::c_int {
    if what == libc::F_SETLK && kernel().is_some() {
        return 0;
    }
    // SAFETY: the same call with the same arguments.
    unsafe { raw(libc::SYS_fcntl, [i64::from(file), i64::from(what), how, 0, 0, 0]) as libc::c_int }
}

/// As libc's.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(file: libc::c_int) -> libc::c_int {
    synced(libc::SYS_fsync, file)
}

/// As libc's.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(file: libc::c_int) -> libc::c_int {
    synced(libc::SYS_fdatasync, file)
}

fn synced(number: libc::c_long, file: libc::c_int) -> libc::c_int {
    if kernel().is_some() {
        return 0;
    }
    // SAFETY: takes a number and looks at no memory.
    unsafe { raw(number, [i64::from(file), 0, 0, 0, 0, 0]) as libc::c_int }
}

/// `ring` asks for random numbers by libc's `syscall`. That is variadic; on x86_64 its arguments
/// are where those of a function with seven are.
///
/// # Safety
/// That of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: libc::c_long,
    a: i64,
    b: i64,
    c: i64,
    d: i64,
    e: i64,
    f: i64,
) -> libc::c_long {
    // SAFETY: `a` and `b` are getrandom's own.
    if number == libc::SYS_getrandom && unsafe { fill(a as *mut u8, b as usize) } {
        return b;
    }
    // SAFETY: the same call with the same arguments.
    unsafe { raw(number, [a, b, c, d, e, f]) }
}

/// A system call with libc's way to tell errors.
///
/// # Safety
/// That of the call.
unsafe fn raw(number: libc::c_long, of: [i64; 6]) -> libc::c_long {
    let answer: i64;
    // SAFETY: the kernel's convention on x86_64: number in rax, arguments in these registers, rcx
    // and r11 lost.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") of[0], in("rsi") of[1], in("rdx") of[2],
            in("r10") of[3], in("r8") of[4], in("r9") of[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&answer) {
        // SAFETY: libc's own place for this thread's error.
        unsafe { *libc::__errno_location() = (-answer) as libc::c_int };
        return -1;
    }
    answer
}
