//! The body of a VM PUT: reading it without judging it. Must never: know the state.

use serde_json::{Map, Value};

use super::ids;
use super::message::ArmError;

/// A body that has the shape of a VM.
#[derive(Clone, Debug, PartialEq)]
pub struct VmPut {
    /// Region, normalised.
    pub location: String,
    /// Tags.
    pub tags: Map<String, Value>,
    /// Zones.
    pub zones: Vec<String>,
    /// `plan`, if any.
    pub plan: Option<Value>,
    /// `identity`, if any.
    pub identity: Option<Value>,
    /// `properties`.
    pub properties: Value,
    /// Names of all members at the top.
    pub members: Vec<String>,
}

/// Reads `tags` of any resource body.
///
/// # Errors
/// 400 when a tag is not a text.
pub fn tags(body: &Value) -> Result<Map<String, Value>, Box<ArmError>> {
    let Some(tags) = body.get("tags").filter(|tags| !tags.is_null()) else {
        return Ok(Map::new());
    };
    match tags.as_object().filter(|tags| tags.values().all(Value::is_string)) {
        Some(tags) => Ok(tags.clone()),
        None => Err(malformed("Tags must be an object of texts.")),
    }
}

/// The region of any resource body.
///
/// # Errors
/// 400 `LocationRequired` when there is none.
pub fn location(body: &Value) -> Result<String, Box<ArmError>> {
    let given = body.get("location").and_then(Value::as_str).filter(|text| !text.is_empty());
    given.map(ids::region).ok_or_else(|| {
        let text = "The location property is required for this definition.";
        Box::new(ArmError::new(400, "LocationRequired", text))
    })
}

/// 400 for a body that has not the shape of its resource.
pub fn malformed(text: &str) -> Box<ArmError> {
    let text = format!("The request content was invalid and could not be deserialized: '{text}'.");
    Box::new(ArmError::new(400, "InvalidRequestContent", text))
}

/// A list of texts; empty when missing.
pub fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl VmPut {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 when it is no object, has no location, or its tags are no texts.
    pub fn parse(body: &Value) -> Result<VmPut, Box<ArmError>> {
        let Some(object) = body.as_object() else {
            return Err(malformed("The body of a virtual machine must be an object."));
        };
        let given = |name: &str| object.get(name).filter(|value| !value.is_null()).cloned();
        Ok(VmPut {
            location: location(body)?,
            tags: tags(body)?,
            zones: texts(object.get("zones")),
            plan: given("plan"),
            identity: given("identity"),
            properties: given("properties").unwrap_or_else(|| Value::Object(Map::new())),
            members: object.keys().cloned().collect(),
        })
    }

    /// A member of `properties` by pointer (`/hardwareProfile/vmSize`); null counts as missing.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        // Not `Value::pointer`: it unescapes each part, and rules ask a hundred times per body.
        let mut parts = pointer.split('/').skip(1);
        let found = parts.try_fold(&self.properties, |value, part| value.get(part));
        found.filter(|value| !value.is_null())
    }

    /// The same as text; empty when missing.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or("")
    }

    /// The same as a list; empty when missing.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Size.
    pub fn size(&self) -> &str {
        self.text("/hardwareProfile/vmSize")
    }

    /// Asks for Spot. `Low` is its old name.
    pub fn is_spot(&self) -> bool {
        let priority = self.text("/priority");
        priority.eq_ignore_ascii_case("Spot") || priority.eq_ignore_ascii_case("Low")
    }

    /// Asks for an ephemeral OS disk.
    pub fn is_ephemeral(&self) -> bool {
        self.text("/storageProfile/osDisk/diffDiskSettings/option").eq_ignore_ascii_case("Local")
    }

    /// Name of the guest.
    pub fn computer_name(&self) -> &str {
        self.text("/osProfile/computerName")
    }

    /// The image: an id, or publisher:offer:sku:version.
    pub fn image(&self) -> Option<String> {
        let reference = self.at("/storageProfile/imageReference")?;
        let text = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or("");
        let by_id = ["id", "sharedGalleryImageId", "communityGalleryImageId"];
        if let Some(id) = by_id.into_iter().map(text).find(|id| !id.is_empty()) {
            return Some(id.to_owned());
        }
        let urn = ["publisher", "offer", "sku", "version"].map(text);
        urn.iter().all(|part| !part.is_empty()).then(|| urn.join(":"))
    }

    /// A capability that is asked for by a boolean anywhere in `networkInterfaceConfigurations`.
    pub fn wants_accelerated_networking(&self) -> bool {
        self.list("/networkProfile/networkInterfaceConfigurations").iter().any(|config| {
            config.pointer("/properties/enableAcceleratedNetworking") == Some(&Value::Bool(true))
        })
    }
}
