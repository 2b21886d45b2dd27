"""Bodies of VMs and the few steps that most cases take with them."""

from azure.core.exceptions import ResourceNotFoundError

from emulator import SUBNET

GROUP = "hpc"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBcVqTG8Xd0kqZkq0m4tGfhkZl9pJm2XzYc0b8nq3n1V test"


def inline_nic(name):
    """A NIC that Azure makes with the VM and takes away with it."""
    return {
        "networkApiVersion": "2020-11-01",
        "networkInterfaceConfigurations": [{
            "name": name,
            "properties": {
                "primary": True, "deleteOption": "Delete",
                "ipConfigurations": [{
                    "name": "ip", "properties": {"primary": True, "subnet": {"id": SUBNET}},
                }],
            },
        }],
    }


def body(name, network=None, tags=None, properties=None):
    """The PUT of a Linux VM; `properties` go over the usual ones."""
    return {
        "location": "westeurope",
        "tags": tags or {},
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {
                "imageReference": {
                    "publisher": "almalinux", "offer": "almalinux-x86_64", "sku": "9-gen2", "version": "latest",
                },
                "osDisk": {
                    "createOption": "FromImage", "deleteOption": "Delete", "caching": "ReadOnly",
                    "managedDisk": {"storageAccountType": "Premium_LRS"},
                },
            },
            "osProfile": {
                "computerName": name, "adminUsername": "azureuser",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {"publicKeys": [
                        {"path": "/home/azureuser/.ssh/authorized_keys", "keyData": KEY},
                    ]},
                },
            },
            "networkProfile": network or inline_nic(name),
            **(properties or {}),
        },
    }


def create(compute, name, **wanted):
    """Creates a VM and waits until it is provisioned."""
    made = compute.virtual_machines.begin_create_or_update(GROUP, name, body(name, **wanted)).result()
    assert made.provisioning_state == "Succeeded", made.provisioning_state
    return made


def delete(compute, name):
    """Deletes a VM and sees that it is gone."""
    compute.virtual_machines.begin_delete(GROUP, name).result()
    try:
        compute.virtual_machines.get(GROUP, name)
    except ResourceNotFoundError:
        return
    raise AssertionError(f"{name} is still there")


def statuses(view):
    """The codes of an instance view."""
    return [status.code for status in view.statuses]


def lower(text):
    """Resource ids come back with changed case: compare them without."""
    return text.lower()
