//! Platforms of images: `linux/amd64`, `linux/arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use snafu::Snafu;

/// An operating system and a processor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Snafu)]
#[snafu(display(
    "\"{text}\" is not a platform, must be OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT: linux/amd64, linux/arm/v7"
))]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// Names as images have them; what other tools call the same is the same.
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        // Every 64-bit ARM image is v8 where it doesn't say more.
        let variant = variant.filter(|variant| !(variant.is_empty() || architecture == "arm64" && *variant == "v8"));
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// The platform that an image's config says.
    ///
    /// # Errors
    /// A config that says none.
    pub fn of_config(config: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Config {
            os: String,
            architecture: String,
            variant: Option<String>,
        }
        let Config { os, architecture, variant } = serde_json::from_slice(config)?;
        Ok(Self::new(&os, &architecture, variant.as_deref()))
    }

    /// Whether an image of the other platform is meant by this one: without a variant, every variant is.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }

    /// Whether this marks what belongs to an image but is none, as attestations do.
    pub(crate) fn is_unknown(&self) -> bool {
        self.os == "unknown"
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        };
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(word) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(word) => Ok(Self::new(os, architecture, Some(variant))),
            _ => PlatformSnafu { text }.fail(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_platform_without_variant_covers_every_variant() {
        for (wanted, there, covers) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm", false),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/x86_64", "linux/amd64", true),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(platform(wanted).covers(&platform(there)), covers, "{wanted} {there}");
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for wrong in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "a//b"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
