//! Images and the terms of their plans: is it there, in this region, and which sizes can boot it?

use azslurm_core::config::{ImageReference, Plan, Region};
use serde_json::Value;

use crate::arm::Arm;
use crate::client::Call;
use crate::look::{is_region, look};
use crate::read::text;
use crate::route::COMPUTE;
use crate::{Answer, AzureError, Reply};

/// Galleries have versions of their own (Microsoft.Compute/galleries).
const GALLERY_VERSION: &str = "2023-07-03";
/// Microsoft.MarketplaceOrdering/agreements.
const TERMS_VERSION: &str = "2021-01-01";
/// The word for the newest version.
const LATEST: &str = "latest";

/// An image, as far as it decides whether a VM boots from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageSeen {
    /// `V1` or `V2`.
    pub generation: Option<String>,
    /// `x64` or `Arm64`.
    pub architecture: Option<String>,
    /// The purchase plan that VMs of it need.
    pub plan: Option<Plan>,
    /// Size of its OS disk in GB.
    pub disk_gb: Option<u64>,
    /// Whether it can be had in the region; `None`: it does not say.
    pub is_in_region: Option<bool>,
    /// When it ends: `2026-12-01T00:00:00Z`.
    pub retires: Option<String>,
}

/// Where an image is wanted.
#[derive(Debug, Clone, Copy)]
pub struct ImageWanted<'a> {
    /// Subscription of the VMs.
    pub subscription: &'a str,
    /// Their region.
    pub region: &'a Region,
    /// The image.
    pub image: &'a ImageReference,
}

type Seen = Result<Reply<Option<ImageSeen>>, AzureError>;

impl Arm {
    /// An image; `None` if it, or the version that is meant, does not exist.
    ///
    /// # Errors
    /// As [`Arm::look_group`].
    pub async fn look_image(&self, wanted: ImageWanted<'_>) -> Seen {
        match wanted.image {
            ImageReference::Urn { publisher, offer, sku, version } => {
                self.market_image(wanted, [publisher, offer, sku, version]).await
            }
            ImageReference::Id(id) => match gallery_image(id) {
                Some((image, version)) => self.gallery(image, version, wanted.region).await,
                None => self.managed_image(id, wanted.region).await,
            },
            ImageReference::SharedGallery(id) => {
                self.shared_image(wanted, ("sharedGalleries", id)).await
            }
            ImageReference::CommunityGallery(id) => {
                self.shared_image(wanted, ("communityGalleries", id)).await
            }
        }
    }

    /// Whether the terms of a plan are accepted in a subscription.
    ///
    /// # Errors
    /// As [`Arm::look_group`].
    pub async fn look_terms(
        &self,
        subscription: &str,
        plan: &Plan,
    ) -> Result<Reply<Option<bool>>, AzureError> {
        let scope = format!(
            "/subscriptions/{subscription}/providers/Microsoft.MarketplaceOrdering/offerTypes\
             /virtualmachine"
        );
        let (publisher, product) = (plan.publisher.as_str(), plan.product.as_str());
        let below = [
            "publishers",
            publisher,
            "offers",
            product,
            "plans",
            plan.name.as_str(),
            "agreements",
            "current",
        ];
        let url = self.routes().below(&scope, &below, TERMS_VERSION)?;
        let doing = format!("read the terms of plan {publisher}:{product}:{}", plan.name);
        self.look(&look(url, doing), |value| {
            let accepted = value.pointer("/properties/accepted").and_then(Value::as_bool);
            accepted.ok_or_else(|| "no word whether they are accepted".to_owned())
        })
        .await
    }

    /// `latest` is a word of VM bodies: the newest version is asked for first.
    async fn market_image(
        &self,
        wanted: ImageWanted<'_>,
        [publisher, offer, sku, version]: [&String; 4],
    ) -> Seen {
        let scope = format!(
            "/subscriptions/{}/providers/Microsoft.Compute/locations/{}",
            wanted.subscription, wanted.region
        );
        let image = [
            "publishers",
            publisher,
            "artifacttypes",
            "vmimage",
            "offers",
            offer,
            "skus",
            sku,
            "versions",
        ];
        let name = format!("{publisher}:{offer}:{sku}");
        let mut newest = version.clone();
        if version.eq_ignore_ascii_case(LATEST) {
            let mut url = self.routes().below(&scope, &image, COMPUTE)?;
            url.query_pairs_mut().append_pair("$top", "1").append_pair("$orderby", "name desc");
            let call = look(url, format!("list the versions of image {name}"));
            let reply = self.look(&call, |list| Ok(text(list, "/0/name"))).await?;
            match &reply.answer {
                Answer::Done(Some(Some(found))) => newest = found.clone(),
                Answer::Done(_) | Answer::Refused(_) => return Ok(reply.map(|_| None)),
            }
        }
        let one: Vec<&str> = image.into_iter().chain([newest.as_str()]).collect();
        let url = self.routes().below(&scope, &one, COMPUTE)?;
        let call = look(url, format!("read image {name}:{newest}"));
        self.look(&call, |value| Ok(market(value))).await
    }

    async fn managed_image(&self, id: &str, region: &Region) -> Seen {
        let url = self.routes().below(id, &[], COMPUTE)?;
        let call = look(url, format!("read image {id}"));
        let disk = "/properties/storageProfile/osDisk/diskSizeGB";
        self.look(&call, |value| {
            Ok(ImageSeen {
                generation: text(value, "/properties/hyperVGeneration"),
                disk_gb: value.pointer(disk).and_then(Value::as_u64),
                is_in_region: text(value, "/location").map(|found| is_region(&found, region)),
                ..ImageSeen::default()
            })
        })
        .await
    }

    /// The definition says what it is, and its version where it is.
    async fn gallery(&self, image: &str, version: Option<&str>, region: &Region) -> Seen {
        let url = self.routes().below(image, &[], GALLERY_VERSION)?;
        let call = look(url, format!("read image {image}"));
        let reply = self.look(&call, |value| Ok(definition(value))).await?;
        let Answer::Done(Some(definition)) = reply.answer else { return Ok(reply) };
        let version = version.filter(|version| !version.eq_ignore_ascii_case(LATEST));
        let below: Vec<&str> = ["versions"].into_iter().chain(version).collect();
        let url = self.routes().below(image, &below, GALLERY_VERSION)?;
        let call = look(url, format!("read the versions of image {image}"));
        self.versions(&call, definition, region).await
    }

    /// Completes an image by its version, or by those of its versions that `latest` may mean.
    async fn versions(&self, call: &Call, definition: ImageSeen, region: &Region) -> Seen {
        let reply = self.look(call, |value| Ok(versions(value))).await?;
        Ok(reply.map(|found| {
            let mut image = definition;
            let found = found.filter(|versions| !versions.is_empty())?;
            let here: Vec<&Version> = found.iter().filter(|one| one.is_in(region)).collect();
            image.is_in_region = Some(!here.is_empty());
            let newest = here.last().copied().or(found.last())?;
            image.disk_gb = newest.disk_gb;
            image.retires = newest.retires.clone().or(image.retires);
            Some(image)
        }))
    }

    /// `/sharedGalleries/{gallery}/images/{image}[/versions/{version}]`, and the same of a
    /// community.
    async fn shared_image(&self, wanted: ImageWanted<'_>, (kind, id): (&str, &str)) -> Seen {
        let parts: Vec<&str> = id.split('/').filter(|part| !part.is_empty()).collect();
        let (Some(gallery), Some(image)) = (parts.get(1), parts.get(3)) else {
            return Err(AzureError::Config {
                what: format!("image {id:?}"),
                text: format!("/{kind}/GALLERY/images/IMAGE is wanted"),
            });
        };
        let scope = format!(
            "/subscriptions/{}/providers/Microsoft.Compute/locations/{}",
            wanted.subscription, wanted.region
        );
        let below = [kind, gallery, "images", image];
        let url = self.routes().below(&scope, &below, GALLERY_VERSION)?;
        let call = look(url, format!("read image {id} in {}", wanted.region));
        // What is not in the region is not found.
        let of = |value: &Value| ImageSeen { is_in_region: Some(true), ..definition(value) };
        self.look(&call, |value| Ok(of(value))).await
    }
}

/// The image of a gallery without its version, and the version.
fn gallery_image(id: &str) -> Option<(&str, Option<&str>)> {
    let lower = id.to_ascii_lowercase();
    lower.contains("/galleries/").then(|| match lower.find("/versions/") {
        Some(end) => (&id[..end], Some(&id[end + "/versions/".len()..])),
        None => (id, None),
    })
}

/// A marketplace image version.
fn market(value: &Value) -> ImageSeen {
    let size = value.pointer("/properties/osDiskImage");
    let size = size.and_then(|disk| disk.get("sizeInGb").or_else(|| disk.get("sizeInGB")));
    ImageSeen {
        generation: text(value, "/properties/hyperVGeneration"),
        architecture: text(value, "/properties/architecture"),
        plan: plan(value, "/properties/plan"),
        disk_gb: size.and_then(Value::as_u64),
        is_in_region: Some(true),
        retires: text(value, "/properties/imageDeprecationStatus/scheduledDeprecationTime"),
    }
}

/// A gallery's image, without its versions.
fn definition(value: &Value) -> ImageSeen {
    ImageSeen {
        generation: text(value, "/properties/hyperVGeneration"),
        architecture: text(value, "/properties/architecture"),
        plan: plan(value, "/properties/purchasePlan"),
        disk_gb: None,
        is_in_region: None,
        retires: text(value, "/properties/endOfLifeDate"),
    }
}

/// An incomplete plan is none.
fn plan(value: &Value, at: &str) -> Option<Plan> {
    let part = |name: &str| text(value, &format!("{at}/{name}"));
    Some(Plan { publisher: part("publisher")?, product: part("product")?, name: part("name")? })
}

/// A version of a gallery's image.
struct Version {
    regions: Vec<String>,
    disk_gb: Option<u64>,
    retires: Option<String>,
}

impl Version {
    fn is_in(&self, region: &Region) -> bool {
        self.regions.iter().any(|found| is_region(found, region))
    }
}

/// One version, or a list of them, oldest first as Azure has them. Those that `latest` leaves out
/// are no versions here.
fn versions(value: &Value) -> Vec<Version> {
    let Some(list) = value.get("value").and_then(Value::as_array) else {
        return vec![version(value)];
    };
    let is_excluded = |row: &&Value| {
        row.pointer("/properties/publishingProfile/excludeFromLatest") == Some(&Value::Bool(true))
    };
    list.iter().filter(|row| !is_excluded(row)).map(version).collect()
}

fn version(value: &Value) -> Version {
    let targets = value.pointer("/properties/publishingProfile/targetRegions");
    let targets = targets.and_then(Value::as_array).into_iter().flatten();
    let disk = "/properties/storageProfile/osDiskImage/sizeInGB";
    Version {
        regions: targets.filter_map(|target| text(target, "/name")).collect(),
        disk_gb: value.pointer(disk).and_then(Value::as_u64),
        retires: text(value, "/properties/publishingProfile/endOfLifeDate"),
    }
}
