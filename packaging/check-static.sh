#!/bin/sh
# check-static.sh PROGRAM...: fails unless each program (not stripped) is static, free of name services, and built so
# that a fault in it is hard to use: at an address of chance (PIE), without memory that is both written and run (NX), with
# its tables read-only once it has started (RELRO and BIND_NOW).
#
# A static glibc program that enters a name service (getaddrinfo, getpwnam, ...) loads the machine's NSS modules,
# which belong to another glibc: on RHEL 8, Ubuntu 20.04 and newer systems alike it then aborts or dies of
# SIGFPE. We resolve names ourselves and define the symbols that the linker would take from glibc
# (crates/program/src/no_name_service.rs), so no NSS code may be in the program.
set -eu

if [ $# = 0 ]; then
    echo "usage: check-static.sh PROGRAM..." >&2
    exit 2
fi
failed=0
for program in "$@"; do
    symbols=$(nm "$program" 2>/dev/null) || symbols=""
    if [ -z "$symbols" ]; then
        echo "$program: cannot be checked: it is missing or has no symbols" >&2
        failed=1
        continue
    fi
    if readelf -d "$program" | grep -q '(NEEDED)'; then
        echo "$program: not static: $(readelf -d "$program" | grep '(NEEDED)' | tr -s ' ')" >&2
        failed=1
    fi
    headers=$(readelf -W -h -l -d "$program")
    lacks() {
        echo "$program: $1" >&2
        failed=1
    }
    echo "$headers" | grep 'Type: *DYN' >/dev/null || lacks "no PIE"
    echo "$headers" | grep 'GNU_RELRO' >/dev/null || lacks "no RELRO"
    echo "$headers" | grep -E '\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW' >/dev/null || lacks "its tables stay writable: no BIND_NOW"
    echo "$headers" | grep 'GNU_STACK .* RW ' >/dev/null || lacks "its stack can be run"
    if echo "$headers" | grep -E '^ *LOAD .* RWE ' >/dev/null; then lacks "memory that is both written and run"; fi
    if echo "$headers" | grep -E '\(TEXTREL\)|FLAGS.*TEXTREL' >/dev/null; then lacks "its code is written to when it starts: TEXTREL"; fi
    # No `grep -q` behind a pipe: it would end before its writer and hide what nm says.
    if printf '%s\n' "$symbols" | grep '__nss_lookup' >/dev/null; then
        echo "$program: holds glibc's name services: find who calls them (getaddrinfo, getpw*, getgr*)" >&2
        failed=1
    fi
done
if [ "$failed" = 0 ]; then
    echo "static, no name services, PIE, NX, RELRO: $# programs"
fi
exit "$failed"
