
# program: azslurm-sync is there, and one that runs on this machine.
step_program() {
	answer=$(timeout "$CALL_MAX" "$PROGRAM" --version 2>&1) && return 0
	WHY="$PROGRAM does not run ($answer): it belongs into the image or on a mount; program of [node_init]"
	return 1
}
