//! `[credential]` and `[site.NAME.credential]`: what is taken, what is refused, and that no value
//! is ever shown.

use std::path::PathBuf;

use azslurm_core::config::{self, Config, Credential, ManagedIdentity, SecretSource};

const REST: &str = concat!(
    r#"
[cluster]
name = "demo"
[site.west]
subscription = "11111111-1111-1111-1111-111111111111"
region = "westeurope"
resource_group = "hpc"
subnet = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/net"#,
    r#"/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
[nodeset.htc]
nodes = "htc-[1-4]"
sites = ["west"]
sku = "Standard_D4s_v5"
image = "publisher:offer:sku:latest"
ssh_public_key_file = "/etc/azslurm/admin.pub"
"#
);
const ID: &str = "22222222-2222-2222-2222-222222222222";

fn parse(credential: &str) -> Result<Config, config::ConfigErrors> {
    config::parse(&format!("{credential}{REST}"))
}

fn read(credential: &str) -> Credential {
    let config = parse(credential).unwrap_or_else(|errors| panic!("{errors}\n{credential}"));
    config.sites.into_values().next().expect("one site").credential
}

fn said(credential: &str) -> String {
    parse(credential).expect_err("this credential is wrong").to_string()
}

#[test]
fn every_kind_of_credential_is_read() {
    let system = Credential::ManagedIdentity(ManagedIdentity::System);
    assert_eq!(read(""), system);
    assert_eq!(read("[credential]\ntype = \"managed-identity\""), system);
    assert_eq!(
        read(&format!("[credential]\ntype = \"managed-identity\"\nobject_id = \"{ID}\"")),
        Credential::ManagedIdentity(ManagedIdentity::ObjectId(ID.to_owned()))
    );
    let application = format!("tenant_id = \"contoso.example\"\nclient_id = \"{ID}\"");
    let (tenant, client) = ("contoso.example".to_owned(), ID.to_owned());
    assert_eq!(
        read(&format!(
            "[credential]\ntype = \"client-secret\"\n{application}\nclient_secret_file = \"/s\""
        )),
        Credential::ClientSecret {
            tenant: tenant.clone(),
            client: client.clone(),
            secret: SecretSource::File(PathBuf::from("/s")),
        }
    );
    assert_eq!(
        read(&format!(
            "[credential]\ntype = \"client-certificate\"\n{application}\ncertificate_file = \"/c\""
        )),
        Credential::ClientCertificate {
            tenant: tenant.clone(),
            client: client.clone(),
            certificate_file: PathBuf::from("/c"),
        }
    );
    assert_eq!(
        read(&format!(
            "[credential]\ntype = \"workload-identity\"\n{application}\ntoken_file = \"/t\""
        )),
        Credential::WorkloadIdentity { tenant, client, token_file: PathBuf::from("/t") }
    );
    assert_eq!(read("[credential]\ntype = \"azure-cli\""), Credential::AzureCli);
}

#[test]
fn a_config_says_whether_it_holds_a_secret() {
    let table = |name: &str, key: &str| {
        format!(
            "[{name}]\ntype = \"client-secret\"\ntenant_id = \"{ID}\"\nclient_id = \"{ID}\"\n\
             {key} = \"/hunter2\"\n"
        )
    };
    for name in ["credential", "site.west.credential"] {
        assert!(parse(&table(name, "client_secret")).unwrap().holds_secret(), "{name}");
        assert!(!parse(&table(name, "client_secret_file")).unwrap().holds_secret(), "{name}");
    }
    let both =
        table("credential", "client_secret") + "[site.west.credential]\ntype = \"azure-cli\"\n";
    assert_eq!(said(&both), "1:1: credential: is used by no site: each has its own; remove it");
}

#[test]
fn a_credential_takes_the_keys_of_its_type_and_no_other() {
    let cases = [
        ("client_id = \"x\"", "1:1: credential.type: is missing: [credential] needs it"),
        (
            "type = \"azure-cli\"\nclient_secret = \"hunter2\"",
            "3:17: credential.client_secret: does not go with type = \"azure-cli\", \
             which takes no other key",
        ),
        (
            "type = \"client-certificate\"",
            "1:1: credential.tenant_id: is missing: [credential] needs it\n\
             1:1: credential.client_id: is missing: [credential] needs it\n\
             1:1: credential.certificate_file: is missing: the path of the file",
        ),
    ];
    for (keys, wanted) in cases {
        assert_eq!(said(&format!("[credential]\n{keys}")), wanted);
    }
    let two = format!(
        "[credential]\ntype = \"managed-identity\"\nclient_id = \"{ID}\"\nobject_id = \"{ID}\""
    );
    assert_eq!(
        said(&two),
        "4:13: credential.object_id: goes not together with client_id: keep one"
    );
}

#[test]
fn no_value_of_a_credential_is_ever_shown() {
    let application = format!("[credential]\ntype = \"client-secret\"\ntenant_id = \"{ID}\"\n");
    let cases = [
        format!("{application}client_id = \"hunter2\"\nclient_secret = \"{ID}\""),
        format!("{application}client_id = \"{ID}\"\nclient_secret_file = \"hunter2\""),
        format!("{application}client_id = \"{ID}\"\nclient_secret = [\"hunter2\"]"),
        format!("{application}client_id = \"{ID}\"\nclient_secrt = \"hunter2\""),
        "[credential]\ntype = \"hunter2\"".to_owned(),
        "[credential]\ntype = \"client-secret\"\ntenant_id = \"hunter2\"\nobject_id = \"hunter2\""
            .to_owned(),
        "credential = \"hunter2\"".to_owned(),
    ];
    for case in cases {
        let said = said(&case);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let number = format!("{application}client_id = \"{ID}\"\nclient_secret = 123456");
    assert!(!said(&number).contains("123456"));
}
