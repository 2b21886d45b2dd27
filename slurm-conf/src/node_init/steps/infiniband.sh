
# infiniband: this VM is in the partition of its block. A VM that is not is told to slurmctld by the check itself.
# It waits for the devices and for slurmctld by itself, and not as long.
CHECK_MAX=600
step_infiniband() {
	SLURM_CONF=$RUN/slurm.conf timeout $CHECK_MAX "$PROGRAM" node-agent check-infiniband --node "$NODE" \
		--slurm-bin-dir "$(dirname "$(command -v scontrol)")" --nodes "$BLOCK_NODES" --block-nodes "$BLOCK_SIZE" && return 0
	WHY="azslurm-sync node-agent check-infiniband says no: its words stand above"
	return 1
}
