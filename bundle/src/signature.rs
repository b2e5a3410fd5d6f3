//! Signatures of packages: ECDSA on P-256 with SHA-256 over the content document, as `cosign sign-blob` makes them.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::digest::sha256;

/// The form of signature bundles that is written; others of its kind are read.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEDIA_TYPES: &str = "application/vnd.dev.sigstore.bundle";
/// Longest DER form of an ECDSA signature on P-256.
const LONGEST: usize = 72;

/// Why a text is no public key.
#[derive(Debug, Snafu)]
#[snafu(display("it is not a public key: {reason}; must be PEM (BEGIN PUBLIC KEY) with an ECDSA key on P-256"))]
pub struct KeyError {
    reason: String,
}

/// Somebody's public key.
pub struct PublicKey {
    der: Vec<u8>,
    key: ParsedPublicKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.hint())
    }
}

impl PublicKey {
    /// Reads a PEM file (SPKI), as `cosign generate-key-pair` and `openssl ec -pubout` write it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let parsed = pem::parse(text).map_err(|error| KeyError { reason: error.to_string() })?;
        let reason = || format!("it begins with BEGIN {}", parsed.tag());
        ensure!(parsed.tag() == "PUBLIC KEY", KeySnafu { reason: reason() });
        Self::from_der(parsed.into_contents())
    }

    /// Reads a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_der(der: Vec<u8>) -> Result<Self, KeyError> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der)
            .map_err(|error| KeyError { reason: error.to_string() })?;
        Ok(Self { der, key })
    }

    /// Whether this key's owner signed the content.
    #[must_use]
    pub fn verifies(&self, content: &[u8], signature: &Signature) -> bool {
        self.key.verify_sig(content, &signature.0).is_ok()
    }

    /// How signature bundles call the key: base64 of the sha256 of its DER form.
    #[must_use]
    pub fn hint(&self) -> String {
        STANDARD.encode(digest(&self.der))
    }
}

/// A signature, in ASN.1 DER.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature(pub Vec<u8>);

/// Why bytes are no signature.
#[derive(Debug, Snafu)]
pub enum SignatureError {
    /// Neither JSON nor base64.
    #[snafu(display("it is neither a signature bundle (JSON) nor base64: {source}"))]
    Form {
        /// Why.
        source: base64::DecodeError,
    },
    /// JSON without a signature that is read.
    #[snafu(display("{path}: {reason}"))]
    Bundle {
        /// Where.
        path: &'static str,
        /// What would be right.
        reason: String,
    },
}

impl Signature {
    /// Reads a sigstore bundle with a message signature, an older cosign bundle (`base64Signature`), or the signature alone in
    /// base64, as `cosign sign-blob` writes them.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let text = bytes.trim_ascii();
        if !text.starts_with(b"{") {
            return STANDARD.decode(text).map(Self).context(FormSnafu);
        }
        let wrong = |path, reason: &str| BundleSnafu { path, reason: reason.to_owned() };
        let bundle: Value =
            serde_json::from_slice(text).or_else(|error| wrong("$", &format!("it is not JSON: {error}")).fail())?;
        let media_type = bundle.get("mediaType").and_then(Value::as_str);
        let (path, found) = match (media_type, bundle.get("base64Signature")) {
            (Some(known), _) if known.starts_with(MEDIA_TYPES) => {
                ("$.messageSignature.signature", bundle.pointer("/messageSignature/signature"))
            }
            (_, Some(found)) => ("$.base64Signature", Some(found)),
            _ => return wrong("$.mediaType", &format!("must be {MEDIA_TYPE}")).fail(),
        };
        let encoded = found.and_then(Value::as_str).context(wrong(path, "must be a signature in base64"))?;
        let decoded = STANDARD.decode(encoded).ok().filter(|decoded| decoded.len() <= LONGEST);
        decoded.map(Self).context(wrong(path, "must be an ECDSA signature on P-256 in base64"))
    }

    /// The sigstore bundle of a signature, one line.
    #[must_use]
    pub fn bundle(&self, content: &[u8], key: &PublicKey) -> String {
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.hint()}},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest(content))},
                "signature": self.base64(),
            },
        })
        .to_string()
    }

    /// The signature in base64.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let hex = sha256(bytes);
    data_encoding::HEXLOWER.decode(hex.trim_start_matches("sha256:").as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    fn signed(content: &[u8]) -> (PublicKey, Signature) {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let signature = Signature(key.sign(&SystemRandom::new(), content).unwrap().as_ref().to_vec());
        (PublicKey::from_der(key.public_key().as_der().unwrap().as_ref().to_vec()).unwrap(), signature)
    }

    #[test]
    fn a_signature_is_read_back_from_every_form() {
        let (key, signature) = signed(b"content");
        let older = json!({"base64Signature": signature.base64(), "cert": "…"}).to_string();
        for form in [signature.bundle(b"content", &key), format!("{}\n", signature.base64()), older] {
            let read = Signature::parse(form.as_bytes()).unwrap();
            assert!(key.verifies(b"content", &read) && !key.verifies(b"other", &read), "{form}");
        }
        assert!(!signed(b"content").0.verifies(b"content", &signature), "somebody else's key");
    }

    #[test]
    fn what_is_no_signature_or_key_is_refused_with_its_place() {
        for (text, word) in [
            ("", ""),
            ("***", "base64"),
            ("{", "JSON"),
            ("{}", "$.mediaType"),
            (
                r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{}}"#,
                "$.messageSignature",
            ),
            (r#"{"base64Signature":7}"#, "$.base64Signature"),
        ] {
            match Signature::parse(text.as_bytes()) {
                Ok(signature) => assert!(!signed(b"c").0.verifies(b"c", &signature)),
                Err(error) => assert!(error.to_string().contains(word), "{text}: {error}"),
            }
        }
        let rsa = pem::encode(&pem::Pem::new("RSA PUBLIC KEY", vec![1]));
        for (text, word) in [("", "PEM"), (rsa.as_str(), "RSA PUBLIC KEY")] {
            assert!(PublicKey::from_pem(text.as_bytes()).unwrap_err().to_string().contains(word));
        }
        assert!(PublicKey::from_der(vec![0x30, 0]).is_err());
    }
}
