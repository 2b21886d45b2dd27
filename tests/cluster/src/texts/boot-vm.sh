#!/bin/sh
# What a VM of this cluster does that boots with its user data: a machine of its own, on which cloud-init does what the
# user data says. The emulator starts this with the VM's name and the rest in VM_*, and ends its process group when the
# VM stops.
dir=@DIR@
node=$VM_COMPUTER_NAME
export AZSLURM_CLUSTER="$dir" VM_KEEP=@KEEP@ PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$dir/spool/$node"
cd "$dir/spool/$node" || exit 1
exec </dev/null >>"$dir/log/boot-$node.log" 2>&1
echo "$(date -u +%FT%T.%3NZ) VM ${VM_NAME:-?} boots as $node, with its user data"
printf '%s' "$VM_USER_DATA" >"$dir/vm-$VM_NAME.user-data"
unset VM_USER_DATA
# The lock stands for the node's port: in a cloud, a new VM never meets the old one's.
exec flock --no-fork "$dir/run/$node.lock" "$dir/bin/vm" "$dir" "$node" sh -c "
	$dir/bin/cloud-boot $dir/vm-$VM_NAME.user-data
	trap 'exit 0' TERM
	while :; do sleep 1000 & wait \$!; done"
