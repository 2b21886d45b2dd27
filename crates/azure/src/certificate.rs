//! A client assertion of our own: a JWT signed with the key of a certificate (Microsoft identity
//! platform application authentication certificate credentials). `azure_identity` would need
//! OpenSSL for it; ring does not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use azslurm_core::secret::Secret;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::AzureError;
use crate::random::uuid;

/// How long an assertion is good: it is used at once, and the authority takes at most an hour or
/// so.
const LIFE: Duration = Duration::from_secs(600);
/// How far our clock may be ahead of the authority's.
const SKEW: Duration = Duration::from_secs(60);

/// A certificate with its key, and whom it stands for.
pub struct Certificate {
    key: KeyPair,
    leaf: CertificateDer<'static>,
    client: String,
    audience: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a PEM file's text: one RSA key (PKCS#8 or PKCS#1) and its certificate, in any order;
    /// other certificates (a chain) may be there.
    pub fn read(
        path: &Path,
        pem: &Secret,
        client: &str,
        audience: String,
    ) -> Result<Self, AzureError> {
        let wrong = |text: &str| AzureError::Token {
            credential: "client-certificate",
            status: None,
            text: format!("{}: {text}", path.display()),
        };
        let pem = pem.expose().as_bytes();
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| wrong("no private key in it; PEM with PKCS#8 or PKCS#1 is wanted"))?;
        let key =
            rsa(&key).ok_or_else(|| wrong("its private key is not RSA of 2048 bits or more"))?;
        let modulus = PublicKeyComponents::<Vec<u8>>::from(key.public_key()).n;
        let leaf = CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .find(|certificate| contains(certificate, &modulus))
            .ok_or_else(|| wrong("no certificate in it belongs to its private key"))?;
        Ok(Certificate { key, leaf: leaf.into_owned(), client: client.to_owned(), audience })
    }

    /// The signed assertion: `x5t` and `x5t#S256` name the certificate, by the old hash and the
    /// new.
    fn assertion(&self, now: SystemTime) -> Result<String, azure_core::Error> {
        let header = json!({
            "alg": "RS256",
            "typ": "JWT",
            "x5t": encoded(digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.leaf).as_ref()),
            "x5t#S256": encoded(digest(&SHA256, &self.leaf).as_ref()),
        });
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "aud": self.audience,
            "iss": self.client,
            "sub": self.client,
            "jti": uuid(),
            "nbf": now.saturating_sub(SKEW).as_secs(),
            "iat": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
        });
        let signed = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(claims.to_string().as_bytes())
        );
        let mut signature = vec![0; self.key.public_key().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| {
            let kind = azure_core::error::ErrorKind::Credential;
            azure_core::Error::with_message(kind, "the key of the certificate cannot sign")
        })?;
        Ok(format!("{signed}.{}", encoded(&signature)))
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Certificate {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.assertion(SystemTime::now())
    }
}

fn rsa(key: &PrivateKeyDer<'_>) -> Option<KeyPair> {
    match key {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()).ok(),
        PrivateKeyDer::Sec1(_) | _ => None,
    }
}

fn contains(certificate: &CertificateDer<'_>, modulus: &[u8]) -> bool {
    certificate.windows(modulus.len()).any(|window| window == modulus)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    const PKCS8: &str = include_str!("../tests/data/client-pkcs8.pem");
    const PKCS1: &str = include_str!("../tests/data/client-pkcs1.pem");
    const PUBLIC_KEY: &[u8] = include_bytes!("../tests/data/client-public-key.der");
    /// `openssl x509 -outform DER | openssl dgst -sha1 -binary | base64`, as base64url; then
    /// `-sha256`.
    const X5T: &str = "IaM4Jh1QN3nhP7POHcDUCatj970";
    const X5T_S256: &str = "vsd6Vedz51R_TALRqzVmI5LxrG26oo5T8d1YclZCEJM";

    fn certificate(pem: &str) -> Result<Certificate, AzureError> {
        let audience = "https://login/t/oauth2/v2.0/token".to_owned();
        Certificate::read(Path::new("/c.pem"), &Secret::new(pem), "client", audience)
    }

    fn part(token: &str, number: usize) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_is_signed_by_the_key_and_names_its_certificate() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for pem in [PKCS8, PKCS1] {
            let token = certificate(pem).unwrap().assertion(now).unwrap();
            let (signed, _) = token.rsplit_once('.').unwrap();
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC_KEY)
                .verify(signed.as_bytes(), &part(&token, 2))
                .unwrap();
            let header: Value = serde_json::from_slice(&part(&token, 0)).unwrap();
            assert_eq!(
                header,
                json!({"alg": "RS256", "typ": "JWT", "x5t": X5T, "x5t#S256": X5T_S256})
            );
            let claims: Value = serde_json::from_slice(&part(&token, 1)).unwrap();
            assert_eq!(claims["aud"], "https://login/t/oauth2/v2.0/token");
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client"), &json!("client")));
            assert_eq!(claims["nbf"], 1_799_999_940);
            assert_eq!(claims["exp"], 1_800_000_600);
        }
    }

    #[test]
    fn two_assertions_are_not_the_same() {
        let certificate = certificate(PKCS8).unwrap();
        let now = SystemTime::now();
        assert_ne!(certificate.assertion(now).unwrap(), certificate.assertion(now).unwrap());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_fault() {
        let halves: Vec<&str> = PKCS8.split_inclusive("-----END PRIVATE KEY-----\n").collect();
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        for (pem, fault) in [
            ("nonsense".to_owned(), "no private key"),
            (halves[1].to_owned(), "no private key"),
            (halves[0].to_owned(), "no certificate in it belongs"),
            (format!("{}{}", halves[0], other.cert.pem()), "no certificate in it belongs"),
            (format!("{}{}", other.signing_key.serialize_pem(), halves[1]), "not RSA"),
        ] {
            let error = certificate(&pem).unwrap_err().to_string();
            assert!(error.contains("/c.pem") && error.contains(fault), "{error}");
        }
        let chain = format!("{}{PKCS8}", other.cert.pem());
        assert!(certificate(&chain).is_ok(), "another certificate before ours is passed over");
    }

    #[test]
    fn a_certificate_does_not_show_its_key() {
        let shown = format!("{:?}", certificate(PKCS8).unwrap());
        assert_eq!(shown, "Certificate { client: \"client\", .. }");
    }
}
