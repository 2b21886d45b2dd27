//! From the config's credential to one of `azure_identity`'s. It is made anew for every token:
//! files of secrets are read at use, and a token that Azure has refused cannot come back out of a
//! cache of that crate.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use azslurm_core::config::{Credential, ManagedIdentity, SecretSource};
use azslurm_core::secret::Secret;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::{
    ClientOptions, ExponentialRetryOptions, HttpClient, RetryOptions, Transport,
};
use azure_core::time::Duration;
use azure_identity::{
    AzureCliCredential, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use url::Url;

use crate::AzureError;
use crate::certificate::Certificate;
use crate::refusal::one_line;
use crate::transport::{Clients, ImdsTransport};

/// Retries of one request for a token to the authority; then the caller is told. With the pauses of
/// 1, 2 and 4 s it outlasts a failover and not a node's ResumeTimeout. (IMDS has its own in
/// `azure_identity`: 6 retries in 72 s, as Azure recommends, on which the config has no say;
/// `transport.rs` ends them where there is no IMDS at all.)
const RETRIES_MAX: u32 = 3;
/// Before the first of them.
const RETRY_PAUSE: Duration = Duration::seconds(1);
/// All of them together.
const RETRY_TIME_MAX: Duration = Duration::seconds(30);
/// No secret or token is longer; a file that is has been named by mistake.
const SECRET_LENGTH_MAX: u64 = 1024 * 1024;
/// Mode bits: written by group or others, read by others.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_READ: u32 = 0o004;

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Made anew for every token, from the config.
    Config(Box<Configured>),
    /// One that exists.
    Made(Arc<dyn TokenCredential>),
}

impl Source {
    /// The words of the config.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Config(configured) => configured.kind(),
            Source::Made(_) => "given",
        }
    }

    /// A credential for the next token.
    pub fn make(&self) -> Result<Arc<dyn TokenCredential>, AzureError> {
        match self {
            Source::Config(configured) => configured.make(),
            Source::Made(credential) => Ok(Arc::clone(credential)),
        }
    }
}

/// What makes credentials of the config's.
#[derive(Debug, Clone)]
pub struct Configured {
    pub credential: Credential,
    pub authority: Option<Url>,
    pub imds: Option<Url>,
    pub clients: Clients,
}

impl Configured {
    /// The words of the config.
    fn kind(&self) -> &'static str {
        match &self.credential {
            Credential::ManagedIdentity(_) => "managed-identity",
            Credential::ClientSecret { .. } => "client-secret",
            Credential::ClientCertificate { .. } => "client-certificate",
            Credential::WorkloadIdentity { .. } => "workload-identity",
            Credential::AzureCli => "azure-cli",
        }
    }

    /// A fresh credential.
    fn make(&self) -> Result<Arc<dyn TokenCredential>, AzureError> {
        match &self.credential {
            Credential::ManagedIdentity(identity) => self.managed_identity(identity),
            Credential::ClientSecret { tenant, client, secret } => {
                let secret = match secret {
                    SecretSource::Inline(secret) => secret.clone(),
                    SecretSource::File(path) => self.read(path, OTHERS_WRITE | OTHERS_READ)?,
                };
                let options = ClientSecretCredentialOptions { client_options: self.options()? };
                let secret = secret.expose().to_owned().into();
                let made =
                    ClientSecretCredential::new(tenant, client.clone(), secret, Some(options));
                Ok(made.map_err(|error| self.wrong(&error))?)
            }
            Credential::ClientCertificate { tenant, client, certificate_file } => {
                let pem = self.read(certificate_file, OTHERS_WRITE | OTHERS_READ)?;
                let audience = self.token_url(tenant)?;
                let certificate = Certificate::read(certificate_file, &pem, client, audience)?;
                let options = ClientAssertionCredentialOptions { client_options: self.options()? };
                let (tenant, client) = (tenant.clone(), client.clone());
                let made =
                    ClientAssertionCredential::new(tenant, client, certificate, Some(options));
                Ok(made.map_err(|error| self.wrong(&error))?)
            }
            Credential::WorkloadIdentity { tenant, client, token_file } => {
                self.workload_identity(tenant, client, token_file)
            }
            Credential::AzureCli => {
                let made = AzureCliCredential::new(None);
                Ok(made.map_err(|error| self.wrong(&error))?)
            }
        }
    }

    fn managed_identity(
        &self,
        identity: &ManagedIdentity,
    ) -> Result<Arc<dyn TokenCredential>, AzureError> {
        let user_assigned_id = match identity {
            ManagedIdentity::System => None,
            ManagedIdentity::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
            ManagedIdentity::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
            ManagedIdentity::ResourceId(id) => Some(UserAssignedId::ResourceId(id.clone())),
        };
        let endpoint =
            self.imds.clone().ok_or_else(|| self.token_error("no IMDS endpoint".into()))?;
        let transport = ImdsTransport { http: self.clients.imds.clone(), endpoint };
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(transport))),
            ..ClientOptions::default()
        };
        let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
        let made = ManagedIdentityCredential::new(Some(options));
        Ok(made.map_err(|error| self.wrong(&error))?)
    }

    /// The token's file may be readable by others: the kubelet makes it so, in a container that
    /// nobody else is in, and replaces it every hour. Writable it must not be.
    fn workload_identity(
        &self,
        tenant: &str,
        client: &str,
        token_file: &Path,
    ) -> Result<Arc<dyn TokenCredential>, AzureError> {
        self.read(token_file, OTHERS_WRITE)?;
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: self.options()?,
            },
            client_id: Some(client.to_owned()),
            tenant_id: Some(tenant.to_owned()),
            token_file_path: Some(token_file.to_owned()),
        };
        let made = WorkloadIdentityCredential::new(Some(options));
        Ok(made.map_err(|error| self.wrong(&error))?)
    }

    /// Options of whoever asks the authority: our client (roots, resolver, proxy) and bounded
    /// retries.
    fn options(&self) -> Result<ClientOptions, AzureError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority()?.to_string();
        let http: Arc<dyn HttpClient> = Arc::new(self.clients.azure.clone());
        Ok(ClientOptions {
            retry: RetryOptions::exponential(ExponentialRetryOptions {
                initial_delay: RETRY_PAUSE,
                max_retries: RETRIES_MAX,
                max_total_elapsed: RETRY_TIME_MAX,
                ..ExponentialRetryOptions::default()
            }),
            transport: Some(Transport::new(http)),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        })
    }

    fn authority(&self) -> Result<&Url, AzureError> {
        self.authority.as_ref().ok_or_else(|| self.token_error("no authority".into()))
    }

    /// What an assertion is made out to.
    fn token_url(&self, tenant: &str) -> Result<String, AzureError> {
        let url = self.authority()?.join(&format!("/{tenant}/oauth2/v2.0/token"));
        let url = url.map_err(|error| self.token_error(format!("tenant {tenant:?}: {error}")))?;
        Ok(url.to_string())
    }

    /// Reads a file of a secret, without the line's end that editors leave. Mode bits in
    /// `forbidden` refuse it; they are those of the file that was opened.
    fn read(&self, path: &Path, forbidden: u32) -> Result<Secret, AzureError> {
        let shown = path.display();
        let cannot =
            |error: std::io::Error| self.token_error(format!("cannot read {shown}: {error}"));
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        let mode = metadata.permissions().mode();
        if metadata.is_file() && mode & forbidden != 0 {
            let what = if mode & forbidden & OTHERS_WRITE != 0 { "write" } else { "read" };
            return Err(self.token_error(format!(
                "{shown} holds a secret and others may {what} it (mode {:03o}): chmod 600 {shown}",
                mode & 0o777
            )));
        }
        let mut text = String::new();
        file.take(SECRET_LENGTH_MAX).read_to_string(&mut text).map_err(cannot)?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(self.token_error(format!("{shown} is empty")));
        }
        Ok(Secret::new(text))
    }

    fn wrong(&self, error: &azure_core::Error) -> AzureError {
        self.token_error(one_line(&error.to_string()))
    }

    fn token_error(&self, text: String) -> AzureError {
        AzureError::Token { credential: self.kind(), status: None, text }
    }
}
