# Every process on a VM may ask the metadata service for a token of the VM's identity, and with it the vault for the
# munge key: a job that has that is whoever it likes to slurmctld. So only root may ask, from before any job runs.
close_metadata() {
	if command -v nft >/dev/null; then
		answer=$(nft -f - 2>&1 <<-END
			table ip azslurm
			delete table ip azslurm
			table ip azslurm {
				chain output {
					type filter hook output priority 0; policy accept;
					ip daddr $METADATA_ADDRESS tcp dport $METADATA_PORT meta skuid != 0 reject
				}
			}
		END
		) && return 0
	else
		answer='neither nft nor iptables is in the image'
	fi
	if command -v iptables >/dev/null; then
		set -- OUTPUT -d "$METADATA_ADDRESS" -p tcp --dport "$METADATA_PORT" -m owner ! --uid-owner 0 -j REJECT
		iptables -w -C "$@" 2>/dev/null && return 0
		answer=$(iptables -w -I "$@" 2>&1) && return 0
	fi
	WHY="the metadata service cannot be closed to jobs, who could fetch the munge key from it: $answer"
	return 2
}
# ask FILE CURL_ARGUMENTS...: the answer's body in FILE, its status in $status.
ask() {
	status=$(curl -sS --max-time 20 -o "$@" -w '%{http_code}' 2>"$SAFE/error") && return 0
	WHY="$(head -c 200 "$SAFE/error")"
	return 1
}
word_of() { grep -o "\"$1\" *: *\"[^\"]*\"" "$2" | head -n 1 | cut -d '"' -f 4; }
# The token is never among a program's arguments, which everybody sees.
get_token() {
	ask "$SAFE/token" --noproxy '*' -H Metadata:true "$TOKEN_URL" || return 1
	case $status in
	200) ;;
	400)
		WHY="the metadata service has no token for this VM: $(word_of error_description "$SAFE/token")"
		return 2
		;;
	*)
		WHY="the metadata service answers $status"
		return 1
		;;
	esac
	printf 'header = "Authorization: Bearer %s"\n' "$(word_of access_token "$SAFE/token")" >"$SAFE/header"
}
get_secret() {
	# shellcheck disable=SC2086 # none, or two words
	ask "$SAFE/secret" --config "$SAFE/header" $CA_OPTION "$MUNGE_SECRET?api-version=7.4" || return 1
	case $status in
	200) return 0 ;;
	401 | 403 | 404) code=2 ;;
	*) code=1 ;;
	esac
	WHY="Key Vault answers $status for $MUNGE_SECRET: $(word_of message "$SAFE/secret" | sed 's,\\.*,,')"
	return $code
}
get_key() {
	SAFE=$RUN/safe
	(umask 077 && mkdir -p "$SAFE") || return 1
	close_metadata && until_done "$WAIT" get_token && until_done "$WAIT" get_secret && decode_key && install_key "$SAFE/key"
	code=$?
	rm -rf "$SAFE"
	return $code
}
decode_key() {
	# + and / come escaped from some JSON writers.
	word_of value "$SAFE/secret" | sed 's,\\u002[Bb],+,g; s,\\/,/,g; s,\\[nr],,g' | base64 -d >"$SAFE/key" 2>/dev/null && return 0
	WHY="the secret is not base64: az keyvault secret set --encoding base64 --file munge.key"
	return 2
}
