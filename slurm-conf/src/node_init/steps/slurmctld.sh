
# slurmctld: it answers, and takes our munge credentials.
slurmctld_answers() {
	answer=$(our_scontrol ping)
	case $answer in *' is UP'*) return 0 ;; esac
	WHY="no slurmctld answers at $CONF_SERVER (network, or another munge key): $answer"
	return 1
}
step_slurmctld() {
	if ! command -v scontrol >/dev/null; then
		WHY="scontrol is missing in the image"
		return 1
	fi
	until_done "$WAIT" slurmctld_answers
}
