
# packages: what the image lacks.
has_package() {
	if command -v dpkg-query >/dev/null; then
		dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
	else
		rpm -q "$1" >/dev/null 2>&1
	fi
}
install_packages() {
	missing=
	for package in $PACKAGES; do has_package "$package" || missing="$missing $package"; done
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # one word per package
	if command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		answer=$({ timeout "$WAIT" apt-get -q update && timeout "$WAIT" apt-get -q -y --no-install-recommends \
			-o DPkg::Lock::Timeout="$WAIT" install $missing; } 2>&1)
	else
		answer=$(timeout "$WAIT" dnf -q -y install $missing 2>&1)
	fi && return 0
	if [ $? -eq 124 ]; then
		WHY="to install$missing takes longer than $WAIT s"
		return 2
	fi
	WHY="cannot install$missing: $(echo "$answer" | tail -n 2)"
	return 1
}
step_packages() { until_done "$WAIT" install_packages; }
