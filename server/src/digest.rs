//! Digests of content: `sha256:<64 hex>` and `sha512:<128 hex>`.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use snafu::{Snafu, ensure};

use crate::names::shorten;

/// A registered hash algorithm of the OCI image specification.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm that the server knows.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The word before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest: algorithm and lower-case hex digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// The text isn't a digest.
#[derive(Debug, Snafu)]
#[snafu(display(
    "{text:?} is not a digest: sha256:<64 lower-case hex digits> or sha512:<128 lower-case hex digits> is needed"
))]
pub struct InvalidDigest {
    text: String,
}

impl Digest {
    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = text.split_once(':').and_then(|(name, hex)| {
            let algorithm = Algorithm::ALL.into_iter().find(|a| a.name() == name)?;
            is_hex(hex, algorithm.hex_length()).then(|| Self { algorithm, hex: hex.to_owned() })
        });
        found.ok_or_else(|| InvalidDigestSnafu { text: shorten(text) }.build())
    }
}

/// Checks the 64 digits of a bare SHA-256, as declarations carry it.
///
/// # Errors
/// Anything but 64 lower-case hex digits.
pub fn check_sha256_hex(hex: &str) -> Result<(), InvalidDigest> {
    ensure!(is_hex(hex, 64), InvalidDigestSnafu { text: shorten(hex) });
    Ok(())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A hash being computed.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    /// The state between two updates, in hex digits after the algorithm's name, so that another process can go on.
    #[must_use]
    pub fn save(&self) -> String {
        let (algorithm, hex) = match self {
            Self::Sha256(h) => (Algorithm::Sha256, HEXLOWER.encode(&h.serialize())),
            Self::Sha512(h) => (Algorithm::Sha512, HEXLOWER.encode(&h.serialize())),
        };
        format!("{}:{hex}", algorithm.name())
    }

    /// Goes on from a saved state; `None` for a text that is none.
    #[must_use]
    pub fn resume(state: &str) -> Option<Self> {
        let (name, hex) = state.split_once(':')?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
        match Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)? {
            Algorithm::Sha256 => {
                let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
                Sha256::deserialize(&state).ok().map(Self::Sha256)
            }
            Algorithm::Sha512 => {
                let state = SerializedState::<Sha512>::try_from(bytes.as_slice()).ok()?;
                Sha512::deserialize(&state).ok().map(Self::Sha512)
            }
        }
    }

    /// What it computes.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Self::Sha256(h) => (Algorithm::Sha256, HEXLOWER.encode(&h.finalize())),
            Self::Sha512(h) => (Algorithm::Sha512, HEXLOWER.encode(&h.finalize())),
        };
        Digest { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"abc");
            let digest = hasher.finish();
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn upper_case_short_and_foreign_digests_are_refused() {
        let good = Digest::sha256(b"").to_string();
        for bad in [
            good.to_uppercase(),
            good[..70].to_owned(),
            format!("{good}0"),
            good.replace("sha256", "md5"),
            good.replace(':', "/"),
            String::new(),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = text.parse::<Digest>();
            let _ = Hasher::resume(&text);
            let _ = Hasher::resume(&format!("sha256:{}", HEXLOWER.encode(text.as_bytes())));
        }

        #[test]
        fn a_saved_state_goes_on_to_the_same_digest(first: Vec<u8>, second: Vec<u8>) {
            for algorithm in Algorithm::ALL {
                let mut whole = Hasher::new(algorithm);
                whole.update(&first);
                let mut resumed = Hasher::resume(&whole.save()).unwrap();
                whole.update(&second);
                resumed.update(&second);
                prop_assert_eq!(resumed.finish(), whole.finish());
            }
        }
    }
}
