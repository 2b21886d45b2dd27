"""Starts one emulator, gives clients of the SDK that talk to it, and ends it.

Must never: know what is tested, or end a process that it did not start.
"""

import base64
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resourcegraph import ResourceGraphClient

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "33333333-3333-3333-3333-333333333333"
SECRET = "a-secret-for-this-test-only"
SYSTEM_IDENTITY = "44444444-4444-4444-4444-444444444444"
USER_IDENTITY = "55555555-5555-5555-5555-555555555555"
USER_OBJECT = "55555555-5555-5555-5555-55555555aaaa"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
FEDERATION = {"issuer": "https://issuer.test/", "subject": "system:azslurm"}
ARM_SCOPE = "https://management.azure.com/.default"
SUBNET = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network"
    "/virtualNetworks/vnet/subnets/compute"
)

# A two-core machine that compiles at the same time needs a while for the first key.
START_SECONDS = 60
# An operation of the emulator takes some tenths of a second; the SDK asks this often.
POLLING_SECONDS = 0.2
# With many operations at once that would drain the front door's reads.
BULK_POLLING_SECONDS = 2

TESTDATA = pathlib.Path(__file__).resolve().parents[1] / "arm-emulator" / "testdata"


def identities():
    """The directory that the emulator is started with, as TOML."""
    certificate = (TESTDATA / "client-certificate.pem").read_text()
    federation = ", ".join(f"{key} = {json.dumps(value)}" for key, value in FEDERATION.items())
    return f'''
tenant = "{TENANT}"

[[clients]]
client_id = "{CLIENT}"
secrets = ["{SECRET}"]
certificates = ["""
{certificate}"""]
federations = [{{ {federation} }}]

[[identities]]
client_id = "{SYSTEM_IDENTITY}"
object_id = "44444444-4444-4444-4444-44444444aaaa"

[[identities]]
client_id = "{USER_IDENTITY}"
object_id = "{USER_OBJECT}"
resource_id = "/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/azslurm"
'''


class Emulator:
    """A running emulator. Use with `with`."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="azslurm-sdk-")
        self.path = pathlib.Path(self.folder.name)
        self.ca = str(self.path / "ca.pem")
        ready = self.path / "ready.json"
        (self.path / "identities.toml").write_text(identities())
        # Local addresses must not go through the proxy that pip may have needed.
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1"
        self.log = open(self.path / "emulator.log", "wb")
        self.process = subprocess.Popen(
            [
                os.environ["AZSLURM_ARM_EMULATOR"], "--listen", "127.0.0.1:0",
                "--ready-file", str(ready), "--ca-file", self.ca,
                "--identities", str(self.path / "identities.toml"), "--die-with-parent",
            ],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        try:
            self.urls = self._wait_for(ready)
        except BaseException:
            self.end()
            raise

    def _wait_for(self, ready):
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator ended at its start:\n{self.log_text()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the emulator was not ready in {START_SECONDS} s")
            time.sleep(0.05)
        return json.loads(ready.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Ends the emulator and removes its files."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def log_text(self):
        """What the emulator has said."""
        return (self.path / "emulator.log").read_text(errors="replace")

    def control(self, path, body=None, method=None):
        """Calls the control interface; a body makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        request = urllib.request.Request(self.urls["control"] + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def credential(self, secret=SECRET, tenant=TENANT):
        """The SDK's own credential with a client secret, against the emulator's authority."""
        return ClientSecretCredential(tenant, CLIENT, secret, **self.authority())

    def authority(self):
        """What makes a credential of the SDK go to the emulator."""
        return {
            "authority": self.urls["authority"],
            "disable_instance_discovery": True,
            "connection_verify": self.ca,
        }

    def clients(self, credential=None, polling=POLLING_SECONDS):
        """Compute, network and Resource Graph, with the SDK's stock policies, over HTTPS."""
        credential = credential or self.credential()
        where = {
            "base_url": self.urls["arm_https"], "credential_scopes": [ARM_SCOPE],
            "connection_verify": self.ca, "polling_interval": polling,
        }
        return (
            ComputeManagementClient(credential, SUBSCRIPTION, **where),
            NetworkManagementClient(credential, SUBSCRIPTION, **where),
            ResourceGraphClient(credential, **where),
        )


def federated_token():
    """A token of an issuer that the application trusts. Its signature is nobody's."""
    claims = {
        "iss": FEDERATION["issuer"], "sub": FEDERATION["subject"],
        "aud": "api://AzureADTokenExchange", "exp": int(time.time()) + 600,
    }
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
