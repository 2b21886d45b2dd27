
# mounts: shared file systems. No fstab: they are mounted here at every boot, before slurmd.
mount_one() { # TYPE SOURCE FOLDER OPTIONS
	found=$(findmnt -n -o SOURCE --mountpoint "$3" | tail -n 1)
	[ "$found" != "$2" ] || return 0
	if [ -n "$found" ]; then
		WHY="$found is mounted on $3, not $2"
		return 2
	fi
	if ! command -v "mount.$1" >/dev/null; then
		WHY="mount.$1 is missing in the image: for nfs it is in nfs-utils or nfs-common, for lustre in the client of its servers"
		return 2
	fi
	mkdir -p "$3" || return 2
	answer=$(timeout "$CALL_MAX" mount -t "$1" -o "$4" "$2" "$3" 2>&1) && return 0
	WHY="$2 on $3: $answer"
	return 1
}
