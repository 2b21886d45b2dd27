"""Runs every case of the files beside this one against one emulator; prints what passed and failed.

A case is a function `case_…` that takes the running emulator. Its name is a sentence. Cases run in the order
of their files and lines, and each cleans up what it made; at the end the emulator is asked what is left. An
argument runs only the cases whose name contains it.
"""

import logging
import sys
import time
import traceback

import cases_compute
import cases_failure
import cases_graph
import cases_identity
import cases_looks
import cases_network
from emulator import Emulator

FILES = [cases_identity, cases_compute, cases_network, cases_looks, cases_failure, cases_graph]


def cases():
    for file in FILES:
        for name, function in vars(file).items():
            if name.startswith("case_"):
                yield name.removeprefix("case_").replace("_", " "), function


def run(emulator, name, function):
    began = time.monotonic()
    try:
        function(emulator)
    except Exception:  # a failed case must not keep the others from running
        print(f"FAILED {name}\n{traceback.format_exc()}the emulator said:\n{emulator.log_text()[-4000:]}", flush=True)
        return False
    print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def nothing_is_left(emulator):
    """Every VM, NIC, disk, set and placement group that any case made is gone again."""
    left = emulator.control("/resources?alive=true")["resources"]
    kinds = ("virtualMachines", "networkInterfaces", "disks", "availabilitySets", "proximityPlacementGroups")
    left = [one["id"] for one in left if any(f"/{kind}/".lower() in one["id"].lower() for kind in kinds)]
    assert left == [], left


def start():
    emulator = Emulator()
    # The SDK sleeps as long as Retry-After says; the case about that sets it itself.
    emulator.control("/delays", {"retry_after_s": None, "first_poll_retry_after_s": None})
    return emulator


def main():
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # refusals are asked for
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    results = []
    emulator = start()
    try:
        for name, function in cases():
            if wanted not in name:
                continue
            results.append(run(emulator, name, function))
            if not results[-1]:
                # What it has left behind must not fail the next case too.
                emulator.end()
                emulator = start()
        results.append(run(emulator, "nothing is left in the end", nothing_is_left))
    finally:
        emulator.end()
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
