
# munge: the cluster's key, for its user alone, and a munged that has it.
install_key() {
	size=$(wc -c <"$1") || return 2
	if [ "$size" -lt 32 ] || [ "$size" -gt 1024 ]; then
		WHY="the munge key has $size bytes, and munge takes 32 to 1024"
		return 2
	fi
	if ! cmp -s "$1" /etc/munge/munge.key; then
		KEY_IS_NEW=yes
		mkdir -p /etc/munge && cp "$1" /etc/munge/munge.key.new && mv -f /etc/munge/munge.key.new /etc/munge/munge.key || return 2
	fi
	own_key /etc/munge 700 && own_key /etc/munge/munge.key 400
}
own_key() {
	[ "$(stat -c %U:%G:%a "$1")" = "munge:munge:$2" ] && return 0
	chown munge:munge "$1" && chmod "$2" "$1" || return 2
	if command -v restorecon >/dev/null; then restorecon -F "$1" || :; fi
}
step_munge() {
	KEY_IS_NEW=
	if ! id munge >/dev/null 2>&1; then
		WHY='there is no user munge: the package munge is missing in the image'
		return 1
	fi
	get_key || return 1
	verb=start
	[ -z "$KEY_IS_NEW" ] || verb=restart
	if ! answer=$(timeout "$CALL_MAX" systemctl $verb munge 2>&1); then
		WHY="munge does not start: $answer"
		return 1
	fi
	until_done $MUNGE_MAX munge_works
}
