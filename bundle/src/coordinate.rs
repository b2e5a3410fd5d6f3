//! Coordinates (name and version of a package) and the code that stands for one in addresses and keys.

use data_encoding::BASE32_NOPAD;

/// Name and version of a package.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Coordinate {
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
}

impl Coordinate {
    /// The code: lower-case base32 without padding of `{"name":"…","version":"…"}`.
    ///
    /// # Example
    /// ```
    /// use bundle::coordinate::Coordinate;
    /// let coordinate = Coordinate { name: "hello".into(), version: "1.0".into() };
    /// assert_eq!(coordinate.code(), "pmrg4ylnmurduitimvwgy3zcfqrhmzlsonuw63rchirdclrqej6q");
    /// ```
    #[must_use]
    pub fn code(&self) -> String {
        let name = serde_json::Value::from(self.name.as_str());
        let version = serde_json::Value::from(self.version.as_str());
        let json = format!("{{\"name\":{name},\"version\":{version}}}");
        BASE32_NOPAD.encode(json.as_bytes()).to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_that_of_a_real_address() {
        let coordinate = Coordinate { name: "package-registry".into(), version: "0.2.1-0.2.1-507-5b2ec60".into() };
        let real =
            "pmrg4ylnmurduitqmfrwwylhmuwxezlhnfzxi4tzeiwce5tfojzws33oei5cembogixdcljqfyzc4mjnguydoljvmizgkyzwgarh2";
        assert_eq!(coordinate.code(), real);
    }

    #[test]
    fn a_code_has_everything_of_a_coordinate_whatever_its_characters() {
        let coordinate = Coordinate { name: "\"größe\"".into(), version: "1\n".into() };
        let json = BASE32_NOPAD.decode(coordinate.code().to_ascii_uppercase().as_bytes()).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"name":"\"größe\"","version":"1\n"}"#);
    }
}
