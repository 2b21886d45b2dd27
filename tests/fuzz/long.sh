#!/bin/bash
# `make fuzz`: the coverage-guided engine over every target in turn, each for its share of the time.
#
#   tests/fuzz/long.sh MINUTES [TARGET…]
#
# The engine is libFuzzer, which cargo builds from a crate; a C++ compiler is all else that it needs. Its counters are
# switched on by codegen flags of stable rustc, for this build alone: it has a target folder of its own.
#
# What is found is kept below target/fuzz/found/<target>/ with a line that says how to run it again; what reaches new code
# is kept in target/fuzz/corpus/<target>/ and begun with the next time. Nothing is written into the tree: an input that
# broke something goes into tests/fuzz/corpus/<target>/ by hand, with the fix.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
minutes=${1:?how many minutes}
shift
kept=$root/target/fuzz
binary=$kept/x86_64-unknown-linux-gnu/release/azslurm-fuzz-engine

# Longer inputs find nothing that these do not, and take longer.
LENGTH_MAX=8192
# One input may take so many seconds, and so many megabytes: what needs more takes them out of proportion.
SECONDS_MAX=20
MEGABYTES_MAX=1500

if ! command -v c++ >/dev/null; then
	echo "make fuzz: installing g++, which builds libFuzzer"
	apt-get install -y --no-install-recommends g++
fi

echo "make fuzz: building the engine"
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
counters+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
counters+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
(cd "$root/tests/fuzz/engine" &&
	CARGO_TARGET_DIR=$kept RUSTFLAGS=$counters cargo build --locked --release --target x86_64-unknown-linux-gnu)

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
	for folder in "$root"/tests/fuzz/corpus/*/; do
		targets+=("$(basename "$folder")")
	done
fi
seconds=$((minutes * 60 / ${#targets[@]}))
[ "$seconds" -gt 0 ] || seconds=1

bad=0
printf '%-14s %12s %8s %8s  %s\n' target runs seconds corpus found
for target in "${targets[@]}"; do
	mkdir -p "$kept/corpus/$target" "$kept/found/$target"
	log=$kept/$target.log
	touch "$kept/begun"
	AZSLURM_FUZZ_TARGET=$target nice "$binary" \
		-fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 \
		-max_total_time="$seconds" -max_len=$LENGTH_MAX -timeout=$SECONDS_MAX -rss_limit_mb=$MEGABYTES_MAX \
		-artifact_prefix="$kept/found/$target/" \
		"$kept/corpus/$target" "$root/tests/fuzz/corpus/$target" >"$log" 2>&1 || true
	runs=$(sed -n 's/^#\([0-9]*\): cov: .*/\1/p' "$log" | tail -1)
	inputs=$(find "$kept/corpus/$target" -type f | wc -l)
	new=$(find "$kept/found/$target" -type f -newer "$kept/begun")
	printf '%-14s %12s %8s %8s  %s\n' "$target" "${runs:-?}" "$seconds" "$inputs" "${new:+FOUND}"
	if [ -z "$runs" ]; then
		echo "make fuzz: $target did not run; see $log" >&2
		bad=1
	fi
	if [ -n "$new" ]; then
		bad=1
		while read -r input; do
			echo "  to run it again: cargo run -p azslurm-fuzz -- $target $input"
		done <<<"$new"
	fi
done
exit $bad
