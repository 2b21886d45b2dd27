#!/bin/bash
# systemd.sh PACKAGES BUILT RESULT: what tests/dist.sh does in a Debian that has booted with its own systemd, which the unit
# dist-test.service starts: a head node from `apt install` to its daemon, in the sandbox of its unit. Writes `ok` into the
# file RESULT, or nothing.
set -euo pipefail
export LC_ALL=C
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
packages=$1
built=$2
result=$3
# A machine that runs other tests needs more than a moment.
patience=120

step() { echo "--- $*"; }
die() {
	echo "systemd: $*"
	systemctl --no-pager --full status azslurm-sync slurmctld munge || true
	journalctl --no-pager -n 60 || true
	exit 1
}
finally() {
	echo "--- the end"
	systemctl poweroff --no-block
}
trap finally EXIT
wait_for() { # wait_for WHAT COMMAND...
	local what=$1 until=$((SECONDS + patience))
	shift
	until "$@" >/tmp/waiting 2>&1; do
		if [ $SECONDS -gt $until ]; then
			cat /tmp/waiting
			die "not within $patience s: $what"
		fi
		sleep 0.5
	done
}

step "$(systemd --version 2>/dev/null | head -1 || true) $(systemctl --version | head -1), $(slurmctld -V)"
[ "$(systemctl is-enabled azslurm-sync 2>/dev/null || true)" = disabled ] || die "the package has enabled the daemon"
[ "$(systemctl is-active azslurm-sync || true)" = inactive ] || die "the package has started the daemon"
systemctl cat azslurm-sync >/dev/null || die "systemd does not find the unit"

step "a config by azslurm-conf init, nodes in slurm.conf by azslurm-conf apply, Azure by the emulator"
mkdir -p /run/emulator
"$built/azslurm-arm-emulator" --listen 127.0.0.1:0 --ready-file /run/emulator/ready.json --ca-file /etc/azslurm/ca.pem &
wait_for "the emulator" test -s /run/emulator/ready.json
url() { sed "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/" /run/emulator/flat.json; }
tr -d '\n' </run/emulator/ready.json >/run/emulator/flat.json
echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x" >/etc/azslurm/admin.pub
subscription=00000000-0000-0000-0000-000000000001
azslurm-conf init --yes --cluster demo --controller "$(uname -n)" --region westeurope --resource-group hpc \
	--subscription $subscription --nodeset htc --nodes 'htc-[1-4]' --image microsoft-dsvm:ubuntu-hpc:2204:latest \
	--subnet /subscriptions/$subscription/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute
cat >>/etc/azslurm/azslurm.toml <<-END

	[cloud]
	name = "custom"
	authority = "$(url authority)"
	resource_manager = "$(url arm_https)"
	audience = "$(url arm_https)"
	resource_graph = "$(url resource_graph)"
	imds = "$(url imds)"
	ca_bundle = "/etc/azslurm/ca.pem"
END
chown root:slurm /etc/azslurm/azslurm.toml
chmod 640 /etc/azslurm/azslurm.toml
cat >/etc/slurm/slurm.conf <<-END
	ClusterName=demo
	SlurmctldHost=$(uname -n)
	SlurmUser=slurm
	StateSaveLocation=/var/lib/slurm/slurmctld
	ProctrackType=proctrack/linuxproc
	SelectType=select/cons_tres
END
# slurmctld resolves no name, not even its own, on a machine that has nothing but a loopback.
ip link add head0 type veth peer name head1
ip addr add 10.99.0.1/24 dev head0
ip link set head0 up
echo "10.99.0.1 $(uname -n)" >>/etc/hosts
install -d -o slurm -g slurm /var/lib/slurm/slurmctld
systemctl start munge || die "munge"
azslurm-conf apply --yes --slurmctld-stopped || die "azslurm-conf apply"
systemctl start slurmctld || die "slurmctld"
wait_for "slurmctld" sh -c 'scontrol ping | grep -q "is UP"'

step "the daemon in the sandbox of its unit"
systemctl enable --now azslurm-sync || die "systemctl enable --now azslurm-sync"
[ "$(systemctl is-active azslurm-sync)" = active ] || die "it does not run"
pid=$(systemctl show -P MainPID azslurm-sync)
grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr '\n\t' '; '
echo
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" = "$(id -u slurm)" ] || die "it is not SlurmUser's"
[ "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" = 0000000000000000 ] || die "it has capabilities"
[ "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" = 2 ] || die "its system calls are not filtered"
wait_for "the status of a pass" sh -c 'systemctl show -P StatusText azslurm-sync | grep -q .'
systemctl show -P StatusText azslurm-sync

step "a VM comes and goes by slurmctld's words, followed by the daemon"
scontrol update nodename=htc-1 state=power_up || die "power_up"
wait_for "a VM that runs" sh -c 'runuser -u slurm -- azslurm-sync vms --azure | grep "htc-1-.* running "'
runuser -u slurm -- azslurm-sync vms --azure
scontrol update nodename=htc-1 state=power_down_force || die "power_down_force"
wait_for "no VM" sh -c 'runuser -u slurm -- azslurm-sync vms --azure | grep -x "no VMs"'

step "an upgrade restarts the daemon that runs; its sandbox stopped nothing that it wanted"
dpkg -i "$packages"/azslurm_[0-9]*.deb || die "dpkg -i"
[ "$(systemctl is-active azslurm-sync)" = active ] || die "the daemon does not run after the upgrade"
[ "$(systemctl show -P MainPID azslurm-sync)" != "$pid" ] || die "the old daemon still runs"
[ "$(systemctl show -P NRestarts azslurm-sync)" = 0 ] || die "it has died"
if journalctl --no-pager -u azslurm-sync | grep -iE 'not permitted|permission denied|read-only|status=31|core-dump'; then
	die "its sandbox is in its way"
fi
journalctl --no-pager -t azslurm-resume -n 3
systemctl reload azslurm-sync || die "reload"

step "removed: it is stopped and disabled, slurmctld runs on"
dpkg --remove azslurm || die "dpkg --remove"
[ "$(systemctl is-active azslurm-sync || true)" != active ] || die "it still runs"
[ "$(systemctl is-active slurmctld)" = active ] || die "slurmctld was stopped"
echo ok >"$result"
