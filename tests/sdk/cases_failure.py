"""What goes wrong on Azure, and whether the SDK understands it as it does Azure's."""

import time

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from vm import GROUP, body, create, delete, statuses

SIZE = "Standard_D2s_v5"


def failure(call):
    try:
        call()
    except HttpResponseError as error:
        return error
    raise AssertionError("it succeeded")


def case_a_vm_that_is_not_there_is_not_found(emulator):
    compute, _, _ = emulator.clients()
    error = failure(lambda: compute.virtual_machines.get(GROUP, "missing"))
    assert isinstance(error, ResourceNotFoundError)
    assert (error.status_code, error.error.code) == (404, "ResourceNotFound")
    assert "Microsoft.Compute/virtualMachines/missing" in error.error.message
    error = failure(lambda: list(compute.virtual_machines.list("no-such-group")))
    assert (error.status_code, error.error.code) == (404, "ResourceGroupNotFound")


def case_capacity_that_is_missing_late_fails_the_operation_and_leaves_a_failed_vm(emulator):
    compute, _, _ = emulator.clients()
    room = {"region": "westeurope", "sku": SIZE, "late": True}
    emulator.control("/capacity", {**room, "vms": 0})
    try:
        poller = compute.virtual_machines.begin_create_or_update(GROUP, "late", body("late"))
        error = failure(poller.result)
        assert error.error.code == "AllocationFailed", error.error
        assert poller.status() == "Failed"
        left = compute.virtual_machines.get(GROUP, "late", expand="instanceView")
        assert left.provisioning_state == "Failed"
        codes = statuses(left.instance_view)
        assert any(code.startswith("ProvisioningState/failed/AllocationFailed") for code in codes), codes
    finally:
        emulator.control("/capacity", {**room, "vms": None})
    delete(compute, "late")


def case_capacity_that_is_missing_at_once_refuses_the_put_and_leaves_nothing(emulator):
    compute, _, _ = emulator.clients()
    room = {"region": "westeurope", "sku": SIZE}
    emulator.control("/capacity", {**room, "vms": 0})
    try:
        begin = compute.virtual_machines.begin_create_or_update
        error = failure(lambda: begin(GROUP, "early", body("early")))
        assert (error.status_code, error.error.code) == (409, "SkuNotAvailable"), error
    finally:
        emulator.control("/capacity", {**room, "vms": None})
    assert list(compute.virtual_machines.list(GROUP)) == []


def case_a_quota_refuses_with_its_numbers(emulator):
    compute, _, _ = emulator.clients()
    quota = {"region": "westeurope", "name": "cores"}
    emulator.control("/quota", {**quota, "limit": 3})
    try:
        create(compute, "fits")
        begin = compute.virtual_machines.begin_create_or_update
        error = failure(lambda: begin(GROUP, "too-much", body("too-much")))
        assert isinstance(error, ResourceExistsError)  # what the SDK makes of any 409
        assert (error.status_code, error.error.code) == (409, "OperationNotAllowed")
        for part in ("exceeding approved", "Current Limit: 3", "Current Usage: 2", "Additional Required: 2"):
            assert part in error.error.message, error.error.message
    finally:
        emulator.control("/quota", {**quota, "limit": None})
    delete(compute, "fits")


def case_a_throttled_call_is_repeated_after_the_time_that_was_told(emulator):
    compute, _, _ = emulator.clients()
    list(compute.virtual_machines.list(GROUP))  # the token is there from here on
    throttled = {"error": {
        "code": "OperationNotAllowed", "message": "throttled",
        "details": [{"code": "TooManyRequests", "target": "HighCostGet", "message": "{}"}],
    }}
    emulator.control("/faults", {
        "method": "GET", "path_contains": "/virtualMachines", "status": 429, "times": 2,
        "headers": {"Retry-After": "1"}, "body": throttled,
    })
    before = emulator.control("/log")["next"]
    began = time.monotonic()
    assert list(compute.virtual_machines.list(GROUP)) == []
    assert time.monotonic() - began >= 2, "Retry-After was not waited for"
    calls = emulator.control(f"/log?since={before}")["entries"]
    assert [call["status"] for call in calls] == [429, 429, 200], calls
    assert len({call["client_request_id"] for call in calls}) == 1, calls
    assert emulator.control("/faults") == {"faults": []}


def case_our_own_throttle_has_the_shape_that_the_sdk_reads(emulator):
    compute, _, _ = emulator.clients()
    before = emulator.control("/throttle", {"enforce": True})
    emulator.control("/throttle", {"arm_reads": {"max": 2, "refill_per_s": 1}})
    try:
        began = time.monotonic()
        for _ in range(4):
            list(compute.virtual_machines.list(GROUP))
        assert time.monotonic() - began >= 1, "nothing was throttled"
    finally:
        emulator.control("/throttle", before)


def case_retry_after_of_an_operation_is_honoured(emulator):
    # The SDK polls once at once, whatever the PUT's answer says, and then waits as the poll's answer says.
    compute, _, _ = emulator.clients()
    emulator.control("/delays", {"retry_after_s": 9, "first_poll_retry_after_s": 2})
    try:
        began = time.monotonic()
        create(compute, "patient")
        assert 2 <= time.monotonic() - began < 9
    finally:
        emulator.control("/delays", {"retry_after_s": None, "first_poll_retry_after_s": None})
    delete(compute, "patient")


def case_an_operation_outlives_an_error_of_its_poll(emulator):
    compute, _, _ = emulator.clients()
    emulator.control("/faults", {"method": "GET", "path_contains": "/operations/", "status": 503, "times": 1})
    create(compute, "bumpy")
    delete(compute, "bumpy")


def case_a_put_whose_answer_was_lost_is_one_vm(emulator):
    compute, _, _ = emulator.clients()
    emulator.control("/faults", {"method": "PUT", "path_contains": "/virtualMachines/echo", "kind": "drop-after"})
    before = emulator.control("/log")["next"]
    create(compute, "echo")
    puts = [call for call in emulator.control(f"/log?since={before}")["entries"] if call["method"] == "PUT"]
    assert len(puts) == 2, puts
    assert [vm.name for vm in compute.virtual_machines.list(GROUP)] == ["echo"]
    delete(compute, "echo")


def case_a_vm_of_another_shape_under_the_same_name_is_refused(emulator):
    compute, _, _ = emulator.clients()
    create(compute, "same")
    spot = {"priority": "Spot", "evictionPolicy": "Delete"}
    begin = compute.virtual_machines.begin_create_or_update
    error = failure(lambda: begin(GROUP, "same", body("same", properties=spot)))
    assert (error.status_code, error.error.code) == (409, "PropertyChangeNotAllowed"), error
    delete(compute, "same")


def case_bodies_that_azure_refuses_are_refused(emulator):
    compute, _, _ = emulator.clients()
    begin = compute.virtual_machines.begin_create_or_update
    for change, code in (
        ({"hardwareProfile": {"vmSize": "Standard_Nonsense"}}, "InvalidParameter"),
        ({"priority": "Regular", "evictionPolicy": "Delete"}, None),
        ({"osProfile": {"computerName": "bad", "adminUsername": "root"}}, "InvalidParameter"),
    ):
        error = failure(lambda: begin(GROUP, "bad", body("bad", properties=change)))
        assert 400 <= error.status_code < 500 and error.error.code, error
        assert code in (None, error.error.code), error
    assert list(compute.virtual_machines.list(GROUP)) == []


def case_a_set_with_a_vm_in_it_is_not_deleted(emulator):
    compute, _, _ = emulator.clients()
    block = compute.availability_sets.create_or_update(GROUP, "full", {
        "location": "westeurope", "sku": {"name": "Aligned"},
        "properties": {"platformFaultDomainCount": 1, "platformUpdateDomainCount": 1},
    })
    create(compute, "inside", properties={"availabilitySet": {"id": block.id}})
    error = failure(lambda: compute.availability_sets.delete(GROUP, "full"))
    assert error.status_code == 409 and error.error.code, error
    delete(compute, "inside")
    compute.availability_sets.delete(GROUP, "full")
