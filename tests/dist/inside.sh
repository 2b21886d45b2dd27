#!/bin/bash
# inside.sh deb|rpm PACKAGES OLDER BUILT: what tests/dist.sh does inside of a fresh system. Each step says what it shows; the
# first that fails ends it.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
me=$(realpath "$0")

if [ "$1" = keep-ledger ]; then
	# Called by the demo while its job runs, with AZSLURM_CONFIG: the ledger with VMs that run, as a head node has it.
	etc=$(dirname "$AZSLURM_CONFIG")
	# The log beside it is there only while somebody has the ledger open.
	for file in "$etc"/../state/ledger.db{,-wal}; do
		if [ -e "$file" ]; then install -m 600 "$file" /var/lib/azslurm/; fi
	done
	install -m 644 "$etc/emulator-ca.pem" /etc/azslurm/ca.pem
	sed -e 's|^path = .*ledger.db"|path = "/var/lib/azslurm/ledger.db"|' -e '/^file = /d' \
		-e 's|^ca_bundle = .*|ca_bundle = "/etc/azslurm/ca.pem"|' "$AZSLURM_CONFIG" >/etc/azslurm/azslurm.toml
	chown slurm:slurm /var/lib/azslurm/ledger.db* /etc/azslurm/azslurm.toml
	chmod 640 /etc/azslurm/azslurm.toml
	exit 0
fi

kind=$1
packages=$2
older=$3
built=$4
step() { echo "--- $*"; }
die() {
	echo "inside: $*" >&2
	exit 1
}
must_say() { # must_say WORDS FILE
	grep -qF -- "$1" "$2" || { cat "$2" >&2; die "\"$1\" was not said"; }
}
said=$(mktemp)

# What differs between the two kinds.
package() { # package FOLDER NAME: its file
	local found=("$1/$2"[_-][0-9]*."$kind")
	echo "${found[0]}"
}
case $kind in
deb)
	install_new() { dpkg -i "$1"; }
	upgrade() { dpkg -i "$(package "$packages" "$1")"; }
	version_of() { dpkg-query --show --showformat '${Version}' "$1"; }
	remove() { dpkg --remove "$1"; }
	is_there() { [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
	;;
rpm)
	# Debian's rpm asks for the first option, and has its database in the home folder of whoever calls it.
	rpm="rpm --force-debian --dbpath /var/lib/rpm"
	# The database knows nothing of systemd, which is Debian's here.
	install_new() { $rpm --nodeps -i "$1"; }
	upgrade() { $rpm --nodeps -U "$(package "$packages" "$1")"; }
	version_of() { $rpm -q --queryformat '%{VERSION}' "$1"; }
	remove() { $rpm --nodeps -e "$1"; }
	is_there() { $rpm -q "$1" >/dev/null 2>&1; }
	;;
*) die "usage: inside.sh deb|rpm PACKAGES OLDER BUILT" ;;
esac

step "what the packages need, by apt"
apt-get update -q >"$said" 2>&1 || { tail "$said" >&2; die "apt-get update"; }
find /etc/slurm -type f -exec md5sum {} + 2>/dev/null | sort >/tmp/slurm-conf-before-$$ || true
case $kind in
deb) apt-get install -q -y --no-install-recommends "$(package "$older" azslurm)" >"$said" 2>&1 || { cat "$said" >&2; die "apt-get install"; } ;;
rpm)
	apt-get install -q -y --no-install-recommends systemd rpm >"$said" 2>&1 || { cat "$said" >&2; die "apt-get install"; }
	install_new "$(package "$older" azslurm)"
	;;
esac

step "installed, and nothing is begun or touched"
for program in azslurm-conf azslurm-resume azslurm-resume-fail azslurm-suspend azslurm-sync; do
	"/usr/sbin/$program" --version
	[ "$(stat -c '%U %a' "/usr/sbin/$program")" = "root 755" ] || die "/usr/sbin/$program: slurmctld would refuse it"
done
[ "$(stat -c '%U:%G %a' /var/lib/azslurm)" = "slurm:slurm 750" ] || die "/var/lib/azslurm: $(stat -c '%U:%G %a' /var/lib/azslurm)"
[ ! -e /etc/azslurm/azslurm.toml ] || die "a config that nobody has made"
[ -z "$(find /etc/systemd /run/systemd -name 'azslurm-sync.service' 2>/dev/null)" ] || die "the daemon is enabled"
find /etc/slurm -type f -exec md5sum {} + 2>/dev/null | sort | cmp - /tmp/slurm-conf-before-$$ || die "slurm.conf was touched"
rm -f /tmp/slurm-conf-before-$$
for path in man/man8/azslurm-sync-explain.8.gz man/man5/azslurm.toml.5.gz bash-completion/completions/azslurm-sync; do
	[ -s "/usr/share/$path" ] || die "/usr/share/$path is missing"
done
bash -n /usr/share/bash-completion/completions/azslurm-sync

step "systemd understands the units"
verified() { # verified UNIT...: what systemd says of units of ours goes to $said
	systemd-analyze verify "$@" 2>&1 | grep -F azslurm >"$said" || true
	[ ! -s "$said" ]
}
verified /usr/lib/systemd/system/azslurm-sync.service || { cat "$said" >&2; die "systemd-analyze verify"; }
sed 's/^PrivateDevices=/PrivateDevicez=/' /usr/lib/systemd/system/azslurm-sync.service >/tmp/azslurm-wrong.service
if verified /tmp/azslurm-wrong.service; then die "systemd-analyze says nothing of a unit that is wrong"; fi
rm /tmp/azslurm-wrong.service

step "the other package is refused beside it"
if [ "$kind" = deb ]; then
	if install_new "$(package "$packages" azslurm-node)" >"$said" 2>&1; then die "azslurm-node came beside azslurm"; fi
	must_say "conflict" "$said"
else
	# With dependencies looked at, for once.
	if $rpm -i --test "$(package "$packages" azslurm-node)" >"$said" 2>&1; then die "azslurm-node came beside azslurm"; fi
	must_say "conflicts with" "$said"
fi

step "a job with the installed programs; upgraded while its VMs are made, and once more while it runs"
echo "# mine" >>/etc/logrotate.d/azslurm
before=$(version_of azslurm)
again="dpkg -i $(package "$packages" azslurm)"
[ "$kind" = deb ] || again="$rpm --nodeps -U --replacepkgs $(package "$packages" azslurm)"
first=${again/ --replacepkgs/}
"$built/azslurm-demo" --programs /usr/sbin --while-creating "$first" --while-running "$again && $me keep-ledger" \
	</dev/null >"$said" 2>&1 || { cat "$said" >&2; die "the demo"; }
grep -E 'audit: ok|done in' "$said"
after=$(version_of azslurm)
echo "upgraded from $before to $after"
[ "$before" != "$after" ] || die "it was not upgraded"
grep -qx "# mine" /etc/logrotate.d/azslurm || die "an upgrade has overwritten a configuration file"

step "a ledger of a newer azslurm is refused with a sentence"
mkdir /tmp/newer-$$
runuser -u slurm -- azslurm-sync --json vms >"$said" 2>&1 || true
cp /var/lib/azslurm/ledger.db /tmp/newer-$$/
# user_version stands at byte 60 of the file's header.
printf '\000\000\000\143' | dd of=/tmp/newer-$$/ledger.db bs=1 seek=60 conv=notrunc status=none
sed "s|^path = .*ledger.db\"|path = \"/tmp/newer-$$/ledger.db\"|" /etc/azslurm/azslurm.toml >/tmp/newer-$$/azslurm.toml
code=0
azslurm-sync --config /tmp/newer-$$/azslurm.toml status >"$said" 2>&1 || code=$?
[ $code = 2 ] || die "exit code $code"
must_say "was made by a newer azslurm" "$said"
cat "$said"
rm -r /tmp/newer-$$

step "removed: the ledger stays, and what may run in Azure is said"
remove azslurm >"$said" 2>&1 || { cat "$said" >&2; die "remove"; }
must_say "the ledger stays in /var/lib/azslurm" "$said"
must_say "hpc-001-" "$said"
if is_there azslurm || [ -e /usr/sbin/azslurm-sync ]; then die "it is still there"; fi
[ -s /var/lib/azslurm/ledger.db ] || die "the ledger is gone"
[ -s /etc/azslurm/azslurm.toml ] || die "the config is gone"

if [ "$kind" = deb ]; then
	step "purged: the ledger goes, and what may run in Azure is said once more"
	dpkg --purge azslurm >"$said" 2>&1
	must_say "hpc-001-" "$said"
	cat "$said"
	[ ! -e /var/lib/azslurm ] || die "/var/lib/azslurm is left"
	[ ! -e /etc/logrotate.d/azslurm ] || die "a configuration file is left"
fi

step "the package of compute nodes: installed, upgraded with its settings, removed"
install_new "$(package "$older" azslurm-node)" >"$said" 2>&1 || { cat "$said" >&2; die "azslurm-node"; }
echo "NODE_AGENT_OPTIONS=--acknowledge" >>/etc/azslurm/node-agent.env
upgrade azslurm-node >"$said" 2>&1 || { cat "$said" >&2; die "azslurm-node"; }
grep -qx "NODE_AGENT_OPTIONS=--acknowledge" /etc/azslurm/node-agent.env || die "node-agent.env was overwritten"
azslurm-sync node-agent --help >/dev/null
verified /usr/lib/systemd/system/azslurm-{node-agent,check-infiniband}.service || { cat "$said" >&2; die "systemd-analyze verify"; }
remove azslurm-node >"$said" 2>&1 || { cat "$said" >&2; die "azslurm-node"; }

step "beside CycleCloud's azslurm it is refused"
mkdir -p /opt/azurehpc/slurm
touch /opt/azurehpc/slurm/resume_program.sh
if install_new "$(package "$packages" azslurm)" >"$said" 2>&1; then die "it was installed beside CycleCloud's"; fi
must_say "only one of them can be slurmctld's ResumeProgram" "$said"
rm -f "$said"
