#!/bin/sh
# slurms.sh SLURMS THREADS [STORY...]: runs the stories whose names hold one of the words with each Slurm of the
# list (see slurm-root.sh), and prints a table of versions and stories. Exit status 1 if one has failed.
set -eu
slurms=$1
threads=$2
shift 2

cd "$(dirname "$0")/.."
logs=${CARGO_TARGET_DIR:-target}/slurms
mkdir -p "$logs"
table=$logs/table
: >"$table"

failed=""
for suite in $slurms; do
	tests/slurm-root.sh make "$suite"
	version=$(tests/slurm-root.sh version "$suite" | sed 's/.* //')
	echo "slurms: the stories with Slurm $version ($suite): $logs/$suite.log"
	runner="$PWD/tests/slurm-root.sh run $suite"
	if ! CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$runner cargo test --locked --workspace --test e2e -- \
		--include-ignored --test-threads="$threads" "$@" >"$logs/$suite.log" 2>&1; then
		failed="$failed $version"
	fi
	# With several threads another line may come between a test's name and its result.
	sed -n 's/^test \([a-z0-9_:]*\) \.\.\. \(ok\|FAILED\|ignored\).*/\1 \2/p' "$logs/$suite.log" |
		while read -r story result; do echo "$version $story $result"; done >>"$table"
	grep '^test result' "$logs/$suite.log" || tail -n 20 "$logs/$suite.log"
done

awk '
	!($1 in seen) { seen[$1] = 1; versions[++count] = $1 }
	{ result[$2, $1] = $3; stories[$2] = 1 }
	END {
		line = sprintf("%-90s", "story")
		for (at = 1; at <= count; at++) line = line sprintf(" %-8s", versions[at])
		print line
		for (story in stories) {
			line = sprintf("%-90s", story)
			for (at = 1; at <= count; at++) {
				said = result[story, versions[at]]
				line = line sprintf(" %-8s", said == "" ? "-" : said)
			}
			print line | "sort"
		}
	}' "$table"

if [ -n "$failed" ]; then
	echo "slurms: stories failed with Slurm$failed" >&2
	exit 1
fi
