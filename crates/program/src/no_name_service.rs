//! Traps for the C library's name service.
//!
//! The programs are linked statically against glibc so that one file runs on every distribution. A
//! static glibc that enters the name service loads the host's NSS modules, and aborts where they
//! were built for another glibc (seen: assertion failure on 2.31, SIGFPE on 2.41). Names are
//! resolved by our own resolver in `azslurm-azure`, and users are never looked up by name. With
//! these three symbols defined here the linker never pulls the name service in, and a stray look-up
//! fails instead of aborting. `make release` checks the result with `nm`.
//!
//! This is the only module of the project that may say `unsafe`.
#![expect(unsafe_code, reason = "defining C symbols needs no_mangle, and their signatures are C's")]

use libc::{EAI_FAIL, addrinfo, c_char, c_int, passwd, size_t, uid_t};

/// Answers every look-up with "non-recoverable failure". Writes nothing.
#[unsafe(no_mangle)]
extern "C" fn getaddrinfo(
    _node: *const c_char,
    _service: *const c_char,
    _hints: *const addrinfo,
    _result: *mut *mut addrinfo,
) -> c_int {
    EAI_FAIL
}

/// Frees nothing: [`getaddrinfo`] never makes anything.
#[unsafe(no_mangle)]
extern "C" fn freeaddrinfo(_list: *mut addrinfo) {}

/// Answers "no such user". Called by std only to find a home directory, which no program of ours
/// asks for.
///
/// # Safety
/// `result` points to a pointer that may be written, as getpwuid_r(3) says.
#[unsafe(no_mangle)]
unsafe extern "C" fn getpwuid_r(
    _user: uid_t,
    _entry: *mut passwd,
    _buffer: *mut c_char,
    _length: size_t,
    result: *mut *mut passwd,
) -> c_int {
    // SAFETY: the caller keeps getpwuid_r's contract; a null result means "not found".
    unsafe { *result = std::ptr::null_mut() };
    0
}
