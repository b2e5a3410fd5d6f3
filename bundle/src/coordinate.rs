//! Coordinates (name and version of a package) and the code that stands for one in addresses and keys.

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

/// Name and version of a package.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinate {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
}

/// Why a text is no coordinate code.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum CoordinateError {
    /// Other characters than the alphabet's.
    #[snafu(display("a coordinate code has only the characters a-z and 0-9, and at least one"))]
    Characters,
    /// Not base32.
    #[snafu(display("the coordinate code is not base32: {source}"))]
    Base32 {
        /// What the decoder says.
        source: data_encoding::DecodeError,
    },
    /// Base32 of something else.
    #[snafu(display("the coordinate code does not hold a name and a version: {source}"))]
    Json {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Another spelling of the same thing.
    #[snafu(display("the coordinate code is not spelled as this registry spells it"))]
    Spelling,
}

impl Coordinate {
    /// The code: lower-case base32 without padding of `{"name":"…","version":"…"}`.
    ///
    /// # Example
    /// ```
    /// use bundle::coordinate::Coordinate;
    /// let coordinate = Coordinate { name: "hello".into(), version: "1.0".into() };
    /// assert_eq!(Coordinate::from_code(&coordinate.code()).unwrap(), coordinate);
    /// ```
    #[must_use]
    pub fn code(&self) -> String {
        let name = serde_json::Value::from(self.name.as_str());
        let version = serde_json::Value::from(self.version.as_str());
        let json = format!("{{\"name\":{name},\"version\":{version}}}");
        BASE32_NOPAD.encode(json.as_bytes()).to_ascii_lowercase()
    }

    /// Reads a code. One coordinate has one code: any other spelling is refused.
    ///
    /// # Errors
    /// [`CoordinateError`] when the text is not a code made by [`Coordinate::code`].
    pub fn from_code(code: &str) -> Result<Self, CoordinateError> {
        let alphabet = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        ensure!(!code.is_empty() && code.bytes().all(alphabet), CharactersSnafu);
        let json = BASE32_NOPAD.decode(code.to_ascii_uppercase().as_bytes()).context(Base32Snafu)?;
        let coordinate: Self = serde_json::from_slice(&json).context(JsonSnafu)?;
        ensure!(coordinate.code() == code, SpellingSnafu);
        Ok(coordinate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL: &str =
        "pmrg4ylnmurduitqmfrwwylhmuwxezlhnfzxi4tzeiwce5tfojzws33oei5cembogixdcljqfyzc4mjnguydoljvmizgkyzwgarh2";

    #[test]
    fn a_code_from_a_real_address_is_read_and_written() {
        let coordinate = Coordinate::from_code(REAL).unwrap();
        assert_eq!(coordinate.name, "package-registry");
        assert_eq!(coordinate.version, "0.2.1-0.2.1-507-5b2ec60");
        assert_eq!(coordinate.code(), REAL);
    }

    #[test]
    fn another_spelling_of_a_code_is_refused() {
        assert!(matches!(Coordinate::from_code(&REAL.to_ascii_uppercase()), Err(CoordinateError::Characters)));
        assert!(matches!(Coordinate::from_code(""), Err(CoordinateError::Characters)));
        assert!(matches!(Coordinate::from_code("../etc"), Err(CoordinateError::Characters)));
        let spaced = BASE32_NOPAD.encode(br#"{"name": "a","version":"b"}"#).to_ascii_lowercase();
        assert!(matches!(Coordinate::from_code(&spaced), Err(CoordinateError::Spelling)));
        let more = BASE32_NOPAD.encode(br#"{"name":"a","version":"b","x":1}"#).to_ascii_lowercase();
        assert!(matches!(Coordinate::from_code(&more), Err(CoordinateError::Json { .. })));
    }

    proptest! {
        #[test]
        fn every_coordinate_comes_back_from_its_code(name in ".{0,40}", version in ".{0,40}") {
            let coordinate = Coordinate { name, version };
            prop_assert_eq!(Coordinate::from_code(&coordinate.code()).unwrap(), coordinate);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9]{0,80}") {
            if let Ok(coordinate) = Coordinate::from_code(&text) {
                prop_assert_eq!(coordinate.code(), text);
            }
        }
    }
}
