
# scratch: the VM's own NVMe disks, empty after its every start from nothing.
LABEL=azslurm-scr
own_disks() {
	for folder in /sys/block/nvme*n1; do
		[ -e "$folder/device/model" ] || continue
		# Disks in the network have another model; one with partitions is the OS disk.
		case $(cat "$folder/device/model") in 'Microsoft NVMe Direct Disk'*) ;; *) continue ;; esac
		set -- "$folder/${folder##*/}"p*
		[ -e "$1" ] || echo "/dev/${folder##*/}"
	done
}
probed() { timeout "$CALL_MAX" blkid -p -o value -s "$1" "$2"; }
# A reboot finds what the boot before has made; the name of an assembled stripe is not always the one it was given.
find_scratch() {
	if command -v mdadm >/dev/null; then timeout "$CALL_MAX" mdadm --assemble --scan --quiet; fi
	for device in $(own_disks) /dev/md/* /dev/md[0-9]*; do
		if [ -b "$device" ] && [ "$(probed LABEL "$device")" = $LABEL ]; then return 0; fi
	done
	return 1
}
make_scratch() { # DISK...
	for device in "$@"; do
		kind=$(probed TYPE "$device")
		if [ -n "$kind" ]; then
			WHY="$device holds $kind already, and is not formatted"
			return 1
		fi
	done
	if [ $# -gt 1 ]; then
		device=/dev/md/azslurm-scratch
		answer=$(timeout "$CALL_MAX" mdadm --create $device --run --level=0 --raid-devices=$# "$@" 2>&1) || return 1
		timeout "$CALL_MAX" udevadm settle || :
	fi
	if command -v mkfs.xfs >/dev/null; then
		answer=$(timeout "$CALL_MAX" mkfs.xfs -q -f -K -L $LABEL "$device" 2>&1)
	else
		answer=$(timeout "$CALL_MAX" mkfs.ext4 -q -F -E nodiscard -L $LABEL "$device" 2>&1)
	fi
}
step_scratch() {
	if findmnt -n --mountpoint "$SCRATCH" >/dev/null; then return 0; fi
	if ! find_scratch; then
		disks=$(own_disks)
		if [ -z "$disks" ]; then
			say "this VM has no NVMe disk of its own: there is no $SCRATCH"
			return 0
		fi
		answer=
		# shellcheck disable=SC2086 # one word per disk
		if ! make_scratch $disks; then
			WHY=${WHY:-"$(echo "$disks" | tr '\n' ' '): $answer"}
			return 1
		fi
	fi
	mkdir -p "$SCRATCH" || return 1
	if ! answer=$(timeout "$CALL_MAX" mount -o noatime "$device" "$SCRATCH" 2>&1); then
		WHY="$device on $SCRATCH: $answer"
		return 1
	fi
	chmod 1777 "$SCRATCH" || return 1
	if command -v restorecon >/dev/null; then restorecon -F "$SCRATCH" || :; fi
}
