//! Client assertions: is this signed statement good for this application? (LEARN: Microsoft
//! identity platform application authentication certificate credentials; Workload identity
//! federation)
//!
//! Must never: issue anything.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::Refused;
use super::jwt::{Parts, decode};
use super::{ClientOptions, unix_now};

/// Difference between clocks that Entra tolerates, in seconds.
const CLOCK_SKEW_S: u64 = 300;

/// How an application has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Certificate,
    Federated,
}

/// Checks an assertion of `client`. `audiences` are the spellings of this token endpoint's URL.
pub(super) fn check(
    assertion: &str,
    client: &ClientOptions,
    audiences: &[String],
) -> Result<Proof, Refused> {
    if client.federated_tokens.iter().any(|token| token == assertion) {
        return Ok(Proof::Federated);
    }
    let parts = Parts::read(assertion).ok_or_else(|| {
        Refused::invalid_request(50027, "JWT token is invalid or malformed.".into())
    })?;
    check_time(&parts)?;
    // An assertion that an application makes for itself names itself as its issuer.
    if parts.claim("iss").eq_ignore_ascii_case(&client.client_id) {
        check_certificate(&parts, client, audiences)?;
        return Ok(Proof::Certificate);
    }
    check_federation(&parts, client)?;
    Ok(Proof::Federated)
}

fn check_time(parts: &Parts<'_>) -> Result<(), Refused> {
    let now = unix_now();
    let (not_before, expires) = (parts.time("nbf"), parts.time("exp"));
    if not_before <= now + CLOCK_SKEW_S && now < expires.saturating_add(CLOCK_SKEW_S) {
        return Ok(());
    }
    let text = format!(
        "Client assertion is not within its valid time range. Current time: {now}, assertion \
         valid from {not_before}, expiry time of assertion {expires}."
    );
    Err(Refused::invalid_client(700_024, text))
}

fn check_certificate(
    parts: &Parts<'_>,
    client: &ClientOptions,
    audiences: &[String],
) -> Result<(), Refused> {
    if !parts.claim("sub").eq_ignore_ascii_case(&client.client_id) {
        let text = "The subject of the client assertion is not the client application.";
        return Err(Refused::invalid_client(700_021, text.into()));
    }
    let audience = parts.claim("aud");
    if !audiences.iter().any(|known| known == audience) {
        let text = format!(
            "Client assertion audience claim does not match Realm issuer. Review the \
             documentation; got '{audience}'."
        );
        return Err(Refused::invalid_client(700_023, text));
    }
    let known = client
        .certificates
        .iter()
        .filter_map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    let Some(certificate) = known.into_iter().find(|certificate| is_named(parts, certificate))
    else {
        let text = "The certificate with identifier used to sign the client assertion is not \
                    registered on application. [Reason - The key was not found.]";
        return Err(Refused::invalid_client(700_027, text.into()));
    };
    if is_signed_by(parts, &certificate) {
        return Ok(());
    }
    let text = "Client assertion contains an invalid signature. [Reason - The provided signature \
                value did not match the expected signature value.]";
    Err(Refused::invalid_client(700_027, text.into()))
}

/// Whether the header's thumbprint is this certificate's.
fn is_named(parts: &Parts<'_>, certificate: &CertificateDer<'_>) -> bool {
    let named = |field: &str| parts.header[field].as_str().and_then(decode);
    if let Some(thumbprint) = named("x5t#S256") {
        return thumbprint == digest(&SHA256, certificate).as_ref();
    }
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    named("x5t").is_some_and(|thumbprint| thumbprint == sha1.as_ref())
}

fn is_signed_by(parts: &Parts<'_>, certificate: &CertificateDer<'_>) -> bool {
    let algorithm = match parts.header["alg"].as_str() {
        Some("RS256") => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
        Some("PS256") => webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        Some(_) | None => return false,
    };
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
        certificate.verify_signature(algorithm, parts.signed.as_bytes(), &parts.signature).is_ok()
    })
}

fn check_federation(parts: &Parts<'_>, client: &ClientOptions) -> Result<(), Refused> {
    let (issuer, subject, audience) = (parts.claim("iss"), parts.claim("sub"), parts.claim("aud"));
    let is_known = client.federations.iter().any(|federation| {
        federation.issuer == issuer
            && federation.subject == subject
            && federation.audience == audience
    });
    if is_known {
        return Ok(());
    }
    let text = format!(
        "No matching federated identity record found for presented assertion issuer '{issuer}', \
         subject '{subject}' and audience '{audience}'. Please check your federated identity \
         credential Subject, Audience and Issuer against the presented assertion."
    );
    Err(Refused::invalid_client(70_021, text))
}
