#!/bin/sh
# What a VM of this cluster does when it has booted: a real slurmd, in the foreground. The emulator starts this with
# the VM's name and the rest in VM_*, and ends its process group when the VM stops.
dir=@DIR@
node=$VM_COMPUTER_NAME
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export SLURM_CONF="$dir/etc/slurm.conf"
mkdir -p "$dir/spool/$node"
cd "$dir/spool/$node" || exit 1
exec </dev/null >>"$dir/log/boot-$node.log" 2>&1
echo "$(date -u +%FT%T.%3NZ) VM ${VM_NAME:-?} boots as $node"
@AGENT@
@CHECK@
# The lock stands for the node's port: in a cloud, a new VM never meets the old one's.
# In a process namespace of its own, so that the VM's end is the end of its jobs too.
# -b: all VMs share this machine's uptime, and slurmctld wants to see a boot after its request.
exec flock --no-fork "$dir/run/$node.lock" \
	@UNSHARE@ slurmd -D -b -N "$node" -f "$SLURM_CONF"
