#!/bin/sh
# vm DIR NODE COMMAND...: runs a command as on a machine of its own: with its own root (what it changes of this
# machine's files is seen by nobody else, and gone at its end), host name, mounts, processes, and a systemctl of ours.
# DIR and the folders in VM_KEEP are the real ones; DIR/vm/NODE/console is its serial console.
if [ "${VM_STAGE:-}" != inside ]; then
	VM_STAGE=inside exec unshare --mount --uts --pid --fork --kill-child --propagation private "$0" "$@"
fi
set -eu
bin=${0%/*}
dir=$1 node=$2
shift 2
home=$dir/vm/$node
mkdir -p "$home/disk"
: >>"$home/console"
mount -t tmpfs tmpfs "$home/disk"
cd "$home/disk"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=upper,workdir=work" root
cd root
mount -t proc proc proc
mount --rbind /sys sys
# Devices of its own: a test may make a disk of a loop device.
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/loop* dev
mount --bind /dev/pts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s /proc/self/fd dev/fd
: >dev/console
mount --bind "$home/console" dev/console
mount -t tmpfs tmpfs run
cp "$bin/systemctl" usr/bin/systemctl
cp "$bin/systemctl" usr/bin/journalctl
# The network is this machine's: what a VM forbids there is only written down.
printf '#!/bin/sh\nexec cat >/run/nft\n' >usr/sbin/nft
chmod 755 usr/sbin/nft
for keep in "$dir" ${VM_KEEP:-}; do
	mkdir -p ".$keep"
	mount --bind "$keep" ".$keep"
done
# The cluster's sockets are no business of a VM's: where slurm.conf has munge's, it finds its own.
if [ -d "$dir/run" ]; then
	mount -t tmpfs tmpfs ".$dir/run"
	ln -s /run/munge/munge.socket.2 ".$dir/run/munge.sock"
fi
hostname "$node"
unset VM_STAGE
exec chroot . "$@"
