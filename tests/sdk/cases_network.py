"""Networks, and NICs that are made before their VM."""

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator import SUBNET
from vm import GROUP, create, delete, lower


def nic_body(subnet):
    return {
        "location": "westeurope",
        "properties": {"ipConfigurations": [
            {"name": "ip", "properties": {"subnet": {"id": subnet}, "privateIPAllocationMethod": "Dynamic"}},
        ]},
    }


def case_a_network_is_made_read_and_deleted(emulator):
    _, network, _ = emulator.clients()
    made = network.virtual_networks.begin_create_or_update(GROUP, "own", {
        "location": "westeurope",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.9.0.0/16"]},
            "subnets": [{"name": "small", "properties": {"addressPrefix": "10.9.0.0/29"}}],
        },
    }).result()
    assert made.provisioning_state == "Succeeded"
    subnet = network.subnets.get(GROUP, "own", "small")
    assert subnet.address_prefix == "10.9.0.0/29"
    assert "own" in [one.name for one in network.virtual_networks.list(GROUP)]

    # Azure keeps five addresses of every subnet, so a /29 has three.
    addresses = []
    for number in range(3):
        nic = network.network_interfaces.begin_create_or_update(
            GROUP, f"small{number}", nic_body(subnet.id)).result()
        addresses.append(nic.ip_configurations[0].private_ip_address)
    assert addresses == ["10.9.0.4", "10.9.0.5", "10.9.0.6"], addresses
    try:
        network.network_interfaces.begin_create_or_update(GROUP, "small3", nic_body(subnet.id)).result()
        raise AssertionError("a fourth address in a /29")
    except HttpResponseError as error:
        assert (error.status_code, error.error.code) == (400, "SubnetIsFull"), error
    for number in range(3):
        network.network_interfaces.begin_delete(GROUP, f"small{number}").result()
    network.virtual_networks.begin_delete(GROUP, "own").result()
    try:
        network.virtual_networks.get(GROUP, "own")
        raise AssertionError("the network is still there")
    except ResourceNotFoundError:
        pass


def case_a_vm_takes_a_nic_that_was_made_before_and_leaves_it(emulator):
    compute, network, _ = emulator.clients()
    nic = network.network_interfaces.begin_create_or_update(GROUP, "before", nic_body(SUBNET)).result()
    assert nic.provisioning_state == "Succeeded" and nic.virtual_machine is None
    profile = {"networkInterfaces": [
        {"id": nic.id, "properties": {"primary": True, "deleteOption": "Detach"}},
    ]}
    vm = create(compute, "with-nic", network=profile)
    assert [lower(one.id) for one in vm.network_profile.network_interfaces] == [lower(nic.id)]
    assert lower(network.network_interfaces.get(GROUP, "before").virtual_machine.id) == lower(vm.id)

    try:
        network.network_interfaces.begin_delete(GROUP, "before").result()
        raise AssertionError("a NIC in use was deleted")
    except HttpResponseError as error:
        assert (error.status_code, error.error.code) == (400, "NicInUse"), error

    delete(compute, "with-nic")
    left = network.network_interfaces.get(GROUP, "before")
    assert left.virtual_machine is None
    assert left.ip_configurations[0].private_ip_address == nic.ip_configurations[0].private_ip_address
    network.network_interfaces.begin_delete(GROUP, "before").result()


def case_a_nic_goes_with_its_vm_when_it_shall(emulator):
    compute, network, _ = emulator.clients()
    nic = network.network_interfaces.begin_create_or_update(GROUP, "bound", nic_body(SUBNET)).result()
    profile = {"networkInterfaces": [
        {"id": nic.id, "properties": {"primary": True, "deleteOption": "Delete"}},
    ]}
    create(compute, "binding", network=profile)
    delete(compute, "binding")
    assert list(network.network_interfaces.list(GROUP)) == []


def case_a_nic_of_no_subnet_is_refused(emulator):
    _, network, _ = emulator.clients()
    try:
        network.network_interfaces.begin_create_or_update(GROUP, "lost", nic_body(SUBNET + "x")).result()
        raise AssertionError("a NIC in a subnet that is not there")
    except HttpResponseError as error:
        assert error.status_code in (400, 404) and error.error.code, error
