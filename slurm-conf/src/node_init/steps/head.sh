set -u
umask 022
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
RUN=/run/azslurm
# One call of a program that may hang, in seconds.
CALL_MAX=60
# slurmctld is told of a failure within this time, or finds out by its ResumeTimeout.
TELL_MAX=60
# munged answers at once, or not at all.
MUNGE_MAX=30
STEP=start
NUMBER=0
WHY=

now() {
	read -r up _ </proc/uptime
	echo "${up%.*}"
}
say() { printf 'azslurm: node-init: %s\n' "$*"; }
console() { { printf 'azslurm: node-init: %s\n' "$*" >>/dev/console; } 2>/dev/null || :; }

# until_done SECONDS COMMAND...: again while it ends with 1 (not yet), until the time is over; 2 is final. The pauses
# grow: a thousand nodes may wait for one slurmctld, or one vault.
PAUSE_MAX=30
until_done() {
	end=$(($(now) + $1))
	pause=1
	shift
	while :; do
		"$@"
		code=$?
		left=$((end - $(now)))
		if [ $code -ne 1 ] || [ $left -le 0 ]; then return $code; fi
		if [ $pause -gt $left ]; then pause=$left; fi
		sleep $pause
		pause=$((pause * 2))
		if [ $pause -gt $PAUSE_MAX ]; then pause=$PAUSE_MAX; fi
	done
}

our_scontrol() { SLURM_CONF=$RUN/slurm.conf timeout "$CALL_MAX" scontrol "$@" 2>&1; }
node_state() {
	answer=$(our_scontrol -a -o show node "$NODE") || return 1
	answer=${answer#* State=}
	state=${answer%% *}
}
munge_works() {
	answer=$({ timeout 10 munge -n </dev/null | timeout 10 unmunge >/dev/null; } 2>&1) && return 0
	WHY="munge does not work: $answer"
	return 1
}

# slurmctld gets the reason while it waits for this node: a pass of azslurm-sync then replaces the VM. What a person
# has closed stays as it is. A node that was up before is found by slurmctld itself when slurmd does not answer.
tell_once() {
	node_state || return 1
	case $state in
	DOWN* | *+DRAIN* | *+FAIL*) say "the node is closed already ($state) and stays as it is" ;;
	*POWERING_UP*) answer=$(our_scontrol update nodename="$NODE" state=down reason="azslurm: node-init: $told") || return 1 ;;
	*) say "slurmctld does not wait for this node ($state)" ;;
	esac
}
tell() {
	told=$(printf '%s' "$1" | tr -c 'A-Za-z0-9 .,:/@_+()-' ' ' | tr -s ' ' | sed 's/ :/:/g' | cut -c1-170)
	if [ ! -e $RUN/slurm.conf ] || ! command -v scontrol >/dev/null || ! munge_works; then
		say "slurmctld cannot be told before munge works: it finds out when ResumeTimeout is over"
	elif ! until_done $TELL_MAX tell_once; then
		say "slurmctld could not be told: $answer"
	fi
}
fail() {
	say "FAILED: $STEP: ${WHY:-it ended without a word}"
	console "FAILED: $STEP: ${WHY:-it ended without a word}"
	tell "$STEP: ${WHY:-it ended without a word}"
	exit 1
}
step() {
	STEP=$1
	NUMBER=$((NUMBER + 1))
	WHY=
	began=$(now)
	"$2" || fail
	say "step $NUMBER, $1: done in $(($(now) - began)) s"
}
