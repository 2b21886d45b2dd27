
# agent: it warns slurmctld of what Azure announces for this VM.
step_agent() {
	if ! answer=$({ timeout "$CALL_MAX" systemctl daemon-reload && timeout "$CALL_MAX" systemctl start --no-block azslurm-node-agent; } 2>&1); then
		WHY="the node agent does not start: $answer"
		return 1
	fi
}
