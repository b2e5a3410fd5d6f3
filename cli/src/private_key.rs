//! Private keys to sign with: PEM as `openssl` writes them, and cosign's own, which a password encrypts.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bundle::signature::{PublicKey, Signature};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;
use snafu::{OptionExt, Snafu};

/// The most memory that a key file may ask for to derive its key: cosign's own asks for 64 MiB.
const MOST_MEMORY: u64 = 256 << 20;

/// Why a file is no private key. Says nothing of its content.
#[derive(Debug, Snafu)]
pub enum PrivateKeyError {
    /// Not a form that is read.
    #[snafu(display(
        "it is not a private key: {reason}; must be PEM: BEGIN PRIVATE KEY (PKCS#8) or EC PRIVATE KEY on P-256, or a key of cosign generate-key-pair"
    ))]
    Form {
        /// What it is.
        reason: String,
    },
    /// Encrypted, and there is no password.
    #[snafu(display("the key is encrypted: put its password into COSIGN_PASSWORD"))]
    NoPassword,
    /// Encrypted with another password.
    #[snafu(display("the key can't be decrypted: the password in COSIGN_PASSWORD is another, or the file is damaged"))]
    WrongPassword,
    /// The library refuses.
    #[snafu(display("the key can't sign"))]
    Sign,
}

/// A private key.
pub struct PrivateKey(EcdsaKeyPair);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Reads a key file. `password` is for keys of cosign, which are always encrypted, if only with an empty one.
    ///
    /// # Errors
    /// [`PrivateKeyError`].
    pub fn from_pem(text: &[u8], password: Option<&[u8]>) -> Result<Self, PrivateKeyError> {
        let parsed = pem::parse(text).map_err(|error| PrivateKeyError::Form { reason: error.to_string() })?;
        let curve = "it is for another algorithm than ECDSA on P-256";
        let pkcs8 = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let key = match parsed.tag() {
            "PRIVATE KEY" => pkcs8(parsed.contents()).ok(),
            "EC PRIVATE KEY" => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, parsed.contents()).ok()
            }
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                pkcs8(&decrypt(parsed.contents(), password.context(NoPasswordSnafu)?)?).ok()
            }
            other => return FormSnafu { reason: format!("it begins with BEGIN {other}") }.fail(),
        };
        key.map(Self).context(FormSnafu { reason: curve })
    }

    /// Signs.
    ///
    /// # Errors
    /// A library that refuses.
    pub fn sign(&self, content: &[u8]) -> Result<Signature, PrivateKeyError> {
        let signature = self.0.sign(&SystemRandom::new(), content).map_err(|_| PrivateKeyError::Sign)?;
        Ok(Signature(signature.as_ref().to_vec()))
    }

    /// Its public half.
    ///
    /// # Errors
    /// A library that refuses.
    pub fn public_key(&self) -> Result<PublicKey, PrivateKeyError> {
        let der = self.0.public_key().as_der().map_err(|_| PrivateKeyError::Sign)?;
        PublicKey::from_der(der.as_ref().to_vec()).map_err(|_| PrivateKeyError::Sign)
    }
}

/// What cosign puts into the PEM: JSON that says how the key is encrypted.
#[derive(Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
#[expect(non_snake_case, reason = "the file's own key")]
struct Params {
    N: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn decrypt(json: &[u8], password: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
    let form = |reason: &str| PrivateKeyError::Form { reason: reason.to_owned() };
    let Encrypted { kdf, cipher, ciphertext } =
        serde_json::from_slice(json).map_err(|_| form("its content is not what cosign writes"))?;
    let known = kdf.name == "scrypt" && cipher.name == "nacl/secretbox";
    known.then_some(()).ok_or_else(|| form("it is encrypted in another way than scrypt and nacl/secretbox"))?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| form("its content is not base64"));
    let Params { N: cost, r, p } = kdf.params;
    let memory = cost.checked_mul(128).and_then(|bytes| bytes.checked_mul(u64::from(r).max(1)));
    let affordable =
        cost.is_power_of_two() && cost > 1 && memory.is_some_and(|memory| memory <= MOST_MEMORY) && p <= 16;
    affordable.then_some(()).ok_or_else(|| form("its scrypt parameters are too large"))?;
    let log_n = u8::try_from(cost.ilog2()).map_err(|_| form("its scrypt parameters are too large"))?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| form("its scrypt parameters are wrong"))?;
    let mut key = [0; 32];
    scrypt::scrypt(password, &decoded(&kdf.salt)?, &params, &mut key)
        .map_err(|_| form("its scrypt parameters are wrong"))?;
    let nonce: [u8; 24] = decoded(&cipher.nonce)?.try_into().map_err(|_| form("its nonce has not 24 bytes"))?;
    open_secretbox(&key, &nonce, &decoded(&ciphertext)?).context(WrongPasswordSnafu)
}

/// `crypto_secretbox_open`: 16 bytes Poly1305, keyed by the first 32 bytes of the `XSalsa20` stream, then what the rest
/// of the stream encrypts.
fn open_secretbox(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    let (tag, body) = sealed.split_at_checked(16)?;
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut tag_key = [0; 32];
    stream.apply_keystream(&mut tag_key);
    let found = Poly1305::new(&tag_key.into()).compute_unpadded(body);
    verify_slices_are_equal(&found, tag).ok()?;
    let mut plain = body.to_vec();
    stream.apply_keystream(&mut plain);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for this test by `cosign generate-key-pair`, with the password `secret`.
    const COSIGN: &str = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n\
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6\n\
OCwicCI6MX0sInNhbHQiOiIyclJWRFlLcmdLRGJZMVBXanhJck9ma3N2TFNGUVFm\n\
cDU2SjlBVGtBTktRPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94\n\
Iiwibm9uY2UiOiJoRjhGWVhVN0h1cnZ6RGFRVU5lSmVham85cTRYYjF0aCJ9LCJj\n\
aXBoZXJ0ZXh0IjoiTVpNZlpUeXBKQVZqMk9wMGt2Q2JrYno0cDBWVG42UGdFaEJF\n\
dTlMbHJya2dBVit6SjBjcmpDSmptdGIxVVMvL1VSamtZTzZCamo5WVhaRGtweFhB\n\
NnowNHIwU3FBU0Y0L1ZoL3dMZmU0Zi9WREc0WFZ2UGtkWkJuc3M3ZkVlV1pOWlQv\n\
b0c0RHBnUHBkd3VpT3NlTWI0Q0VlNmFTK3ExSFYrYjhETUtsR3owRnJrcXBSRWRu\n\
SW5FRUVhRTN6TWhZWmM0UTJIalg1bVB1ZWc9PSJ9\n\
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    const COSIGN_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERwNpPW00Xi4XmaLvB5GXy5cnetVV\n\
2oDxoZqNZwM6vXtO/tKOvANxdvgNr3RlXwDU9NNnUOVp7ovtuzo16i4rfA==\n\
-----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_of_cosign_is_opened_by_its_password_alone() {
        let key = PrivateKey::from_pem(COSIGN.as_bytes(), Some(b"secret")).unwrap();
        let public = PublicKey::from_pem(COSIGN_PUBLIC.as_bytes()).unwrap();
        assert!(public.verifies(b"content", &key.sign(b"content").unwrap()));
        assert_eq!(key.public_key().unwrap().hint(), public.hint());
        let refused = |password| PrivateKey::from_pem(COSIGN.as_bytes(), password).unwrap_err().to_string();
        assert!(refused(Some(b"Secret")).contains("password") && refused(None).contains("COSIGN_PASSWORD"));
    }

    #[test]
    fn pem_keys_are_read_and_what_is_none_is_refused_without_being_shown() {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let pkcs8 = made.to_pkcs8v1().unwrap();
        let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let key = PrivateKey::from_pem(pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes(), None).unwrap();
        assert!(key.public_key().unwrap().verifies(b"c", &key.sign(b"c").unwrap()));
        let sec1 = made.private_key().as_der().unwrap();
        assert!(PrivateKey::from_pem(pem("EC PRIVATE KEY", sec1.as_ref()).as_bytes(), None).is_ok());
        let costly = r#"{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":""},"ciphertext":""}"#;
        for (tag, content, word) in [
            ("CERTIFICATE", "hidden", "CERTIFICATE"),
            ("PRIVATE KEY", "hidden", "P-256"),
            ("ENCRYPTED SIGSTORE PRIVATE KEY", "hidden", "cosign"),
            ("ENCRYPTED SIGSTORE PRIVATE KEY", costly, "scrypt"),
        ] {
            let error =
                PrivateKey::from_pem(pem(tag, content.as_bytes()).as_bytes(), Some(b"")).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("hidden"), "{error}");
        }
        assert!(PrivateKey::from_pem(b"hidden", None).is_err());
    }
}
