#!/bin/sh
# Other Slurms than the machine's own: a root directory of another Debian with its packages of Slurm, and any
# command in it. As root, on Debian.
#
#   slurm-root.sh make SUITE            makes target/slurm-roots/SUITE, unless it is there: trixie has 24.11, sid
#                                       the newest
#   slurm-root.sh run SUITE COMMAND...  runs a command there, with this repository at its own path
#   slurm-root.sh version SUITE         prints the version of its Slurm
#
# The test programs are static, so a whole test program runs in such a root and finds that root's slurmctld,
# slurmd and clients where it would find the machine's. Cargo does it for every test of a call:
#
#   CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="tests/slurm-root.sh run trixie" cargo test --test e2e
#
# SUITE `system` stands for the machine itself. Packages come from where the machine's own apt gets them;
# DEBIAN_MIRROR names another place.
set -eu

# What `tests/install-deps.sh` installs of Slurm, and what the clusters of tests/cluster call beside it.
# debootstrap knows no virtual packages, such as what cloud-init wants of python3-cffi-backend.
PACKAGES=slurmctld,slurmd,slurm-client,slurm-wlm-basic-plugins,munge,iproute2,procps,perl-base,ca-certificates,curl,cloud-init,python3-cffi-backend

repository=$(cd "$(dirname "$0")/.." && pwd)
roots=${CARGO_TARGET_DIR:-$repository/target}/slurm-roots

die() {
	echo "slurm-root: $*" >&2
	exit 1
}

# A mount namespace of our own: whatever ends us, no mount stays behind on the machine.
in_own_mounts() {
	[ -n "${SLURM_ROOT_OWN_MOUNTS:-}" ] && return 0
	unshare --mount true 2>/dev/null || die "no mount namespace to be had here: run as root, outside of a container that forbids it"
	SLURM_ROOT_OWN_MOUNTS=yes exec unshare --mount --propagation private "$0" "$@"
}

# The first place of packages of the machine's own apt, that is not for security updates alone.
mirror() {
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p
}

# debootstrap fetches by wget, which does not read apt's configuration.
proxy() {
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	if [ -n "${proxy:-}" ] && [ "$proxy" != DIRECT ]; then export http_proxy="$proxy"; fi
}

install_debootstrap() {
	command -v debootstrap >/dev/null && return 0
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -q -y --no-install-recommends debootstrap && return 0
	apt-get update -q
	apt-get install -q -y --no-install-recommends debootstrap
}

# Whether a root is there, with what is needed today.
is_made() {
	[ -e "$1/etc/slurm-root" ] && [ "$(cat "$1/etc/slurm-root.packages" 2>/dev/null)" = "$PACKAGES" ]
}

make_root() {
	root=$roots/$1
	if is_made "$root"; then return 0; fi
	in_own_mounts make "$1"
	[ "$(id -u)" = 0 ] || die "a root directory is made as root"
	mkdir -p "$roots"
	# Of two at the same time the second waits, and finds the root made.
	exec 9>"$roots/$1.lock"
	flock 9
	if is_made "$root"; then return 0; fi
	install_debootstrap
	proxy
	from=$(mirror)
	[ -n "$from" ] || die "apt knows no place of Debian's packages: name one by DEBIAN_MIRROR"
	# Of a run that was ended half-way. debootstrap mounts /proc and /sys there, but in another's namespace.
	rm -rf --one-file-system "$root.new" "$root"
	echo "slurm-root: making $root, about 2 minutes"
	if ! debootstrap --variant=minbase --include="$PACKAGES" "$1" "$root.new" "$from" >"$roots/$1.log" 2>&1; then
		tail -n 5 "$roots/$1.log" >&2
		die "debootstrap failed: $roots/$1.log, and debootstrap/debootstrap.log in $root.new"
	fi
	rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
	chroot "$root.new" slurmctld -V >"$root.new/etc/slurm-root"
	# Only its code is wanted, as on the machine itself.
	echo "for tests of azslurm: its code only" >"$root.new/etc/cloud/cloud-init.disabled"
	echo "$PACKAGES" >"$root.new/etc/slurm-root.packages"
	mv "$root.new" "$root"
}

run() {
	suite=$1
	shift
	if [ "$suite" = system ]; then exec "$@"; fi
	root=$roots/$suite
	[ -e "$root/etc/slurm-root" ] || die "there is no $root: tests/slurm-root.sh make $suite makes it"
	in_own_mounts run "$suite" "$@"
	# A mount of its own, so that what runs there can have mount namespaces too.
	mount --bind "$root" "$root"
	for part in proc sys dev tmp; do
		mount --rbind "/$part" "$root/$part"
	done
	for file in hosts resolv.conf; do
		if [ -e "/etc/$file" ]; then cat "/etc/$file" >"$root/etc/$file"; fi
	done
	mkdir -p "$root$repository"
	mount --rbind "$repository" "$root$repository"
	case ${CARGO_TARGET_DIR:-} in
	/*)
		mkdir -p "$root$CARGO_TARGET_DIR"
		mount --rbind "$CARGO_TARGET_DIR" "$root$CARGO_TARGET_DIR"
		;;
	esac
	unset SLURM_ROOT_OWN_MOUNTS
	# Cargo starts a test in its package's directory, which is there; any other may not be.
	# shellcheck disable=SC2016 # for the inner shell
	exec chroot "$root" /bin/sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
}

version() {
	run "$1" slurmctld -V
}

case ${1:-} in
make)
	[ $# = 2 ] || die "usage: slurm-root.sh make SUITE"
	if [ "$2" != system ]; then make_root "$2"; fi
	;;
run)
	[ $# -ge 3 ] || die "usage: slurm-root.sh run SUITE COMMAND..."
	shift
	run "$@"
	;;
version)
	[ $# = 2 ] || die "usage: slurm-root.sh version SUITE"
	version "$2"
	;;
*)
	die "usage: slurm-root.sh make|run|version SUITE ..."
	;;
esac
