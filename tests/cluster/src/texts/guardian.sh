#!/bin/sh
# guardian DIR KEEP: ends every process of the cluster in DIR, then removes DIR.
#
# It does so when its standard input ends or brings a line. The pipe is held by the process that started the
# cluster, so this happens whatever becomes of that process: end, panic, Ctrl-C, SIGKILL. The line is the verdict:
# `passed`, or anything else for a failure, whose logs are copied to KEEP.
dir=$1
keep=$2
conf=$dir/etc/slurm.conf
verdict=failed
read -r verdict

# What we started, and nothing else: the environment says so, which slurmctld hands on to its programs and slurmd to
# its jobs. slurmstepd writes its title over its environment; it lives in our spool directory.
ours() {
	{
		grep -lszxF -e "SLURM_CONF=$conf" -e "AZSLURM_CLUSTER=$dir" -e "SLURM_CONF=$dir/etc/head1/slurm.conf" \
			-e "SLURM_CONF=$dir/etc/head2/slurm.conf" /proc/[0-9]*/environ
		find /proc/[0-9]* -maxdepth 1 -name cwd -lname "$dir/*" | while read -r link; do
			read -r name < "${link%/cwd}/comm" && case $name in slurm*) echo "$link" ;; esac
		done
	} 2>/dev/null | cut -d/ -f3 | sort -u
}

round=0
while [ $round -lt 200 ]; do
	pids=$(ours)
	[ -n "$pids" ] || break
	# shellcheck disable=SC2086
	kill -9 $pids 2>/dev/null
	sleep 0.05
	round=$((round + 1))
done

if [ "$verdict" != passed ]; then
	rm -rf "$keep"
	mkdir -p "$keep"
	cp -r "$dir/log" "$dir/etc" "$dir/home" "$keep/"
	cp "$dir"/state/ledger*.db* "$keep/" 2>/dev/null
fi
# Also one that is in use still must not hold its folder.
grep -F " $dir/" /proc/mounts | cut -d' ' -f2 | sort -r | while read -r mounted; do umount -l "$mounted"; done
rm -rf "$dir"
