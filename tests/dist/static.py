#!/usr/bin/env python3
"""static.py PROGRAMS BUILT: the shipped azslurm-sync in a directory that holds nothing else, in a network of its own.

It must find a name by /etc/hosts and by DNS, trust the emulator's CA by SSL_CERT_FILE and no other, and go through an HTTP
proxy when HTTPS_PROXY says so. DNS and proxy are this script's. As root, in a network namespace (unshare --net).
"""

import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

NAME = "emulator.test"
# A machine that runs other tests needs more than a moment to start a program.
PATIENCE_SECONDS = 60
DNS_PORT = 53
PROXY_PORT = 3128

CONFIG = """
[cluster]
name = "static"
[ledger]
path = "/var/lib/azslurm/ledger.db"
[log]
file = "/var/lib/azslurm/log"
[limits]
tries = 1
[cloud]
name = "custom"
authority = "https://{name}:{port}"
resource_manager = "https://{name}:{port}"
resource_graph = "https://{name}:{port}"
audience = "{audience}"
imds = "{imds}"
[site.west]
subscription = "00000000-0000-0000-0000-000000000001"
region = "westeurope"
resource_group = "hpc"
subnet = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/providers/Microsoft.Network/\
virtualNetworks/vnet/subnets/compute"
[nodeset.n]
nodes = "n[1-10]"
sites = ["west"]
sku = "Standard_D4s_v5"
image = "microsoft-dsvm:ubuntu-hpc:2204:latest"
ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x"
"""


def dns_server(asked):
    """Answers every question for an IPv4 address with the loopback's, others with nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", DNS_PORT))
    while True:
        query, client = server.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        asked.append(".".join(labels))
        is_v4 = struct.unpack(">H", query[at + 1 : at + 3])[0] == 1
        head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, is_v4, 0, 0)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1])
        server.sendto(head + query[12:end] + (answer if is_v4 else b""), client)


def copy(one, other):
    try:
        while bytes_ := one.recv(65536):
            other.sendall(bytes_)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def proxy(connected):
    """CONNECT, to the loopback whatever the name."""
    server = socket.create_server(("127.0.0.1", PROXY_PORT))
    while True:
        client, _ = server.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        connected.append(f"{method} {target}")
        upstream = socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for pair in ((client, upstream), (upstream, client)):
            threading.Thread(target=copy, args=pair, daemon=True).start()


class Root:
    """A directory with one program, a config and a place for the ledger."""

    def __init__(self, folder, program, config, hosts="", resolv="", ca=None):
        self.folder = folder
        for part in ("etc/azslurm", "var/lib/azslurm", "sbin", "dev"):
            os.makedirs(f"{folder}/{part}")
        # All that is there of a system: a static glibc program finds no getrandom(2) by name, and reads these instead.
        for name, minor in (("random", 8), ("urandom", 9)):
            os.mknod(f"{folder}/dev/{name}", 0o444 | stat.S_IFCHR, os.makedev(1, minor))
        subprocess.run(["cp", program, f"{folder}/sbin/azslurm-sync"], check=True)
        texts = {"etc/azslurm/azslurm.toml": config, "etc/hosts": hosts, "etc/resolv.conf": resolv}
        for path, text in texts.items():
            if text:
                with open(f"{folder}/{path}", "w", encoding="utf-8") as file:
                    file.write(text)
        os.chmod(f"{folder}/etc/azslurm/azslurm.toml", 0o600)
        if ca:
            subprocess.run(["cp", ca, f"{folder}/ca.pem"], check=True)

    def run(self, *words, **environment):
        command = ["/usr/sbin/chroot", self.folder, "/sbin/azslurm-sync", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    def azure(self, **environment):
        """Whether the program knows what is in Azure, and everything that it printed."""
        done = self.run("--json", "vms", "--azure", **environment)
        said = done.stdout + done.stderr
        try:
            sources = json.loads(done.stdout)["sources"]
        except ValueError:
            return False, said
        azure = [source for source in sources if source["name"] == "azure"]
        return bool(azure) and azure[0]["unknown"] is None, said


def main():
    programs, built = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    asked, connected = [], []
    for work, heard in ((dns_server, asked), (proxy, connected)):
        threading.Thread(target=work, args=(heard,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="azslurm-static-") as scratch:
        ready, ca = f"{scratch}/ready.json", f"{scratch}/ca.pem"
        words = ["--listen", "127.0.0.1:0", "--die-with-parent", "--ready-file", ready, "--ca-file", ca]
        emulator = subprocess.Popen([f"{built}/azslurm-arm-emulator", *words], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not os.path.exists(ready):
                assert time.monotonic() < deadline and emulator.poll() is None, "the emulator does not start"
                time.sleep(0.05)
            with open(ready, encoding="utf-8") as file:
                urls = json.load(file)
            told(scratch, programs, urls, ca, asked, connected)
        finally:
            emulator.terminate()
            emulator.wait()


def told(scratch, programs, urls, ca, asked, connected):
    audience = urls["arm_https"]
    port = audience.rstrip("/").rpartition(":")[2]
    config = CONFIG.format(name=NAME, port=port, audience=audience, imds=urls["imds"])
    program = f"{programs}/azslurm-sync"
    hosts = f"127.0.0.1 {NAME}\n"
    count = 0

    def root(**parts):
        nonlocal count
        count += 1
        return Root(f"{scratch}/root-{count}", program, config, **parts)

    # A pass makes the ledger, which the look below needs; slurmctld is not there, so it does no more.
    first = root(hosts=hosts, ca=ca)
    first.run("pass", "--wait", "0", SSL_CERT_FILE="/ca.pem")
    ledger = f"{first.folder}/var/lib/azslurm/ledger.db"

    def must(what, root, words=None, **environment):
        subprocess.run(["cp", ledger, f"{root.folder}/var/lib/azslurm"], check=True)
        is_known, said = root.azure(**environment)
        good = is_known if words is None else (not is_known and words in said)
        print(f"{'ok  ' if good else 'BAD '} {what}", flush=True)
        if not good:
            print(said)
            sys.exit(1)

    trusted = {"SSL_CERT_FILE": "/ca.pem"}
    through = {"HTTPS_PROXY": f"http://127.0.0.1:{PROXY_PORT}"}
    must("a name of /etc/hosts, the CA by SSL_CERT_FILE", root(hosts=hosts, ca=ca), **trusted)
    assert not asked and not connected, (asked, connected)
    must("without CA certificates it says so", root(hosts=hosts), words="CA certificates: none of")
    other = f"{scratch}/other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        + ["-subj", "/CN=other", "-keyout", f"{scratch}/other.key", "-out", other],
        check=True,
        capture_output=True,
    )
    must("a server of another CA is not believed", root(hosts=hosts, ca=other), words="UnknownIssuer", **trusted)
    must("a name by DNS", root(resolv="nameserver 127.0.0.1\n", ca=ca), **trusted)
    assert NAME in asked, asked
    asked.clear()
    must("through a proxy, which resolves the name", root(ca=ca), **trusted, **through)
    assert f"CONNECT {NAME}:{port}" in connected and not asked, (connected, asked)
    connected.clear()
    must("past the proxy by NO_PROXY", root(hosts=hosts, ca=ca), **trusted, **through, NO_PROXY=NAME)
    assert not connected, connected
    must("without anybody to resolve a name it says so, and asks nobody", root(ca=ca), words="resolv", **trusted)


main()
