//! Who we are and what we may do.

use azslurm_azure::{AzureError, Permission, ResourceGroup};
use azslurm_program::check::Level::{Error, Note, Warning};

use super::{found, good, judge, one, refusal, site, world};

const SAME: (&str, &str) = ("", "");

#[test]
fn a_credential_without_a_token_is_an_error() {
    let mut seen = world();
    seen.doors[0].token = Err(AzureError::Token {
        credential: "managed-identity",
        status: Some(400),
        text: "Identity not found".into(),
    });
    *site(&mut seen) = super::SiteSeen::default();
    let text = format!("{}[credential]\ntype = \"managed-identity\"\n", good());
    let findings = judge(&text, &seen);
    one(&findings, Error, &["no token for west", "managed identity x", "Identity not found"], "");
    assert!(findings[0].at.as_ref().unwrap().ends_with(":22"), "{findings:#?}");
}

#[test]
fn a_cloud_that_cannot_be_asked_is_an_error() {
    let error = AzureError::Config { what: "CA bundle /x".into(), text: "bad".into() };
    let seen = super::AzureSeen { no_client: Some(error), ..Default::default() };
    one(&judge(&good(), &seen), Error, &["CA bundle /x"], "");
}

#[test]
fn an_answer_that_comes_too_late_is_an_error_of_its_own() {
    let mut seen = world();
    seen.doors[0].late = Some(180);
    one(&judge(&good(), &seen), Error, &["not answered", "west", "180 s"], "");
}

#[test]
fn a_resource_group_that_is_not_there_is_an_error() {
    let findings = found(SAME, |seen| seen.group = Ok(None));
    one(&findings, Error, &["site west", "resource group hpc does not exist"], "resource_group");
}

#[test]
fn a_resource_group_that_is_being_deleted_is_an_error() {
    let group = ResourceGroup { location: "westeurope".into(), state: "Deleting".into() };
    let findings = found(SAME, |seen| seen.group = Ok(Some(group)));
    one(&findings, Error, &["resource group hpc is being deleted"], "resource_group");
}

#[test]
fn a_resource_group_that_may_not_be_read_is_an_error() {
    let findings = found(SAME, |seen| seen.group = Err(refusal(403, "AuthorizationFailed")));
    one(&findings, Error, &["resource group hpc cannot be read", "403"], "resource_group");
    assert!(findings[0].fix.as_ref().unwrap().contains("azslurm-conf role"));
}

#[test]
fn a_provider_that_is_not_registered_is_an_error() {
    let findings = found(SAME, |seen| {
        seen.registrations.insert("Microsoft.Network", Ok(Some("NotRegistered".into())));
    });
    one(&findings, Error, &["not registered for Microsoft.Network"], "subscription");
    assert!(findings[0].fix.as_ref().unwrap().contains("az provider register --namespace"));
}

#[test]
fn a_provider_that_is_being_registered_is_a_warning() {
    let findings = found(SAME, |seen| {
        seen.registrations.insert("Microsoft.Compute", Ok(Some("Registering".into())));
    });
    one(&findings, Warning, &["Microsoft.Compute: Registering"], "subscription");
}

#[test]
fn an_identity_that_may_not_make_vms_is_an_error_that_names_each_action() {
    let but_write = Permission {
        actions: vec!["*".into()],
        not_actions: vec!["*/virtualMachines/write".into(), "*/disks/delete".into()],
    };
    let findings = found(SAME, |seen| {
        seen.rights.insert(super::GROUP.into(), Ok(vec![but_write]));
    });
    let words =
        ["Microsoft.Compute/virtualMachines/write", "Microsoft.Compute/disks/delete", "hpc"];
    one(&findings, Error, &words, "[site.west]");
    assert!(findings[0].fix.as_ref().unwrap().contains("azslurm-conf role --site west"));
}

#[test]
fn an_identity_that_may_not_join_the_subnet_is_an_error() {
    let reader = Permission { actions: vec!["*/read".into()], not_actions: Vec::new() };
    let findings = found(SAME, |seen| {
        seen.rights.insert(super::SUBNET.into(), Ok(vec![reader]));
    });
    one(&findings, Error, &["virtualNetworks/subnets/join/action"], "[site.west]");
    assert!(!findings[0].text.contains("subnets/read"), "that it may: {findings:#?}");
}

#[test]
fn an_identity_that_may_not_read_quotas_is_a_warning() {
    let but_quota =
        Permission { actions: vec!["*".into()], not_actions: vec!["*/usages/read".into()] };
    let scope = super::GROUP.split("/resourceGroups").next().unwrap().to_owned();
    let findings = found(SAME, |seen| {
        seen.rights.insert(scope, Ok(vec![but_quota]));
    });
    one(&findings, Warning, &["Microsoft.Compute/locations/usages/read"], "[site.west]");
}

#[test]
fn rights_that_may_not_be_read_are_a_note_and_nothing_else() {
    let findings = found(SAME, |seen| {
        seen.rights.insert(super::GROUP.into(), Err(refusal(403, "AuthorizationFailed")));
    });
    one(&findings, Note, &["what the identity may do at", "403 AuthorizationFailed"], "");
    let fix = findings[0].fix.as_ref().unwrap();
    assert!(fix.contains("Microsoft.Authorization/permissions/read"), "{fix}");
}

#[test]
fn resource_graph_that_does_not_answer_is_an_error() {
    let findings = found(SAME, |seen| seen.ours = Err(refusal(403, "AccessDenied")));
    one(&findings, Error, &["Resource Graph does not answer for site west"], "");
}

#[test]
fn prices_that_cannot_be_read_are_a_note() {
    let mut seen = world();
    seen.no_prices = Some(AzureError::NoTurn { doing: "read prices".into() });
    one(&judge(&good(), &seen), Note, &["prices are not known"], "");
}
