#!/bin/bash
# The proof: so many schedules of the simulation, then one run for each mutation of mutations.toml
# until a law is broken, and the sum. `prove.sh SCHEDULES MUTANT_SCHEDULES [MUTATION...]`; 0
# schedules: only mutations.
set -euo pipefail
cd "$(dirname "$0")/../.."

schedules=$1
mutant_schedules=$2
shift 2
seed=${SEED:-1}
threads=${THREADS:-2}
target=${CARGO_TARGET_DIR:-target}
programs=$target/x86_64-unknown-linux-gnu/prove
tree=$target/mutants/tree

began=$SECONDS
cargo build --locked --profile prove -p azslurm-sim
"$programs/azslurm-mutate" write "$tree"
# The copy's packages have another version than its lock file says.
cargo build --offline --profile prove -p azslurm-sim --bin azslurm-prove-mutants \
	--manifest-path "$tree/Cargo.toml" --target-dir "$target"
built=$((SECONDS - began))

# Memory that one schedule gives back is the next one's.
export MIMALLOC_PURGE_DELAY=-1

failed=0
sum=""
began=$SECONDS
if [ "$schedules" -gt 0 ]; then
	"$programs/azslurm-prove" --schedules "$schedules" --seed "$seed" --threads "$threads" |
		tee "$target/mutants/prove.txt" || failed=1
	# Each cell of the matrices laid by hand; and long schedules whose passes follow each other
	# closely, to see which cells chance meets.
	"$programs/azslurm-prove" --scenes --long --schedules $((schedules / 500)) --seed "$seed" \
		--threads "$threads" --cells "$target/mutants/cells.txt" |
		tee -a "$target/mutants/prove.txt" || failed=1
	sum=$(grep -E ' violations$|^matrix of | scenes ' "$target/mutants/prove.txt" | sed 's/^/prove: /')$'\n'
fi
proven=$((SECONDS - began))

began=$SECONDS
"$programs/azslurm-mutate" hunt "$programs/azslurm-prove-mutants" --seed "$seed" \
	--schedules "$mutant_schedules" --threads "$threads" "$@" |
	tee "$target/mutants/hunt.txt" || failed=1
hunted=$((SECONDS - began))

echo
printf '%s' "$sum"
echo "prove: $(grep '^mutations: ' "$target/mutants/hunt.txt")"
echo "prove: built in $built s, schedules $proven s, mutations $hunted s"
exit $failed
