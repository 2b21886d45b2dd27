get_key() {
	[ -e /etc/munge/munge.key ] && return 0
	WHY='the image has no /etc/munge/munge.key, and [node_init] names no other'
	return 1
}
