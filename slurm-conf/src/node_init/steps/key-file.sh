look_for_key() {
	[ -s "$MUNGE_KEY_FILE" ] && return 0
	WHY="$MUNGE_KEY_FILE is not there"
	return 1
}
get_key() { until_done "$WAIT" look_for_key && install_key "$MUNGE_KEY_FILE"; }
