//! JSON web tokens: signing and verifying our own, and taking foreign ones apart.
//!
//! Must never: decide whether a foreign token is good; that is `assertion.rs`.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

/// Writes without padding, reads with or without: azure_identity for Rust pads, MSAL does not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Takes base64 in the URL alphabet or the plain one, padded or not.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('+', "-").replace('/', "_")).ok()
}

/// Base64 for URLs, without padding.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// The key that signs this process's tokens.
pub(super) struct Key(hmac::Key);

impl Key {
    /// A key that nobody else has.
    pub(super) fn random() -> Key {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Key(key.expect("the system's random source works, or TLS would not either"))
    }

    /// A three-part token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": "azslurm-arm-emulator" });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    }

    /// The claims of a token that this key has signed.
    pub(super) fn verify(&self, token: &str) -> Option<Value> {
        let parts = Parts::read(token)?;
        hmac::verify(&self.0, parts.signed.as_bytes(), &parts.signature).ok()?;
        Some(parts.claims)
    }
}

/// A token taken apart, unverified.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// The header's JSON.
    pub(super) header: Value,
    /// The claims' JSON.
    pub(super) claims: Value,
    /// What the signature covers.
    pub(super) signed: &'a str,
    /// The signature's bytes.
    pub(super) signature: Vec<u8>,
}

impl Parts<'_> {
    /// Takes a token apart; `None` when it is not shaped like one.
    pub(super) fn read(token: &str) -> Option<Parts<'_>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |text: &str| {
            let value: Value = serde_json::from_slice(&decode(text)?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Parts {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// A claim that is text; empty when it is missing or something else.
    pub(super) fn claim(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }

    /// A claim that is a time, in whole seconds; 0 when it is missing. It may have a fraction (RFC
    /// 7519, NumericDate), and MSAL for Python sends one.
    pub(super) fn time(&self, name: &str) -> u64 {
        self.claims[name].as_f64().unwrap_or(0.0).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_another_key_or_with_changed_claims_does_not_verify() {
        let key = Key::random();
        let token = key.sign(&json!({ "aud": "a" }));
        assert_eq!(key.verify(&token).unwrap()["aud"], "a");
        assert!(Key::random().verify(&token).is_none());

        let parts: Vec<_> = token.split('.').collect();
        let edited = format!("{}.{}.{}", parts[0], encode(r#"{"aud":"b"}"#), parts[2]);
        assert!(key.verify(&edited).is_none());
    }

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        for text in ["-_8", "-_8=", "+/8", "+/8="] {
            assert_eq!(decode(text).unwrap(), [0xfb, 0xff], "{text}");
        }
        assert!(decode("!").is_none());
    }

    #[test]
    fn what_is_not_a_token_is_not_taken_apart() {
        for text in ["", "a", "a.b.c", "...", "e30.W10.", "FAKE"] {
            assert!(Parts::read(text).is_none(), "{text}");
        }
    }
}
