
# hosts: this VM is the node, and the name of a slurmctld has an address.
servers() { echo "$CONF_SERVER" | tr , '\n'; }
resolves() {
	for server in $(servers); do
		if timeout 10 getent hosts "${server%%:*}" >/dev/null; then return 0; fi
	done
	WHY="no address is known for $CONF_SERVER: DNS of the subnet, or hosts of [node_init]"
	return 1
}
step_hosts() {
	read -r host </proc/sys/kernel/hostname
	if [ "${host%%.*}" != "$NODE" ]; then
		WHY="this VM is called $host, and its user data is for $NODE"
		return 1
	fi
	while read -r line; do
		if [ -z "$line" ] || grep -qxF "$line" /etc/hosts; then continue; fi
		# The last line may have no end.
		[ -z "$(tail -c 1 /etc/hosts)" ] || echo >>/etc/hosts
		echo "$line" >>/etc/hosts || return 1
	done <<END
$HOSTS
END
	until_done "$WAIT" resolves || return 1
	# For clients of ours: slurm.conf itself is slurmd's, which gets it from slurmctld.
	port=${CONF_SERVER%%,*}
	case $port in *:*) port=${port##*:} ;; *) port=6817 ;; esac
	mkdir -p $RUN || return 1
	{
		printf 'ClusterName=%s\nAuthType=auth/munge\nSlurmctldPort=%s\n' "$CLUSTER" "$port"
		for server in $(servers); do echo "SlurmctldHost=${server%%:*}"; done
	} >$RUN/slurm.conf
}
