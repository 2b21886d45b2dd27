#!/bin/sh
# lint.sh PACKAGES: lintian and rpmlint over the packages of a folder. An error fails; what they only warn of is shown. What is
# overridden, and why, stands in packaging/files/lintian-overrides and packaging/rpm/rpmlint.toml.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { echo "usage: lint.sh PACKAGES" >&2; exit 2; }

echo "lintian:"
lintian --fail-on error --tag-display-limit 0 --allow-root "$1"/*.deb
echo "rpmlint:"
rpmlint --config "$here/rpm/rpmlint.toml" "$1"/*.rpm
