#!/bin/sh
# version.sh [version|epoch]: of the commit that is checked out, the version of its packages or its time.
#
# A commit with the tag vX.Y.Z of Cargo.toml's version X.Y.Z is that release. Any other comes before the release that
# Cargo.toml names and after every earlier commit: X.Y.Z~TIME.COMMIT, which dpkg and rpm both order so. With changes that
# are not committed, `.changed` stands behind it: such a package is nobody's to pass on.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-version}" = epoch ]; then
	git log -1 --format=%ct
	exit
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
changed=""
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then changed=.changed; fi
if [ -z "$changed" ] && [ "$(git describe --exact-match --tags --match "v$version" 2>/dev/null)" = "v$version" ]; then
	echo "$version"
else
	time=$(TZ=UTC0 git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd)
	echo "$version~$time.$(git log -1 --format=%h --abbrev=8)$changed"
fi
