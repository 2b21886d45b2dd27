#!/bin/sh
# In the place of scontrol, for slurm-conf/tests/apply.rs: the files beside it say what it does.
here=$(dirname "$0")
echo "$*" >> "$here/calls"
[ -e "$here/silent" ] && [ "$*" != --version ] && {
	echo "Unable to contact slurm controller" >&2
	exit 1
}
case "$*" in
--version) echo "slurm-wlm $(cat "$here/version")" ;;
"show config") echo "SLURM_VERSION = $(cat "$here/version")" ;;
"show hostnames n1")
	grep -q Nonsense "$SLURM_CONF" && exit 1
	exit 0
	;;
ping)
	state=UP
	[ -e "$here/down" ] && state=DOWN
	echo "Slurmctld(primary) at h is $state"
	;;
"-a -F show nodes -o") cat "$here/nodes" ;;
"-a show nodes "*)
	grep "^NodeName=$4 " "$here/nodes" && exit 0
	echo "Node $4 not found"
	exit 1
	;;
reconfigure)
	[ -e "$here/deaf" ] && {
		echo "slurm_reconfigure error: Unspecified error" >&2
		exit 1
	}
	cp "$here/nodes.next" "$here/nodes"
	;;
esac
exit 0
