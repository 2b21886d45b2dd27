//! The bodies of a placement group and of an availability set.

use azure_mgmt_compute::package_2024_07_01::models::{
    AvailabilitySet, AvailabilitySetProperties, ProximityPlacementGroup,
    ProximityPlacementGroupProperties, Resource, Sku,
    proximity_placement_group_properties::{Intent, ProximityPlacementGroupType},
};
use serde_json::{Value, json};

use super::{drop_nulls, sub_resource};
use crate::{GroupSpec, SetSpec};

/// The only kind of set that VMs with managed disks may join; without it Azure makes a Classic one
/// (FACTS §6.2).
const SET_SKU: &str = "Aligned";
/// One fault domain and one update domain: a block is to be near, not apart (FACTS §6.2).
const DOMAINS: i32 = 1;

/// The body of the PUT that makes a placement group. The same spec always gives the same body.
pub fn group_body(spec: &GroupSpec) -> Value {
    let mut resource = Resource::new(spec.region.to_string());
    resource.tags = Some(json!(spec.tags));
    let mut group = ProximityPlacementGroup::new(resource);
    let sizes: Vec<String> = spec.skus.iter().map(ToString::to_string).collect();
    group.properties = Some(ProximityPlacementGroupProperties {
        proximity_placement_group_type: Some(ProximityPlacementGroupType::Standard),
        intent: (!sizes.is_empty()).then_some(Intent { vm_sizes: sizes }),
        ..ProximityPlacementGroupProperties::new()
    });
    let mut body = serde_json::to_value(group).expect("a model of strings and numbers is JSON");
    drop_nulls(&mut body);
    body
}

/// The body of the PUT that makes an availability set. The same spec always gives the same body.
pub fn set_body(spec: &SetSpec) -> Value {
    let mut resource = Resource::new(spec.region.to_string());
    resource.tags = Some(json!(spec.tags));
    let mut set = AvailabilitySet::new(resource);
    set.sku = Some(Sku { name: Some(SET_SKU.to_owned()), ..Sku::new() });
    set.properties = Some(AvailabilitySetProperties {
        platform_fault_domain_count: Some(DOMAINS),
        platform_update_domain_count: Some(DOMAINS),
        proximity_placement_group: Some(sub_resource(&spec.placement_group)),
        ..AvailabilitySetProperties::new()
    });
    let mut body = serde_json::to_value(set).expect("a model of strings and numbers is JSON");
    drop_nulls(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use azslurm_core::config::{Region, Sku};

    use super::*;

    fn tags() -> BTreeMap<String, String> {
        BTreeMap::from([("azslurm-cluster".to_owned(), "c".to_owned())])
    }

    #[test]
    fn a_placement_group_names_all_sizes_that_will_come() {
        let mut spec = GroupSpec {
            name: "c-hb-b1-0abcdefg".into(),
            region: Region::new("westeurope").unwrap(),
            skus: vec![Sku::new("Standard_HB120rs_v3").unwrap()],
            tags: tags(),
        };
        let mut body = json!({
            "location": "westeurope",
            "tags": {"azslurm-cluster": "c"},
            "properties": {
                "proximityPlacementGroupType": "Standard",
                "intent": {"vmSizes": ["Standard_HB120rs_v3"]}
            }
        });
        assert_eq!(group_body(&spec), body);
        spec.skus.clear();
        body["properties"].as_object_mut().unwrap().remove("intent");
        assert_eq!(group_body(&spec), body, "an intent of nothing is none");
    }

    #[test]
    fn a_set_is_aligned_and_has_one_domain() {
        let spec = SetSpec {
            name: "c-hb-b1-0abcdefg".into(),
            region: Region::new("westeurope").unwrap(),
            placement_group: "/group".into(),
            tags: tags(),
        };
        assert_eq!(
            set_body(&spec),
            json!({
                "location": "westeurope",
                "tags": {"azslurm-cluster": "c"},
                "sku": {"name": "Aligned"},
                "properties": {
                    "platformFaultDomainCount": 1,
                    "platformUpdateDomainCount": 1,
                    "proximityPlacementGroup": {"id": "/group"}
                }
            })
        );
    }
}
