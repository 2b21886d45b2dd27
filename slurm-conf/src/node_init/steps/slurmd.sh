
# slurmd: with the configuration of slurmctld, until slurmctld calls the node up. -b says that this is a boot, and
# only once: slurmctld would take a later restart of slurmd for a reboot under running jobs.
registers() {
	if ! node_state; then
		WHY="slurmctld does not tell the node's state: $answer"
		return 1
	fi
	case $state in *POWERING_UP*) ;; *) return 0 ;; esac
	if ! systemctl is-active --quiet slurmd; then
		WHY="slurmd has ended: $(journalctl -u slurmd -n 2 -o cat --no-pager 2>&1)"
		return 2
	fi
	WHY="slurmd runs and does not register: journalctl -u slurmd on the node"
	return 1
}
slurmd_options() { printf 'SLURMD_OPTIONS=%s--conf-server %s\n' "$1" "$CONF_SERVER" >$RUN/slurmd.env; }
step_slurmd() {
	if systemctl is-active --quiet slurmd && [ -e $RUN/slurmd.env ]; then return 0; fi
	slurmd_options '-b ' || return 1
	if ! answer=$({ timeout "$CALL_MAX" systemctl daemon-reload && timeout "$CALL_MAX" systemctl restart slurmd; } 2>&1); then
		WHY="slurmd does not start: $answer"
		return 1
	fi
	until_done "$WAIT" registers || return 1
	slurmd_options ''
}
