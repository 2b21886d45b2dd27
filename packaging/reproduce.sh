#!/bin/bash
# reproduce.sh packages PROGRAMS GENERATE VERSION: packs the same programs twice, and compares the bytes.
# reproduce.sh programs PROGRAMS: builds the commit in a fresh clone in another folder, and compares the programs.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

same() { # same ONE OTHER: are all files of these folders the same?
	local differ=0 file name
	for file in "$1"/*; do
		name=$(basename "$file")
		[ -f "$file" ] || continue
		if cmp -s "$file" "$2/$name"; then
			echo "the same: $(sha256sum <"$file" | cut -c-16) $name"
		else
			echo "reproduce: $name differs" >&2
			differ=1
		fi
	done
	return $differ
}

case ${1:-} in
packages)
	[ $# = 4 ] || { echo "usage: reproduce.sh packages PROGRAMS GENERATE VERSION" >&2; exit 2; }
	packaging/dist.sh "$2" "$3" "$scratch/one" "$4" >"$scratch/log"
	# What must not matter: when, where, and by what umask and order of files it is done.
	sleep 2
	(umask 077 && cp -r "$2" "$scratch/elsewhere")
	packaging/dist.sh "$scratch/elsewhere" "$3" "$scratch/two" "$4" >"$scratch/log"
	same "$scratch/one" "$scratch/two"
	;;
programs)
	[ $# = 2 ] || { echo "usage: reproduce.sh programs PROGRAMS" >&2; exit 2; }
	if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
		echo "reproduce: there are changes that are not committed: a clone has not got them" >&2
		exit 1
	fi
	git clone -q . "$scratch/another/folder"
	cd "$scratch/another/folder"
	env -u CARGO_TARGET_DIR make release >"$scratch/log" 2>&1 || { tail "$scratch/log" >&2; exit 1; }
	cd "$OLDPWD"
	same "$2" "$scratch/another/folder/target/dist"
	;;
*)
	echo "usage: reproduce.sh packages|programs ..." >&2
	exit 2
	;;
esac
