"""Resource Graph: what azslurm asks it, through the SDK."""

from azure.core.exceptions import HttpResponseError

from emulator import BULK_POLLING_SECONDS, SUBSCRIPTION
from vm import GROUP, body

COUNT = 25
QUERY = (
    "resources | where type =~ 'Microsoft.Compute/virtualMachines' and tags['azslurm-cluster'] == 'graph' "
    "| project id, name, location, resourceGroup, tags, zones, vmSize=properties.hardwareProfile.vmSize, "
    "prov=properties.provisioningState, power=properties.extended.instanceView.powerState.code"
)


def ask(graph, query, **options):
    return graph.resources({"subscriptions": [SUBSCRIPTION], "query": query, "options": options})


def case_a_query_finds_vms_by_tag_page_by_page(emulator):
    compute, _, graph = emulator.clients(polling=BULK_POLLING_SECONDS)
    names = [f"graph{number:02}" for number in range(COUNT)]
    tags = {"azslurm-cluster": "graph"}
    begin = compute.virtual_machines.begin_create_or_update
    for poller in [begin(GROUP, name, body(name, tags=tags)) for name in names]:
        poller.result()

    rows, pages, token = [], 0, None
    while True:
        options = {"$top": 10, **({"$skipToken": token} if token else {})}
        page = ask(graph, QUERY + " | order by id asc", **options)
        assert page.total_records == COUNT and page.count == len(page.data)
        assert page.result_truncated == "false"
        rows, pages, token = rows + page.data, pages + 1, page.skip_token
        if not token:
            break
    assert pages == 3
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert row["power"] == "PowerState/running" and row["prov"] == "Succeeded", row
        assert row["vmSize"] == "Standard_D2s_v5" and row["location"] == "westeurope", row

    (count,) = ask(graph, "resources | where name startswith 'graph' and type has 'virtualMachines' | count").data
    assert count == {"Count": COUNT}, count
    table = ask(graph, "resources | where name == 'graph00' and type endswith 'machines' | project name",
                resultFormat="table").data
    assert table == {"columns": [{"name": "name", "type": "string"}], "rows": [["graph00"]]}, table
    begin = compute.virtual_machines.begin_delete
    for poller in [begin(GROUP, name, force_deletion=True) for name in names]:
        poller.result()
    assert ask(graph, QUERY).total_records == 0


def case_without_the_id_there_are_no_pages(emulator):
    compute, _, graph = emulator.clients()
    begin = compute.virtual_machines.begin_create_or_update
    for poller in [begin(GROUP, name, body(name)) for name in ("one", "two")]:
        poller.result()
    page = ask(graph, "resources | where type has 'virtualMachines' | project name", **{"$top": 1})
    assert (page.count, page.total_records) == (1, 2)
    assert page.skip_token is None and page.result_truncated == "true"
    for name in ("one", "two"):
        compute.virtual_machines.begin_delete(GROUP, name).result()


def case_a_lag_shows_yesterday_s_list(emulator):
    compute, _, graph = emulator.clients()
    query = "resources | where name == 'lagging' and type has 'virtualMachines' | project id"
    emulator.control("/graph", {"lag_ms": 60_000})
    try:
        compute.virtual_machines.begin_create_or_update(GROUP, "lagging", body("lagging")).result()
        assert ask(graph, query).total_records == 0
        emulator.control("/time", {"advance_ms": 61_000})
        assert ask(graph, query).total_records == 1
    finally:
        emulator.control("/graph", {"lag_ms": 0})
    compute.virtual_machines.begin_delete(GROUP, "lagging").result()
    assert ask(graph, query).total_records == 0


def case_what_is_no_query_is_refused_with_the_place(emulator):
    _, _, graph = emulator.clients()
    try:
        ask(graph, "resources | where name === 'x'")
    except HttpResponseError as error:
        assert (error.status_code, error.error.code) == (400, "BadRequest"), error
        codes = [detail.code for detail in error.error.details]
        assert codes == ["InvalidQuery", "ParserFailure"], codes
        return
    raise AssertionError("it was not refused")
