//! One VM as wanted: node, nodeset, attempt and place decide all of it.

use std::sync::Arc;

use crate::attempt::AttemptPlace;
use crate::block::availability_set_id;
use crate::config::Config;
use crate::plan::NodesetTexts;
use crate::vm::{UserData, VmSpec, our_tags};
use crate::{AttemptId, NodeName, NodesetName, VmName};

/// One VM as wanted, before its body is written.
#[derive(Debug, Clone, Copy)]
pub struct VmWish<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Its nodeset.
    pub nodeset: &'a NodesetName,
    /// The attempt.
    pub attempt: AttemptId,
    /// Where.
    pub place: &'a AttemptPlace,
}

impl VmWish<'_> {
    /// The whole VM; `None` if the config no longer has the nodeset or the site.
    pub fn spec(&self, config: &Config, texts: &NodesetTexts) -> Option<VmSpec> {
        let nodeset = config.nodesets.get(self.nodeset)?;
        let site = config.sites.get(&self.place.site)?;
        let mut tags = nodeset.tags.clone();
        tags.extend(our_tags(&config.cluster, self.node, self.nodeset, self.attempt));
        let user_data = texts.user_data.as_ref().map(|text| self.user_data(config, text));
        Some(VmSpec {
            name: VmName::of(self.node, self.attempt),
            computer_name: self.node.clone(),
            region: self.place.region.clone(),
            zone: self.place.zone.clone(),
            sku: nodeset.sku.clone(),
            image: nodeset.image.clone(),
            priority: nodeset.priority,
            subnet: site.subnet.clone(),
            network_security_group: site.network_security_group.clone(),
            accelerated_networking: nodeset.accelerated_networking,
            os_disk: nodeset.os_disk.clone(),
            admin_username: nodeset.admin_username.clone(),
            ssh_public_key: texts.ssh_public_key.clone(),
            user_data,
            identities: nodeset.identities.clone(),
            capacity_reservation_group: nodeset.capacity_reservation_group.clone(),
            availability_set: availability_set_id(&config.cluster, self.place),
            tags,
        })
    }

    /// `{cluster}`, `{node}`, `{nodeset}`, `{controller}` are replaced; every other brace stays
    /// (user data is often a script).
    fn user_data(&self, config: &Config, template: &Arc<str>) -> UserData {
        let words = vec![
            ("{cluster}", config.cluster.to_string()),
            ("{node}", self.node.to_string()),
            ("{nodeset}", self.nodeset.to_string()),
            ("{controller}", config.slurm.controller.clone()),
        ];
        UserData::new(template, words)
    }
}
