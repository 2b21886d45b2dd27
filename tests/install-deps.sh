#!/bin/sh
# install-deps.sh [dist]: installs from Debian what the tests and the demo need, with `dist` also what packing needs, and
# nothing that is there already.
#
# As root on Debian (or Ubuntu) it installs; otherwise it says what is missing and exits 1. No service is
# started: a policy-rc.d that forbids it is put in place while apt runs, unless the machine has one already.
set -eu

# What must be there, as `package: test`. The test looks for the thing itself, so that a Slurm that was built
# by hand counts as well.
missing=""
need() { # need PACKAGE COMMAND...
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }
has_plugin() { # a plugin of Slurm: serializer_json writes SLURM_RESUME_FILE
    for dir in /usr/lib/*/slurm-wlm /usr/lib/*/slurm /usr/lib64/slurm /usr/local/lib/slurm; do
        if [ -e "$dir/$1.so" ]; then return 0; fi
    done
    return 1
}
has_venv() { python3 -c 'import ensurepip, venv'; }

need slurmctld has slurmctld
need slurmd has slurmd
need slurm-client has scontrol
need slurm-wlm-basic-plugins has_plugin serializer_json
need munge has munged
need procps has ps
need iproute2 has ip
need nftables has nft
need util-linux has setsid
need python3-venv has_venv
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt -o -s /etc/pki/tls/certs/ca-bundle.crt
need curl has curl
need cloud-init has cloud-init
need shellcheck has shellcheck
need make has make
need gcc has gcc
need libc6-dev test -e /usr/include/stdlib.h
need binutils has nm
need strace has strace

if [ "${1:-}" = dist ]; then
    need dpkg has dpkg-deb
    need rpm has rpmbuild
    need lintian has lintian
    need rpmlint has rpmlint
    need cpio has cpio
    need debootstrap has debootstrap
    need git has git
    need systemd-container has systemd-nspawn
    need openssl has openssl
    need python3 has python3
fi

if ! has cargo >/dev/null; then
    echo "install-deps: cargo is missing: install the Rust toolchain (https://rustup.rs)" >&2
    exit 1
fi
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! has apt-get >/dev/null; then
    {
        echo "install-deps: missing here (names of Debian's packages):$missing"
        echo "install-deps: as root on Debian: apt-get install --no-install-recommends$missing"
    } >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
ours=""
clean() { if [ -n "$ours" ]; then rm -f "$policy"; fi; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\n# No service is started while packages for tests are installed.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# Of cloud-init only its code is wanted: on this machine it must do nothing at the next boot.
case $missing in
*cloud-init*)
    mkdir -p /etc/cloud
    echo "for tests of azslurm: its code only" >/etc/cloud/cloud-init.disabled
    ;;
esac

echo "install-deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # one word per package
apt-get install -q -y --no-install-recommends $missing
