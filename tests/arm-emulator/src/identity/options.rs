//! Who exists in the emulated directory. Read from the emulator's configuration, or made by a test.
//!
//! Must never: hold anything that is secret outside a test. The defaults are printed here.

use serde::Deserialize;

/// The tenant of the default directory.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The application of the default directory.
pub const CLIENT_ID: &str = "33333333-3333-3333-3333-333333333333";
/// The secret of the default application.
pub const CLIENT_SECRET: &str = "not-a-secret-of-the-emulator";
/// Client id of the default system-assigned identity.
pub const SYSTEM_CLIENT_ID: &str = "44444444-4444-4444-4444-444444444444";
/// Object id of the default system-assigned identity.
pub const SYSTEM_OBJECT_ID: &str = "44444444-4444-4444-4444-44444444aaaa";
/// Client id of the default user-assigned identity.
pub const USER_CLIENT_ID: &str = "55555555-5555-5555-5555-555555555555";
/// Object id of the default user-assigned identity.
pub const USER_OBJECT_ID: &str = "55555555-5555-5555-5555-55555555aaaa";
/// Resource id of the default user-assigned identity.
pub const USER_RESOURCE_ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/\
     resourceGroups/identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/azslurm";

/// Who a lenient directory takes an unknown token for.
pub(super) const ANYBODY_OBJECT_ID: &str = "99999999-9999-9999-9999-999999999999";

/// Services beside ARM that one may get a token for; ARM refuses it with the wrong-audience error.
pub(super) const OTHER_SERVICES: [&str; 4] = [
    "https://vault.azure.net",
    "https://graph.microsoft.com",
    "https://storage.azure.com",
    "https://graph.windows.net",
];

/// One hour: short tokens of an application live 60 to 90 minutes. (LEARN: Configurable token
/// lifetimes in the Microsoft identity platform)
const TOKEN_LIFETIME_S: u64 = 3600;

/// A directory: one tenant, its applications, and the identities of the VM that asks its metadata
/// service.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityOptions {
    /// The only tenant there is.
    pub tenant: String,
    /// Audiences that ARM accepts; compared without case and without trailing slash.
    pub audiences: Vec<String>,
    /// The applications of the tenant.
    pub clients: Vec<ClientOptions>,
    /// The managed identities of the VM behind the metadata service.
    pub identities: Vec<ManagedIdentity>,
    /// Life of a token, in seconds. A token of 0 s is expired when it is issued.
    pub token_lifetime_s: u64,
    /// Accept any bearer token: for clients with a made-up credential.
    pub lenient: bool,
}

impl Default for IdentityOptions {
    fn default() -> IdentityOptions {
        IdentityOptions {
            tenant: TENANT.into(),
            audiences: vec![
                "https://management.azure.com/".into(),
                "https://management.core.windows.net/".into(),
            ],
            clients: vec![ClientOptions::with_secret(CLIENT_ID, CLIENT_SECRET)],
            identities: vec![
                ManagedIdentity {
                    client_id: SYSTEM_CLIENT_ID.into(),
                    object_id: SYSTEM_OBJECT_ID.into(),
                    resource_id: None,
                },
                ManagedIdentity {
                    client_id: USER_CLIENT_ID.into(),
                    object_id: USER_OBJECT_ID.into(),
                    resource_id: Some(USER_RESOURCE_ID.into()),
                },
            ],
            token_lifetime_s: TOKEN_LIFETIME_S,
            lenient: false,
        }
    }
}

/// An application and the ways in which it may prove who it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientOptions {
    /// The application (client) id.
    pub client_id: String,
    /// Object id of its service principal; the client id when empty.
    pub object_id: String,
    /// Secrets that are good.
    pub secrets: Vec<String>,
    /// Certificates whose key may sign an assertion, as PEM.
    pub certificates: Vec<String>,
    /// Issuers and subjects whose tokens are trusted (workload identity federation). Their
    /// signature is not checked: the emulator cannot reach the issuer's keys.
    pub federations: Vec<Federation>,
    /// Tokens trusted literally, in whatever form.
    pub federated_tokens: Vec<String>,
}

impl ClientOptions {
    /// An application with one secret.
    pub fn with_secret(client_id: &str, secret: &str) -> ClientOptions {
        ClientOptions {
            client_id: client_id.into(),
            secrets: vec![secret.into()],
            ..ClientOptions::default()
        }
    }

    /// The object id of its service principal.
    pub fn principal_id(&self) -> &str {
        if self.object_id.is_empty() { &self.client_id } else { &self.object_id }
    }
}

/// A federated credential of an application.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// The `iss` claim, exactly.
    pub issuer: String,
    /// The `sub` claim, exactly.
    pub subject: String,
    /// The `aud` claim, exactly.
    #[serde(default = "exchange_audience")]
    pub audience: String,
}

fn exchange_audience() -> String {
    "api://AzureADTokenExchange".into()
}

impl Federation {
    /// A federation with the audience that Azure recommends.
    pub fn new(issuer: &str, subject: &str) -> Federation {
        Federation { issuer: issuer.into(), subject: subject.into(), audience: exchange_audience() }
    }
}

/// A managed identity of the VM. The one without a resource id is the system-assigned one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentity {
    /// The client id.
    pub client_id: String,
    /// The object (principal) id.
    pub object_id: String,
    /// The ARM resource id; `None` for the system-assigned identity.
    #[serde(default)]
    pub resource_id: Option<String>,
}
