#!/bin/bash
# dist.sh PROGRAMS GENERATE OUT VERSION: packs the programs of the folder PROGRAMS, which are built and stripped, for Debian's
# and RPM's systems, into the folder OUT. GENERATE is azslurm-generate, built.
#
# The same programs, VERSION and SOURCE_DATE_EPOCH give the same bytes: every time is the commit's, every owner is root, every
# list is sorted, and nothing of the machine's name or folders is in them. packaging/reproduce.sh shows it.
#
# Two trees are made, one for head nodes and one for compute nodes; both kinds of packages are made of the same trees.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

die() {
	echo "dist: $*" >&2
	exit 1
}

[ $# = 4 ] || die "usage: dist.sh PROGRAMS GENERATE OUT VERSION"
packaging=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$packaging")
programs=$(realpath "$1")
generate=$(realpath "$2")
mkdir -p "$3"
out=$(realpath "$3")
version=$4
: "${SOURCE_DATE_EPOCH:=$("$packaging/version.sh" epoch)}"
export SOURCE_DATE_EPOCH
# How hard xz tries, 0 to 9. Packages for a test need not be small.
: "${LEVEL:=6}"
for tool in dpkg-deb rpmbuild cargo gzip; do
	command -v "$tool" >/dev/null || die "$tool is missing: make deps-dist"
done

head_programs="azslurm-conf azslurm-resume azslurm-resume-fail azslurm-suspend azslurm-sync"
target=x86_64-unknown-linux-gnu
deb_arch=amd64
rpm_arch=x86_64

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- What is made of the programs' own definitions --------------------------------------------------------------------

made=$work/made
packages=()
for program in $head_programs; do packages+=(--package "$program"); done
cd "$repository"
cargo metadata --locked --format-version 1 --filter-platform "$target" >"$work/metadata.json"
cargo tree --locked --target "$target" --edges normal --prefix none --format '{p}' "${packages[@]}" >"$work/tree"
debian_version() { dpkg-query --show --showformat '${Version}' "$1" 2>/dev/null || echo unknown; }
"$generate" --metadata "$work/metadata.json" --tree "$work/tree" --package-version "$version" --epoch "$SOURCE_DATE_EPOCH" \
	--system "glibc=$(debian_version libc6-dev)=LGPL-2.1-or-later" \
	--system "libgcc=$(debian_version libgcc-12-dev)=GPL-3.0-or-later WITH GCC-exception-3.1" \
	--system "rust-std=$(rustc --version | cut -d' ' -f2)=MIT OR Apache-2.0" \
	"$made"
# The C library's own license, which no crate carries.
lgpl=/usr/share/common-licenses/LGPL-2.1
[ -e "$lgpl" ] || die "$lgpl is missing: the text of the C library's license belongs into the packages"
{
	printf '\n%s\nglibc\n\n' "$(printf '=%.0s' {1..100})"
	cat "$lgpl"
} >>"$made/third-party-licenses.txt"

# --- The trees --------------------------------------------------------------------------------------------------------

put() { # put MODE FILE TO: a file into the tree $tree
	install -D -m "$1" "$2" "$tree$3"
}
put_packed() { # put_packed FILE TO
	mkdir -p "$(dirname "$tree$2")"
	gzip -9n <"$1" >"$tree$2.gz"
	chmod 644 "$tree$2.gz"
}
put_program() { # put_program NAME: with its completions
	put 755 "$programs/$1" "/usr/sbin/$1"
	put 644 "$made/completions/bash/$1" "/usr/share/bash-completion/completions/$1"
	put 644 "$made/completions/zsh/_$1" "/usr/share/zsh/vendor-completions/_$1"
	put 644 "$made/completions/fish/$1.fish" "/usr/share/fish/vendor_completions.d/$1.fish"
}
put_pages() { # put_pages PATTERN
	local page
	for page in "$made"/man/man8/$1; do put_packed "$page" "/usr/share/man/man8/$(basename "$page")"; done
}
put_papers() { # put_papers PACKAGE
	local doc=/usr/share/doc/$1
	put 644 "$packaging/deb/copyright" "$doc/copyright"
	put_packed "$made/third-party-licenses.txt" "$doc/third-party-licenses.txt"
	put_packed "$made/sbom.cdx.json" "$doc/sbom.cdx.json"
	put_packed "$repository/CHANGELOG.md" "$doc/changelog"
}

tree=$work/azslurm
for program in $head_programs; do put_program "$program"; done
put_pages 'azslurm*'
put_packed "$made/man/man5/azslurm.toml.5" /usr/share/man/man5/azslurm.toml.5
put 644 "$packaging/azslurm-sync.service" /usr/lib/systemd/system/azslurm-sync.service
put 644 "$packaging/files/tmpfiles.conf" /usr/lib/tmpfiles.d/azslurm.conf
put 644 "$packaging/files/logrotate" /etc/logrotate.d/azslurm
put 644 "$repository/slurm-conf/azslurm.toml" /usr/share/doc/azslurm/examples/azslurm.toml
put_papers azslurm

tree=$work/azslurm-node
put_program azslurm-sync
put_pages 'azslurm-sync*'
for unit in azslurm-node-agent azslurm-check-infiniband; do
	put 644 "$packaging/$unit.service" "/usr/lib/systemd/system/$unit.service"
done
put 644 "$packaging/files/node-agent.env" /etc/azslurm/node-agent.env
put_papers azslurm-node

# --- Debian -----------------------------------------------------------------------------------------------------------

build_deb() { # build_deb PACKAGE
	local root=$work/deb/$1 script
	mkdir -p "$work/deb"
	cp -a "$work/$1" "$root"
	tree=$root
	if [ "$1" = azslurm ]; then
		mkdir -p "$root/etc/azslurm"
		put 644 "$packaging/files/sysusers-deb.conf" /usr/lib/sysusers.d/azslurm.conf
	fi
	mkdir -p "$root/usr/share/lintian/overrides"
	sed "s/@PACKAGE@/$1/" "$packaging/files/lintian-overrides" >"$root/usr/share/lintian/overrides/$1"
	{
		echo "$1 ($version-1) unstable; urgency=medium"
		echo
		echo "  * What changed stands in changelog.gz."
		echo
		echo " -- azslurm maintainers <azslurm@users.noreply.github.com>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")"
	} >"$work/changelog.Debian"
	put_packed "$work/changelog.Debian" "/usr/share/doc/$1/changelog.Debian"

	mkdir -p "$root/DEBIAN"
	(cd "$root" && find etc -type f 2>/dev/null | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
	(cd "$root" && find . -type f -not -path './DEBIAN/*' -not -path './etc/*' -printf '%P\n' | sort | xargs -d '\n' md5sum) \
		>"$root/DEBIAN/md5sums"
	sed -e "s/@VERSION@/$version-1/" -e "s/@ARCH@/$deb_arch/" \
		-e "s/@SIZE@/$(find "$work/$1" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')/" \
		"$packaging/deb/$1.control" >"$root/DEBIAN/control"
	for script in preinst postinst prerm postrm; do
		if [ -e "$packaging/deb/$1.$script" ]; then install -m 755 "$packaging/deb/$1.$script" "$root/DEBIAN/$script"; fi
	done
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	# xz: dpkg of Debian 11 reads no zstd.
	dpkg-deb --root-owner-group -Zxz "-z$LEVEL" --build "$root" "$out/$1_$version-1_$deb_arch.deb"
}

rm -f "$out"/*.deb "$out"/*.rpm "$out/SHA256SUMS"
build_deb azslurm
build_deb azslurm-node

# --- RPM --------------------------------------------------------------------------------------------------------------

list_of() { # list_of PACKAGE: its files as %files wants them
	echo "%license /usr/share/licenses/$1"
	(cd "$work/rpm/$1" && find . -type f -printf '/%P\n') | sort | while read -r path; do
		case $path in
		/usr/share/licenses/*) ;;
		/etc/*) echo "%config(noreplace) $path" ;;
		/usr/share/doc/*) echo "%doc $path" ;;
		*) echo "$path" ;;
		esac
	done
}
build_rpms() {
	local package
	mkdir -p "$work/rpm" "$work/stage"
	for package in azslurm azslurm-node; do
		cp -a "$work/$package" "$work/rpm/$package"
		tree=$work/rpm/$package
		mkdir -p "$tree/usr/share/licenses/$package" "$tree/usr/share/zsh/site-functions"
		rm "$tree/usr/share/doc/$package/copyright"
		cp "$repository"/LICENSE* "$tree/usr/share/licenses/$package"
		mv "$tree/usr/share/doc/$package/third-party-licenses.txt.gz" "$tree/usr/share/licenses/$package"
		# Where zsh looks on these systems.
		mv "$tree"/usr/share/zsh/vendor-completions/* "$tree/usr/share/zsh/site-functions"
		rmdir "$tree/usr/share/zsh/vendor-completions"
		if [ "$package" = azslurm ]; then put 644 "$packaging/files/sysusers-rpm.conf" /usr/lib/sysusers.d/azslurm.conf; fi
		chmod -R u=rwX,go=rX "$tree"
		list_of "$package" >"$work/$package.files"
		cp -a "$tree/." "$work/stage/"
	done
	echo '%dir /etc/azslurm' >>"$work/azslurm.files"
	find "$work/stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	sed -e "s|@VERSION@|$version|" -e "s|@STAGE@|$work/stage|" -e "s|@FILES@|$work/azslurm.files|" \
		-e "s|@NODE_FILES@|$work/azslurm-node.files|" \
		-e "s|@DATE@|$(date -u -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')|" "$packaging/rpm/azslurm.spec.in" >"$work/azslurm.spec"
	rpmbuild --quiet -bb --target "$rpm_arch-linux" \
		--define "_topdir $work/rpmbuild" --define "_rpmdir $out" --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
		--define "_buildhost reproducible" --define "use_source_date_epoch_as_buildtime 1" \
		--define "clamp_mtime_to_source_date_epoch 1" --define "source_date_epoch_from_changelog 0" \
		--define "_binary_payload w$LEVEL.xzdio" "$work/azslurm.spec"
}
build_rpms

cp "$made/sbom.cdx.json" "$out/azslurm-$version.cdx.json"
(cd "$out" && sha256sum ./*.deb ./*.rpm ./*.cdx.json | sed 's|\./||' | sort -k2 >SHA256SUMS)
ls -l "$out"
