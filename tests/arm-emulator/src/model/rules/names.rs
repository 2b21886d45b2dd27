//! Names, users, keys, and data for the guest.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Case, Objection};

/// Longest VM resource name.
const VM_NAME_MAX: usize = 64;
/// Longest Linux computer name.
const COMPUTER_NAME_MAX: usize = 64;
/// Characters that no VM name may contain.
const FORBIDDEN: &str = "\\/\"'[]:|<>+=;,?*@&#%^{}!$()~` ";
/// Most bytes of custom or user data before encoding.
const DATA_MAX: usize = 65_535;
/// Most tags of a resource.
const TAGS_MAX: usize = 50;
/// Longest name and longest value of a tag.
const TAG_MAX: (usize, usize) = (512, 256);

/// User names that Azure bans. (SPEC, description of `adminUsername`)
const BANNED: [&str; 33] = [
    "administrator",
    "admin",
    "user",
    "user1",
    "test",
    "user2",
    "test1",
    "user3",
    "admin1",
    "1",
    "123",
    "a",
    "actuser",
    "adm",
    "admin2",
    "aspnet",
    "backup",
    "console",
    "david",
    "guest",
    "john",
    "owner",
    "root",
    "server",
    "sql",
    "support",
    "support_388945a0",
    "sys",
    "test2",
    "test3",
    "user4",
    "user5",
    "video",
];

pub(super) fn vm_name(case: &Case) -> Option<Objection> {
    let name = &case.id.name;
    let is_bad = name.is_empty()
        || name.len() > VM_NAME_MAX
        || name.starts_with('_')
        || name.ends_with(['.', '-'])
        || name.chars().any(|c| FORBIDDEN.contains(c) || c.is_control());
    is_bad.then(|| {
        Objection::to("vmName", format!(
            "The resource name '{name}' or a part of the name is invalid. Virtual machine names \
             have 1 to {VM_NAME_MAX} characters, do not start with '_', do not end with '.' or \
             '-', and contain no special characters."
        ))
    })
}

/// Only a VM made from an image has an OS profile; a PUT over an existing VM may leave it out.
fn has_profile(case: &Case) -> bool {
    case.existing.is_none() || case.put.at("/osProfile").is_some()
}

fn missing(case: &Case, name: &str) -> Option<Objection> {
    let is_missing = case.put.text(&format!("/osProfile/{name}")).is_empty();
    (has_profile(case) && is_missing).then(|| {
        Objection::to(name, format!("Required parameter 'osProfile.{name}' is missing (null)."))
    })
}

pub(super) fn computer_name_missing(case: &Case) -> Option<Objection> {
    missing(case, "computerName")
}

pub(super) fn computer_name(case: &Case) -> Option<Objection> {
    let name = case.put.computer_name();
    let is_digits = name.chars().all(|c| c.is_ascii_digit());
    let is_bad = name.len() > COMPUTER_NAME_MAX
        || is_digits
        || name.starts_with(['-', '.'])
        || name.ends_with(['-', '.'])
        || name.chars().any(|c| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'));
    (!name.is_empty() && is_bad).then(|| {
        Objection::to("computerName", format!(
            "Linux host name '{name}' cannot exceed {COMPUTER_NAME_MAX} characters in length, be \
             entirely numeric, or contain characters other than letters, digits, '-' and '.'."
        ))
    })
}

pub(super) fn admin_name_missing(case: &Case) -> Option<Objection> {
    missing(case, "adminUsername")
}

pub(super) fn admin_name_banned(case: &Case) -> Option<Objection> {
    let name = case.put.text("/osProfile/adminUsername").to_ascii_lowercase();
    (BANNED.contains(&name.as_str()) || name.ends_with('.')).then(|| {
        Objection::to(
            "adminUsername",
            format!(
                "The Admin Username specified is not allowed: '{name}'. For more information about \
             disallowed usernames, see https://aka.ms/vmosprofile"
            ),
        )
    })
}

fn keys<'a>(case: &'a Case) -> &'a [Value] {
    case.put.list("/osProfile/linuxConfiguration/ssh/publicKeys")
}

pub(super) fn no_way_in(case: &Case) -> Option<Objection> {
    let pointer = "/osProfile/linuxConfiguration/disablePasswordAuthentication";
    let keys_only = case.put.at(pointer) == Some(&Value::Bool(true));
    let has_password = !case.put.text("/osProfile/adminPassword").is_empty();
    let is_closed = has_profile(case) && case.existing.is_none() && keys(case).is_empty();
    (is_closed && (keys_only || !has_password)).then(|| {
        let text = "Authentication using either SSH or by user name and password must be enabled \
                    in Linux profile.";
        Objection::to("linuxConfiguration", text)
    })
}

pub(super) fn ssh_key(case: &Case) -> Option<Objection> {
    let user = case.put.text("/osProfile/adminUsername");
    let path = format!("/home/{user}/.ssh/authorized_keys");
    keys(case).iter().find_map(|key| {
        let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("path") != path {
            return Some(Objection::to("linuxConfiguration.ssh.publicKeys.path", format!(
                "Destination path for SSH public keys is currently limited to its default value \
                 {path} due to a known issue in Linux provisioning agent."
            )));
        }
        let words = text("keyData").split_whitespace().count();
        (words < 2).then(|| {
            let text = "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is \
                        invalid.";
            Objection::to("linuxConfiguration.ssh.publicKeys.keyData", text)
        })
    })
}

fn data(case: &Case, pointer: &str, name: &str) -> Option<Objection> {
    let given = case.put.at(pointer)?;
    let decoded = given.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    match decoded {
        Some(bytes) if bytes.len() <= DATA_MAX => None,
        Some(_) => Some(Objection::to(
            name,
            format!("{name} exceeds the maximum length of {DATA_MAX} bytes before encoding."),
        )),
        None => {
            Some(Objection::to(name, format!("{name} contains an invalid Base64 encoded value.")))
        }
    }
}

pub(super) fn custom_data(case: &Case) -> Option<Objection> {
    data(case, "/osProfile/customData", "customData")
}

pub(super) fn user_data(case: &Case) -> Option<Objection> {
    data(case, "/userData", "userData")
}

pub(super) fn tags(case: &Case) -> Option<Objection> {
    let tags = &case.put.tags;
    let (name_max, value_max) = TAG_MAX;
    let too_long = tags.iter().any(|(name, value)| {
        name.len() > name_max || value.as_str().is_some_and(|value| value.len() > value_max)
    });
    (tags.len() > TAGS_MAX || too_long).then(|| {
        Objection::to(
            "tags",
            format!(
                "A resource may have at most {TAGS_MAX} tags, with names of at most {name_max} and \
             values of at most {value_max} characters."
            ),
        )
    })
}
