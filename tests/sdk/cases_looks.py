"""What is looked at before a VM is made: how full subnets are, rules, images, restrictions."""

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from emulator import SUBNET
from vm import lower

NETWORK_GROUP = "net"
OFFER = ("westeurope", "almalinux", "almalinux-x86_64", "9-gen2")


def case_a_subnet_tells_how_full_it_is(emulator):
    _, network, _ = emulator.clients()
    before = {lower(one.id): one for one in network.virtual_networks.list_usage(NETWORK_GROUP, "vnet")}
    usage = before[lower(SUBNET)]
    assert (usage.limit, usage.unit) == (4091.0, "Count"), usage
    emulator.control("/subnets", {"subnet": SUBNET, "take": 2})
    after = {lower(one.id): one for one in network.virtual_networks.list_usage(NETWORK_GROUP, "vnet")}
    assert after[lower(SUBNET)].current_value == usage.current_value + 2
    subnet = network.subnets.get(NETWORK_GROUP, "vnet", "compute")
    assert len(subnet.ip_configurations) == after[lower(SUBNET)].current_value


def case_a_security_group_has_its_standing_rules(emulator):
    _, network, _ = emulator.clients()
    network.network_security_groups.begin_create_or_update(NETWORK_GROUP, "rules", {
        "location": "westeurope",
        "properties": {"securityRules": [{"name": "ssh", "properties": {
            "priority": 100, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": "22"}}]},
    }).result()
    group = network.network_security_groups.get(NETWORK_GROUP, "rules")
    assert [rule.name for rule in group.security_rules] == ["ssh"]
    standing = {rule.name: rule.priority for rule in group.default_security_rules}
    assert standing["AllowVnetInBound"] == 65000 and standing["DenyAllInBound"] == 65500, standing
    network.network_security_groups.begin_delete(NETWORK_GROUP, "rules").result()


def case_a_peering_shows_its_state(emulator):
    _, network, _ = emulator.clients()
    vnet = SUBNET.split("/subnets/")[0]
    emulator.control("/peerings", {"vnet": vnet, "name": "hub", "remote": vnet, "state": "Initiated"})
    (peering,) = network.virtual_networks.get(NETWORK_GROUP, "vnet").virtual_network_peerings
    assert (peering.name, peering.peering_state) == ("hub", "Initiated"), peering


def case_the_newest_version_of_an_image_is_listed_and_read(emulator):
    compute, _, _ = emulator.clients()
    (newest,) = compute.virtual_machine_images.list(*OFFER, top=1, orderby="name desc")
    image = compute.virtual_machine_images.get(*OFFER, newest.name)
    assert image.hyper_v_generation == "V2" and image.architecture == "x64", image
    assert image.plan is None
    emulator.control("/offers", {"images_with_plan": ["almalinux"]})
    plan = compute.virtual_machine_images.get(*OFFER, newest.name).plan
    assert (plan.publisher, plan.product, plan.name) == OFFER[1:], plan
    emulator.control("/offers", {"images_with_plan": []})
    try:
        compute.virtual_machine_images.get(*OFFER, "latest")
        raise AssertionError("latest is a word of VM bodies")
    except ResourceNotFoundError:
        pass


def case_a_gallery_image_tells_where_it_is(emulator):
    compute, _, _ = emulator.clients()
    emulator.control("/offers", {"images": [{"contains": "/images/i", "generation": "V1", "regions": ["northeurope"]}]})
    image = compute.gallery_images.get("hpc", "g", "i")
    assert image.hyper_v_generation == "V1"
    (version,) = compute.gallery_image_versions.list_by_gallery_image("hpc", "g", "i")
    (target,) = version.publishing_profile.target_regions
    assert target.name == "North Europe"
    shared = compute.community_gallery_images.get("northeurope", "public", "i")
    assert shared.properties.hyper_v_generation == "V1"
    try:
        compute.community_gallery_images.get("westeurope", "public", "i")
        raise AssertionError("an image that is not in the region")
    except ResourceNotFoundError:
        pass
    emulator.control("/offers", {"images": []})


def case_a_size_that_is_restricted_in_a_zone_says_so(emulator):
    compute, _, _ = emulator.clients()
    emulator.control("/offers", {"restrictions": [
        {"sku": "Standard_D4s_v5", "region": "westeurope", "zones": ["2"]}]})
    sizes = compute.resource_skus.list(filter="location eq 'westeurope'")
    (size,) = [one for one in sizes if one.name == "Standard_D4s_v5"]
    (restriction,) = size.restrictions
    assert restriction.type == "Zone" and restriction.restriction_info.zones == ["2"], restriction
    emulator.control("/offers", {"restrictions": []})


def case_who_may_not_is_refused_by_name_of_the_action(emulator):
    compute, _, _ = emulator.clients()
    everything = {"scope": "/", "actions": ["*"]}
    emulator.control("/rights", {"grants": [{**everything, "not_actions": ["*/skus/read"]}]})
    try:
        list(compute.resource_skus.list(filter="location eq 'westeurope'"))
        raise AssertionError("sizes without the right to read them")
    except HttpResponseError as error:
        assert (error.status_code, error.error.code) == (403, "AuthorizationFailed"), error
        assert "Microsoft.Compute/skus/read" in error.message, error
    finally:
        emulator.control("/rights", {"grants": [everything]})
