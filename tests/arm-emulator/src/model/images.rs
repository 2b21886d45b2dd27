//! Images as their owners' APIs show them: of the marketplace, of galleries, shared ones. Every
//! image exists, in every region, unless `offers` says otherwise.

use serde_json::{Value, json};

use super::Model;
use super::ids;
use super::looks::Shared;
use super::message::{Answer, ArmError, Response};
use super::settings::ImageKind;
use crate::catalog;

/// The version that an image has, if nobody names another.
const VERSION: &str = "1.0.0";
/// Of a marketplace image.
const MARKET_VERSION: &str = "1.0.20260101";

impl Model {
    /// Whether an image, by id or URN, exists.
    pub(super) fn image_exists(&self, image: &str) -> bool {
        let image = image.to_ascii_lowercase();
        let unknown = &self.offers.unknown_images;
        !unknown.iter().any(|part| image.contains(&part.to_ascii_lowercase()))
    }

    /// Whether an image can be had in a region.
    pub(super) fn image_is_in(&self, image: &str, region: &str) -> bool {
        let regions = self.image_kind(image).regions;
        regions.is_none_or(|regions| regions.iter().any(|one| ids::region(one) == region))
    }

    /// What is peculiar about an image.
    pub(super) fn image_kind(&self, image: &str) -> ImageKind {
        let image = image.to_ascii_lowercase();
        let kinds = self.offers.images.iter();
        let mut found = kinds.filter(|kind| image.contains(&kind.contains.to_ascii_lowercase()));
        found.next().cloned().unwrap_or_default()
    }

    /// Whether VMs of an image need its purchase plan.
    pub(super) fn needs_plan(&self, image: &str) -> bool {
        let image = image.to_ascii_lowercase();
        let with_plan = &self.offers.images_with_plan;
        with_plan.iter().any(|part| image.contains(&part.to_ascii_lowercase()))
    }

    /// A marketplace image version. `latest` is a word of VM bodies and no version.
    pub(super) fn market_image(&self, urn: &[String; 4]) -> Answer {
        let name = urn.join(":");
        if !self.image_exists(&name) || urn[3].eq_ignore_ascii_case("latest") {
            let text = format!("Artifact: VMImage {name} was not found.");
            return Err(Box::new(ArmError::new(404, "NotFound", text)));
        }
        let kind = self.image_kind(&name);
        let mut properties = json!({
            "hyperVGeneration": kind.generation(),
            "architecture": kind.architecture(),
            "replicaType": "Managed",
            "osDiskImage": {"operatingSystem": "Linux", "sizeInGb": kind.disk_gb()},
            "dataDiskImages": [],
            "imageDeprecationStatus": {"imageState": "Active"},
        });
        if let Some(when) = kind.retires {
            properties["imageDeprecationStatus"] =
                json!({"imageState": "ScheduledForDeprecation", "scheduledDeprecationTime": when});
        }
        if self.needs_plan(&name) {
            properties["plan"] = json!({"publisher": urn[0], "product": urn[1], "name": urn[2]});
        }
        Ok(Response::with_body(200, json!({"name": urn[3], "properties": properties})))
    }

    /// The versions of a marketplace image: a list without the usual envelope.
    pub(super) fn market_versions(&self, image: &[String; 3]) -> Answer {
        let name = image.join(":");
        let list = match self.image_exists(&name) {
            true => vec![json!({"name": MARKET_VERSION, "location": "westeurope"})],
            false => Vec::new(),
        };
        Ok(Response::with_body(200, Value::Array(list)))
    }

    /// A version of a gallery image.
    pub(super) fn gallery_image(&self, id: &str) -> Answer {
        if !self.image_exists(id) {
            return Err(gallery_not_found(id));
        }
        Ok(Response::with_body(200, self.gallery_version(id)))
    }

    /// The definition of a gallery image.
    pub(super) fn gallery_definition(&self, id: &str) -> Answer {
        if !self.image_exists(id) {
            return Err(gallery_not_found(id));
        }
        let name = id.rsplit('/').next().unwrap_or_default();
        let mut properties = self.definition(id);
        properties["provisioningState"] = json!("Succeeded");
        Ok(Response::with_body(
            200,
            json!({"id": id, "name": name, "type": "Microsoft.Compute/galleries/images",
                   "location": "westeurope", "properties": properties}),
        ))
    }

    /// All versions of a gallery image.
    pub(super) fn gallery_versions(&self, id: &str) -> Answer {
        if !self.image_exists(id) {
            return Err(gallery_not_found(id));
        }
        let version = self.gallery_version(&format!("{id}/versions/{VERSION}"));
        Ok(Response::with_body(200, json!({ "value": [version] })))
    }

    fn gallery_version(&self, id: &str) -> Value {
        let kind = self.image_kind(id);
        let (disk, retires) = (kind.disk_gb(), kind.retires.clone());
        let regions = kind.regions.unwrap_or_else(|| {
            catalog::regions().iter().map(|region| region.name.to_owned()).collect()
        });
        let targets: Vec<Value> = regions
            .iter()
            .map(|name| catalog::find_region(name).map_or(name.as_str(), |one| one.display_name))
            .map(|name| json!({"name": name, "regionalReplicaCount": 1}))
            .collect();
        let name = id.rsplit('/').next().unwrap_or_default();
        let mut publishing = json!({"targetRegions": targets, "excludeFromLatest": false});
        if let Some(when) = retires {
            publishing["endOfLifeDate"] = json!(when);
        }
        json!({"id": id, "name": name, "type": "Microsoft.Compute/galleries/images/versions",
            "location": "westeurope",
            "properties": {"provisioningState": "Succeeded", "publishingProfile": publishing,
                "storageProfile": {"osDiskImage": {"sizeInGB": disk}}}})
    }

    fn definition(&self, image: &str) -> Value {
        let kind = self.image_kind(image);
        let mut properties = json!({
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": kind.generation(),
            "architecture": kind.architecture(),
        });
        if self.needs_plan(image) {
            properties["purchasePlan"] =
                json!({"publisher": "publisher", "product": "product", "name": "plan"});
        }
        properties
    }

    /// An image that somebody shares, its versions, or one of them.
    pub(super) fn shared_image(&self, shared: &Shared) -> Answer {
        let reference = shared.reference();
        let location = ids::region(&shared.location);
        if !self.image_exists(&reference) || !self.image_is_in(&reference, &location) {
            return Err(gallery_not_found(&reference));
        }
        let (name, body) = match shared.version.as_deref() {
            None => (shared.image.as_str(), self.definition(&reference)),
            Some("") => {
                let version = self.shared_version(VERSION, &shared.location, &reference);
                return Ok(Response::with_body(200, json!({ "value": [version] })));
            }
            Some(version) => {
                let body = self.shared_version(version, &shared.location, &reference);
                return Ok(Response::with_body(200, body));
            }
        };
        Ok(Response::with_body(
            200,
            json!({"name": name, "location": shared.location, "properties": body,
                   "identifier": {"uniqueId": reference}}),
        ))
    }

    fn shared_version(&self, version: &str, location: &str, reference: &str) -> Value {
        let disk = self.image_kind(reference).disk_gb();
        json!({"name": version, "location": location, "properties": {
            "publishedDate": "2026-01-01T00:00:00+00:00",
            "storageProfile": {"osDiskImage": {"diskSizeGB": disk}}}})
    }
}

fn gallery_not_found(id: &str) -> Box<ArmError> {
    let text = format!("The gallery image {id} is not available.");
    Box::new(ArmError::new(404, "GalleryImageNotFound", text))
}
