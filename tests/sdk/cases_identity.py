"""Tokens: every credential of azure-identity that azslurm offers, against the emulator's authority and IMDS."""

import os

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from emulator import ARM_SCOPE, CLIENT, TENANT, TESTDATA, USER_IDENTITY, USER_OBJECT, federated_token


def lists(emulator, credential):
    """The credential's token opens the door: a list answers."""
    compute, _, _ = emulator.clients(credential)
    assert list(compute.virtual_machines.list("hpc")) == []


def refused(call):
    try:
        call()
    except ClientAuthenticationError as error:
        return error
    raise AssertionError("it was not refused")


def last_request(emulator):
    return emulator.control("/identity/requests")[-1]


def case_a_client_secret_opens_the_door(emulator):
    lists(emulator, emulator.credential())
    assert last_request(emulator) == {"endpoint": "authority", "who": "secret", "status": 200}


def case_a_client_certificate_opens_the_door(emulator):
    both = emulator.path / "client.pem"
    names = ("client-key.pem", "client-certificate.pem")
    both.write_text("".join((TESTDATA / name).read_text() for name in names))
    lists(emulator, CertificateCredential(TENANT, CLIENT, str(both), **emulator.authority()))
    assert last_request(emulator)["who"] == "certificate"


def case_a_certificate_that_is_not_registered_is_refused(emulator):
    both = emulator.path / "other.pem"
    names = ("other-key.pem", "other-certificate.pem")
    both.write_text("".join((TESTDATA / name).read_text() for name in names))
    credential = CertificateCredential(TENANT, CLIENT, str(both), **emulator.authority())
    assert "AADSTS700027" in refused(lambda: credential.get_token(ARM_SCOPE)).message


def case_a_workload_identity_opens_the_door(emulator):
    token = emulator.path / "federated-token"
    token.write_text(federated_token())
    where = emulator.authority()
    lists(emulator, WorkloadIdentityCredential(
        tenant_id=TENANT, client_id=CLIENT, token_file_path=str(token), **where))
    lists(emulator, ClientAssertionCredential(TENANT, CLIENT, federated_token, **where))
    assert last_request(emulator)["who"] == "federated"


def case_managed_identities_open_the_door_by_each_of_their_names(emulator):
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = emulator.urls["imds"]
    try:
        lists(emulator, ManagedIdentityCredential())
        lists(emulator, ManagedIdentityCredential(client_id=USER_IDENTITY))
        lists(emulator, ManagedIdentityCredential(identity_config={"object_id": USER_OBJECT}))
        resource = (
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc/providers"
            "/Microsoft.ManagedIdentity/userAssignedIdentities/azslurm"
        )
        lists(emulator, ManagedIdentityCredential(identity_config={"resource_id": resource}))
        unknown = ManagedIdentityCredential(client_id="00000000-0000-0000-0000-00000000dead")
        refused(lambda: unknown.get_token(ARM_SCOPE))
    finally:
        del os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
    asked = [one["who"] for one in emulator.control("/identity/requests") if one["endpoint"] == "imds"]
    assert asked[0] == "system" and asked[1] == f"client_id={USER_IDENTITY}", asked


def case_a_wrong_secret_is_refused_and_not_repeated(emulator):
    error = refused(lambda: emulator.credential("wrong-secret").get_token(ARM_SCOPE))
    assert "AADSTS7000215" in error.message, error.message
    assert "wrong-secret" not in error.message


def case_an_unknown_tenant_is_refused(emulator):
    nowhere = emulator.credential(tenant="22222222-2222-2222-2222-222222222222")
    error = None
    try:
        nowhere.get_token(ARM_SCOPE)
    except (ClientAuthenticationError, ValueError) as raised:  # MSAL raises ValueError from discovery
        error = str(raised)
    assert error and "22222222-2222-2222-2222-222222222222" in error, error


class Fixed:
    """A credential with a token of somebody else."""

    def get_token(self, *_scopes, **_options):
        return AccessToken("not.a.token", 9_999_999_999)


def case_a_token_of_somebody_else_is_refused(emulator):
    compute, _, _ = emulator.clients(Fixed())
    error = refused(lambda: list(compute.virtual_machines.list("hpc")))
    assert error.status_code == 401
    assert error.error.code == "InvalidAuthenticationToken", error.error


def case_a_token_for_another_service_is_refused(emulator):
    class Vault:
        def get_token(self, *_scopes, **_options):
            return emulator.credential().get_token("https://vault.azure.net/.default")

    compute, _, _ = emulator.clients(Vault())
    error = refused(lambda: list(compute.virtual_machines.list("hpc")))
    assert error.error.code == "InvalidAuthenticationTokenAudience", error.error
