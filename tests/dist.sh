#!/bin/bash
# dist.sh PACKAGES PROGRAMS BUILT ROOT...: installs the packages of the folder PACKAGES in fresh systems, runs jobs with what
# was installed, upgrades while they run, removes, purges. As root, on Debian.
#
#   ROOT = bookworm, trixie   a fresh Debian with Slurm, by apt and dpkg
#          rpm                an RPM database of its own in a fresh Debian: no RPM distribution's packages are reached from here.
#                             So rpm runs every script and lays down every file, and its dependencies are not looked at
#          systemd            a Debian 12 that boots with its own systemd (systemd-nspawn): the daemon in its unit's sandbox
#          static             an empty directory with one program: names, TLS and a proxy (tests/dist/static.py)
#
# PROGRAMS: the programs that the packages hold; the package to upgrade from is made of them under a lower version. BUILT: the
# folder of the demo and the emulator.
#
# A fresh system is an overlay over the root of tests/slurm-root.sh, in a mount namespace of our own: whatever ends us, nothing
# is left but a folder in target/slurm-roots, which the next run removes.
set -euo pipefail

if [ -z "${DIST_OWN_MOUNTS:-}" ]; then
	DIST_OWN_MOUNTS=yes exec unshare --mount --propagation private "$0" "$@"
fi
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || { echo "usage: dist.sh PACKAGES PROGRAMS BUILT ROOT..." >&2; exit 2; }
packages=$(realpath "$1")
programs=$(realpath "$2")
built=$(realpath "$3")
shift 3
roots=${CARGO_TARGET_DIR:-$PWD/target}/slurm-roots
mkdir -p "$roots"

older=$(mktemp -d /tmp/azslurm-dist-XXXXXX)
trap 'rm -rf "$older"' EXIT

fresh() { # fresh SUITE NAME: the folder NAME of $roots is SUITE's, and what is changed there is not SUITE's
	local layer=$roots/$2.layer
	tests/slurm-root.sh make "$1"
	rm -rf --one-file-system "$layer"
	mkdir -p "$layer/upper" "$layer/work" "$roots/$2"
	mount -t overlay -o "lowerdir=$roots/$1,upperdir=$layer/upper,workdir=$layer/work" overlay "$roots/$2"
}

older_packages() {
	[ -e "$older/SHA256SUMS" ] && return 0
	echo "dist: packing the same programs as version 0.0.1, to upgrade from"
	LEVEL=0 packaging/dist.sh "$programs" "$built/azslurm-generate" "$older" 0.0.1 >"$older/log"
}

boot() { # boot NAME: boots the system, which runs tests/dist/systemd.sh and ends
	local here=$roots/$1 old=("$older"/azslurm_[0-9]*.deb) code=0
	# shellcheck disable=SC2016 # for the inner shell
	tests/slurm-root.sh run "$1" sh -euc 'export DEBIAN_FRONTEND=noninteractive
		apt-get update -q && apt-get install -q -y --no-install-recommends systemd-sysv dbus "$0"' "${old[0]}" >"$older/apt" 2>&1 ||
		{ tail "$older/apt" >&2; return 1; }
	# What the inner system says goes through a folder of its own: its /tmp is another.
	mkdir -p "$here/test"
	cp -r "$packages" "$here/test/packages"
	cp "$built/azslurm-arm-emulator" tests/dist/systemd.sh "$here/test/"
	cat >"$here/etc/systemd/system/dist-test.service" <<-END
		[Service]
		Type=oneshot
		ExecStart=/test/systemd.sh /test/packages /test /test/result
		StandardOutput=file:/test/log
		StandardError=inherit
		[Install]
		WantedBy=multi-user.target
	END
	chroot "$here" systemctl enable -q dist-test.service
	timeout --kill-after=10 500 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$here" --boot \
		</dev/null >"$older/console" 2>&1 || code=$?
	cat "$here/test/log" || { echo "dist: the inner system has not begun (exit code $code)" >&2; tail "$older/console" >&2; }
	[ "$(cat "$here/test/result" 2>/dev/null)" = ok ]
}

failed=""
for root in "$@"; do
	began=$SECONDS
	result=ok
	echo "dist: === $root"
	case $root in
	static)
		unshare --net tests/dist/static.py "$programs" "$built" || result=FAILED
		;;
	systemd)
		older_packages
		fresh bookworm systemd-fresh
		boot systemd-fresh || result=FAILED
		;;
	rpm)
		older_packages
		fresh bookworm rpm-fresh
		tests/slurm-root.sh run rpm-fresh "$PWD/tests/dist/inside.sh" rpm "$packages" "$older" "$built" || result=FAILED
		;;
	*)
		older_packages
		fresh "$root" "$root-fresh"
		tests/slurm-root.sh run "$root-fresh" "$PWD/tests/dist/inside.sh" deb "$packages" "$older" "$built" || result=FAILED
		;;
	esac
	if mountpoint -q "$roots/$root-fresh"; then umount "$roots/$root-fresh"; fi
	rm -rf --one-file-system "$roots/$root-fresh.layer" "${roots:?}/$root-fresh"
	echo "dist: $root: $result in $((SECONDS - began)) s"
	if [ $result = FAILED ]; then failed="$failed $root"; fi
done
if [ -n "$failed" ]; then
	echo "dist: failed in$failed" >&2
	exit 1
fi
