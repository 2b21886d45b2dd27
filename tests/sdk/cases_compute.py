"""VMs, availability sets, placement groups, sizes and quota: the everyday life."""

import base64
import datetime

from azure.core.exceptions import ResourceNotFoundError

from emulator import BULK_POLLING_SECONDS, SUBNET
from vm import GROUP, body, create, delete, lower, statuses

PAGE_VMS = 60


def case_a_vm_with_an_inline_nic_lives_and_is_gone(emulator):
    compute, network, _ = emulator.clients()
    poller = compute.virtual_machines.begin_create_or_update(GROUP, "n1", body("n1", tags={"a": "b"}))
    assert poller.status() in ("InProgress", "Creating", "Succeeded"), poller.status()
    made = poller.result()
    assert made.provisioning_state == "Succeeded"
    assert len(made.vm_id) == 36 and made.type == "Microsoft.Compute/virtualMachines"
    assert made.tags["a"] == "b"
    assert made.time_created.tzinfo is not None
    assert abs(datetime.datetime.now(datetime.timezone.utc) - made.time_created).total_seconds() < 120

    seen = compute.virtual_machines.get(GROUP, "n1", expand="instanceView")
    assert "PowerState/running" in statuses(seen.instance_view), statuses(seen.instance_view)
    view = compute.virtual_machines.instance_view(GROUP, "n1")
    assert "ProvisioningState/succeeded" in statuses(view)
    assert "PowerState/running" in statuses(view)

    (reference,) = seen.network_profile.network_interfaces
    assert reference.delete_option == "Delete"
    nic = network.network_interfaces.get(GROUP, reference.id.rsplit("/", 1)[1])
    assert lower(nic.virtual_machine.id) == lower(seen.id)
    (address,) = nic.ip_configurations
    assert lower(address.subnet.id) == lower(SUBNET)
    assert address.private_ip_address.startswith("10.0."), address.private_ip_address

    disk = seen.storage_profile.os_disk
    assert disk.name and disk.managed_disk.id
    assert disk.name in [one.name for one in compute.disks.list_by_resource_group(GROUP)]

    delete(compute, "n1")
    assert list(network.network_interfaces.list(GROUP)) == []
    assert list(compute.disks.list_by_resource_group(GROUP)) == []


def case_lists_come_in_pages_and_hold_every_vm_once(emulator):
    compute, _, _ = emulator.clients(polling=BULK_POLLING_SECONDS)
    names = [f"page{number:03}" for number in range(PAGE_VMS)]
    pollers = [compute.virtual_machines.begin_create_or_update(GROUP, name, body(name)) for name in names]
    for poller in pollers:
        assert poller.result().provisioning_state == "Succeeded"
    for listed in (
        compute.virtual_machines.list(GROUP),
        compute.virtual_machines.list_all(),
        compute.virtual_machines.list_by_location("westeurope"),
    ):
        pages = [[vm.name for vm in page] for page in listed.by_page()]
        assert len(pages) > 1, "more than one page was expected"
        assert sorted(sum(pages, [])) == names
    status_only = compute.virtual_machines.list_all(status_only="true")
    assert sorted(vm.name for vm in status_only) == names
    pollers = [compute.virtual_machines.begin_delete(GROUP, name, force_deletion=True) for name in names]
    for poller in pollers:
        poller.result()
    assert list(compute.virtual_machines.list(GROUP)) == []


def case_tags_are_patched_and_the_rest_stays(emulator):
    compute, _, _ = emulator.clients()
    made = create(compute, "tagged", tags={"old": "1"})
    patched = compute.virtual_machines.begin_update(GROUP, "tagged", {"tags": {"new": "2"}}).result()
    assert patched.vm_id == made.vm_id
    seen = compute.virtual_machines.get(GROUP, "tagged")
    assert seen.tags.get("new") == "2" and "old" not in seen.tags, seen.tags
    assert seen.hardware_profile.vm_size == "Standard_D2s_v5"
    delete(compute, "tagged")


def case_a_vm_is_stopped_started_deallocated_and_restarted(emulator):
    compute, _, _ = emulator.clients()
    create(compute, "power")
    vms = compute.virtual_machines

    def power():
        codes = statuses(vms.instance_view(GROUP, "power"))
        return [code for code in codes if code.startswith("PowerState/")]

    for act, expected in (
        (vms.begin_power_off, "stopped"), (vms.begin_start, "running"),
        (vms.begin_deallocate, "deallocated"), (vms.begin_start, "running"),
        (vms.begin_restart, "running"),
    ):
        act(GROUP, "power").result()
        assert power() == [f"PowerState/{expected}"], (act.__name__, power())
    delete(compute, "power")


def case_the_same_put_twice_is_one_vm(emulator):
    compute, _, _ = emulator.clients()
    first = create(compute, "twice")
    second = create(compute, "twice")
    assert first.vm_id == second.vm_id
    assert len(list(compute.virtual_machines.list(GROUP))) == 1
    delete(compute, "twice")


def case_user_data_is_readable_only_when_asked_for(emulator):
    compute, _, _ = emulator.clients()
    data = base64.b64encode(b"#cloud-config\n").decode()
    create(compute, "data", properties={"userData": data})
    assert compute.virtual_machines.get(GROUP, "data").user_data is None
    assert compute.virtual_machines.get(GROUP, "data", expand="userData").user_data == data
    delete(compute, "data")


def case_deleting_what_is_not_there_succeeds(emulator):
    compute, _, _ = emulator.clients()
    compute.virtual_machines.begin_delete(GROUP, "never-was").result()


def case_an_evicted_spot_vm_stays_succeeded_and_deallocated(emulator):
    compute, _, _ = emulator.clients()
    spot = {
        "priority": "Spot", "evictionPolicy": "Deallocate", "billingProfile": {"maxPrice": -1},
    }
    create(compute, "spot", properties=spot)
    compute.virtual_machines.simulate_eviction(GROUP, "spot")
    emulator.control("/time", {"advance_ms": 3_600_000})
    seen = compute.virtual_machines.get(GROUP, "spot", expand="instanceView")
    assert seen.provisioning_state == "Succeeded"
    assert "PowerState/deallocated" in statuses(seen.instance_view), statuses(seen.instance_view)
    delete(compute, "spot")


def case_an_availability_set_holds_its_vms_and_goes_when_empty(emulator):
    compute, _, _ = emulator.clients()
    group = compute.proximity_placement_groups.create_or_update(
        GROUP, "near", {"location": "westeurope", "properties": {"proximityPlacementGroupType": "Standard"}})
    assert group.proximity_placement_group_type == "Standard"
    made = compute.availability_sets.create_or_update(GROUP, "block", {
        "location": "westeurope", "sku": {"name": "Aligned"},
        "properties": {
            "platformFaultDomainCount": 1, "platformUpdateDomainCount": 1,
            "proximityPlacementGroup": {"id": group.id},
        },
    })
    assert made.sku.name == "Aligned" and made.platform_fault_domain_count == 1
    create(compute, "member", properties={"availabilitySet": {"id": made.id}})
    seen = compute.availability_sets.get(GROUP, "block")
    (member,) = seen.virtual_machines
    assert lower(member.id).endswith("/virtualmachines/member")
    near = compute.proximity_placement_groups.get(GROUP, "near")
    assert [lower(one.id) for one in near.availability_sets] == [lower(made.id)]
    listed = [one.name.lower() for one in compute.availability_sets.list(GROUP)]
    assert listed == ["block"], listed

    delete(compute, "member")
    compute.availability_sets.delete(GROUP, "block")
    compute.proximity_placement_groups.delete(GROUP, "near")
    try:
        compute.availability_sets.get(GROUP, "block")
    except ResourceNotFoundError:
        return
    raise AssertionError("the set is still there")


def case_usages_count_the_cores_of_vms(emulator):
    compute, _, _ = emulator.clients()

    def used(name):
        (one,) = [one for one in compute.usage.list("westeurope") if one.name.value == name]
        assert one.unit == "Count" and one.limit > 0 and one.name.localized_value
        return one.current_value

    names = ("cores", "virtualMachines", "standardDSv5Family")
    before = [used(name) for name in names]
    create(compute, "counted")
    assert [used(name) for name in names] == [before[0] + 2, before[1] + 1, before[2] + 2]
    delete(compute, "counted")
    assert [used(name) for name in names] == before


def case_skus_say_what_a_size_can_do_and_where(emulator):
    compute, _, _ = emulator.clients()
    skus = {sku.name: sku for sku in compute.resource_skus.list(filter="location eq 'westeurope'")}
    sku = skus["Standard_HB120-96rs_v3"]
    able = {one.name: one.value for one in sku.capabilities}
    assert (able["vCPUs"], able["vCPUsAvailable"], able["RdmaEnabled"]) == ("120", "96", "True")
    assert able["MemoryGB"] == "456" and sku.family == "standardHBv3Family"
    assert sku.location_info[0].zones == ["1", "2", "3"] and sku.restrictions == []
    assert skus["Standard_HB60rs"].restrictions[0].reason_code == "NotAvailableForSubscription"
