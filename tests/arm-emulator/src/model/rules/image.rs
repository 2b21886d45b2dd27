//! Images, purchase plans and the OS disk.

use serde_json::Value;

use super::{Case, Objection};
use crate::catalog::{self, SkuFacts};
use crate::model::settings::ImageKind;

/// Trusted Launch takes this much of an ephemeral disk's room (FACTS §1.1).
const TRUSTED_LAUNCH_GB: u64 = 1;
/// Storage types of managed disks. (SPEC: StorageAccountTypes)
const STORAGE: [&str; 7] = [
    "Standard_LRS",
    "StandardSSD_LRS",
    "Premium_LRS",
    "UltraSSD_LRS",
    "Premium_ZRS",
    "StandardSSD_ZRS",
    "PremiumV2_LRS",
];

pub(super) fn missing(case: &Case) -> Option<Objection> {
    let is_missing = case.existing.is_none() && case.put.image().is_none();
    is_missing.then(|| {
        let text = "Required parameter 'imageReference' is missing (null).";
        Objection::to("imageReference", text)
    })
}

/// An image id of a gallery (own, shared or community), in contrast to a URN or a managed image.
fn is_gallery(image: &str) -> bool {
    image.to_ascii_lowercase().contains("galler")
}

fn unknown_image(case: &Case) -> Option<String> {
    case.put.image().filter(|image| {
        let is_there = case.model.image_is_in(image, &case.put.location);
        !case.model.image_exists(image) || !is_there
    })
}

pub(super) fn unknown(case: &Case) -> Option<Objection> {
    unknown_image(case).filter(|image| !is_gallery(image)).map(|image| {
        let text = format!(
            "The platform image '{image}' is not available. Verify that all fields in the storage \
             profile are correct."
        );
        Objection::to("imageReference", text)
    })
}

pub(super) fn unknown_in_gallery(case: &Case) -> Option<Objection> {
    unknown_image(case).filter(|image| is_gallery(image)).map(|image| {
        let text = format!(
            "The gallery image {image} is not available in {} region. Please contact image owner \
             to replicate to this region, or change your requested region.",
            case.put.location
        );
        Objection::to("imageReference", text)
    })
}

pub(super) fn plan_missing(case: &Case) -> Option<Objection> {
    let needs = case.model.needs_plan(&case.put.image()?);
    let is_complete = ["name", "publisher", "product"].iter().all(|name| {
        let value = case.put.plan.as_ref().and_then(|plan| plan.get(name));
        value.and_then(Value::as_str).is_some_and(|value| !value.is_empty())
    });
    (needs && case.existing.is_none() && !is_complete).then(|| {
        Objection::new(format!(
            "Creating a virtual machine from Marketplace image or a custom image sourced from a \
             Marketplace image requires Plan information in the request. VM: '{}'.",
            case.id
        ))
    })
}

pub(super) fn terms_not_accepted(case: &Case) -> Option<Objection> {
    let plan = case.put.plan.as_ref()?;
    let part = |name: &str| plan.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{}:{}:{}", part("publisher"), part("product"), part("name"));
    (case.existing.is_none() && !case.model.is_accepted(&name)).then(|| {
        Objection::new(format!(
            "Offer with PublisherId: '{}', OfferId: '{}' cannot be purchased due to validation \
             errors. 'You have not accepted the legal terms on this subscription: '{}' for this \
             plan. Before the subscription can be used, you need to accept the legal terms of the \
             image.'",
            part("publisher"),
            part("product"),
            case.id.subscription
        ))
    })
}

/// The size and the image of a new VM, if both are known.
fn pair(case: &Case) -> Option<(&'static SkuFacts, ImageKind)> {
    let image = case.put.image().filter(|_| case.existing.is_none())?;
    Some((catalog::sku(case.put.size())?, case.model.image_kind(&image)))
}

pub(super) fn generation(case: &Case) -> Option<Objection> {
    let (sku, image) = pair(case)?;
    let is_known = sku.generations.split(',').any(|one| one == image.generation());
    (!is_known).then(|| {
        Objection::new(format!(
            "The selected VM size '{}' cannot boot Hypervisor Generation '{}'. If this was a \
             Create operation please check that the Hypervisor Generation of the Image matches the \
             Hypervisor Generation of the selected VM Size.",
            sku.name,
            image.generation().trim_start_matches('V')
        ))
    })
}

pub(super) fn architecture(case: &Case) -> Option<Objection> {
    let (sku, image) = pair(case)?;
    let of_size = if sku.is_arm { "Arm64" } else { "x64" };
    (!image.architecture().eq_ignore_ascii_case(of_size)).then(|| {
        Objection::new(format!(
            "Cannot create a VM of size '{}' because this VM size only supports a CPU Architecture \
             of '{of_size}', but an image or disk with CPU Architecture '{}' was given. Please \
             check that the CPU Architecture of the image or disk is compatible with that of the \
             VM size.",
            sku.name,
            image.architecture()
        ))
    })
}

/// The size, if an ephemeral disk is asked for.
fn ephemeral<'a>(case: &'a Case) -> Option<&'a SkuFacts> {
    if case.put.is_ephemeral() { catalog::sku(case.put.size()) } else { None }
}

pub(super) fn ephemeral_not_supported(case: &Case) -> Option<Objection> {
    ephemeral(case).filter(|sku| !sku.ephemeral_os).map(|sku| {
        let text = format!(
            "OS disk of Ephemeral VM is not supported for VM size '{}' since it has neither cache \
             nor local disk room for it.",
            sku.name
        );
        Objection::to("osDisk.diffDiskSettings", text)
    })
}

pub(super) fn ephemeral_caching(case: &Case) -> Option<Objection> {
    let is_read_only =
        case.put.text("/storageProfile/osDisk/caching").eq_ignore_ascii_case("ReadOnly");
    (case.put.is_ephemeral() && !is_read_only).then(|| {
        let text = "The caching of an ephemeral OS disk must be 'ReadOnly'.";
        Objection::to("osDisk.caching", text)
    })
}

fn room(sku: &SkuFacts, placement: &str) -> Option<u32> {
    sku.ephemeral_placements().iter().find(|name| name.eq_ignore_ascii_case(placement))?;
    let rooms = [
        ("CacheDisk", sku.cache_disk_gb),
        ("ResourceDisk", sku.resource_disk_gb),
        ("NvmeDisk", sku.nvme_disk_gb),
    ];
    let found = rooms.iter().find(|(name, _)| name.eq_ignore_ascii_case(placement));
    found.map(|(_, room)| *room)
}

/// Without a placement Azure takes the cache disk if there is one, else the resource disk.
fn placement<'a>(case: &'a Case, sku: &SkuFacts) -> &'a str {
    match case.put.text("/storageProfile/osDisk/diffDiskSettings/placement") {
        "" if sku.cache_disk_gb > 0 => "CacheDisk",
        "" => "ResourceDisk",
        given => given,
    }
}

pub(super) fn ephemeral_placement(case: &Case) -> Option<Objection> {
    let sku = ephemeral(case)?;
    let placement = placement(case, sku);
    (room(sku, placement).unwrap_or(0) == 0).then(|| {
        let text = format!(
            "The value '{placement}' of parameter 'placement' is not supported for VM size '{}'. \
             Supported: {}.",
            sku.name,
            sku.ephemeral_placements().join(", ")
        );
        Objection::to("osDisk.diffDiskSettings.placement", text)
    })
}

pub(super) fn ephemeral_too_large(case: &Case) -> Option<Objection> {
    let sku = ephemeral(case)?;
    let trusted = case.put.text("/securityProfile/securityType") == "TrustedLaunch";
    let asked = case.put.at("/storageProfile/osDisk/diskSizeGB").and_then(Value::as_u64)?;
    let needed = asked + if trusted { TRUSTED_LAUNCH_GB } else { 0 };
    let room = u64::from(room(sku, placement(case, sku))?);
    (needed > room).then(|| {
        let text = format!(
            "OS disk of Ephemeral VM with size greater than {room} GB is not allowed for VM size \
             {} when the DiffDiskPlacement is {}.",
            sku.name,
            placement(case, sku)
        );
        Objection::to("osDisk.diskSizeGB", text)
    })
}

pub(super) fn ephemeral_detach(case: &Case) -> Option<Objection> {
    let option = case.put.text("/storageProfile/osDisk/deleteOption");
    (case.put.is_ephemeral() && option.eq_ignore_ascii_case("Detach")).then(|| {
        let text = "Delete option 'Detach' is not supported for an ephemeral OS disk.";
        Objection::to("osDisk.deleteOption", text)
    })
}

pub(super) fn disk_words(case: &Case) -> Option<Objection> {
    let os = "/storageProfile/osDisk";
    let checks: [(&str, &[&str]); 4] = [
        ("managedDisk/storageAccountType", &STORAGE),
        ("deleteOption", &["Delete", "Detach"]),
        ("caching", &["None", "ReadOnly", "ReadWrite"]),
        ("createOption", &["FromImage", "Attach", "Empty", "Copy", "Restore"]),
    ];
    checks.iter().find_map(|(name, known)| {
        let given = case.put.text(&format!("{os}/{name}"));
        let is_known = known.iter().any(|word| word.eq_ignore_ascii_case(given));
        (!given.is_empty() && !is_known).then(|| {
            let target = format!("osDisk.{}", name.replace('/', "."));
            let text = format!("The value '{given}' of parameter '{target}' is invalid.");
            Objection::to(&target, text)
        })
    })
}
