#!/bin/sh
# Runs Microsoft's own Python SDK against the ARM emulator over HTTPS.
#
# Our client and our emulator could share a misunderstanding of Azure; this client cannot. The SDK comes from
# PyPI into a virtual environment in the target folder, once. Where PyPI cannot be reached the test is skipped,
# unless AZSLURM_SDK_REQUIRED=1 says that it must run. AZSLURM_ARM_EMULATOR names a built emulator; without it
# the emulator is built.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${CARGO_TARGET_DIR:-$root/target}/sdk-venv
python=$venv/bin/python

skip() {
    echo "skipped: $1"
    if [ "${AZSLURM_SDK_REQUIRED:-0}" = 1 ]; then exit 1; fi
    exit 0
}

# pip takes the machine's own index and proxy settings. A few short tries tell "no way to PyPI" from a fault.
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

reach_pypi() {
    probe=$(mktemp -d)
    reached=0
    pip --retries 1 --timeout 15 download --no-deps --dest "$probe" \
        "$(grep '^azure-core==' "$here/requirements.txt")" >"$probe/log" 2>&1 || reached=$?
    rm -rf "$probe"
    return "$reached"
}

if ! cmp -s "$here/requirements.txt" "$venv/installed" || ! "$python" -c 'import azure.mgmt.compute' 2>/dev/null
then
    python3 -c 'import ensurepip, venv' 2>/dev/null || skip "python3 with venv is missing (install python3-venv)"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    reach_pypi || skip "PyPI cannot be reached"
    pip install -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed"
fi

if [ -z "${AZSLURM_ARM_EMULATOR:-}" ]; then
    (cd "$root" && cargo build --quiet --locked -p azslurm-arm-emulator)
    AZSLURM_ARM_EMULATOR=$root/target/x86_64-unknown-linux-gnu/debug/azslurm-arm-emulator
    if [ -n "${CARGO_TARGET_DIR:-}" ]; then
        AZSLURM_ARM_EMULATOR=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/debug/azslurm-arm-emulator
    fi
fi
export AZSLURM_ARM_EMULATOR
exec "$python" -B "$here/check.py" "$@"
