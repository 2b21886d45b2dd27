#!/usr/bin/python3
"""cloud-boot USER_DATA: what cloud-init does with a cloud-config at a boot, by cloud-init's own code: write_files, then
the scripts of every boot. Its exit code is theirs."""
import sys

from cloudinit import subp, util
from cloudinit.config import cc_write_files

text = open(sys.argv[1], encoding="utf-8").read()
if not text.startswith("#cloud-config\n"):
    sys.exit("no cloud-config")
config = util.load_yaml(text)
unknown = set(config) - {"write_files"}
if unknown:
    sys.exit(f"not understood here: {unknown}")
cc_write_files.write_files("write_files", config["write_files"], "root:root")
try:
    subp.runparts("/var/lib/cloud/scripts/per-boot")
except RuntimeError as error:
    sys.exit(f"cloud-init: {error}")
