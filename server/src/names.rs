//! Names that end up in storage keys: repositories, tags, packages, coordinate codes, declarations. Parsed once, at the edge.

use std::fmt;
use std::str::FromStr;

use bundle::universe::is_package_name;
use snafu::{Snafu, ensure};

/// Longest coordinate code: with `.json` behind it, it is the name of a file.
const LONGEST_CODE: usize = 250;
/// Longest id of a declaration.
const LONGEST_ID: usize = 128;

/// Why a name is refused.
#[derive(Debug, Snafu)]
pub enum InvalidName {
    /// Not a repository's name.
    #[snafu(display(
        "{name:?} is not a repository name: at most 255 characters, parts of lower-case letters and digits joined by one of . _ __ or dashes, separated by /"
    ))]
    Repository {
        /// What was given.
        name: String,
    },
    /// Not a tag.
    #[snafu(display("{name:?} is not a tag: 1 to 128 letters, digits, _ . or -, the first one no . or -"))]
    Tag {
        /// What was given.
        name: String,
    },
    /// Not a coordinate code.
    #[snafu(display("{name:?} is not a coordinate code: 1 to {LONGEST_CODE} of a-z and 2-7 are needed"))]
    Code {
        /// What was given.
        name: String,
    },
    /// Not a package's name.
    #[snafu(display(
        "{name:?} is not a package name: 2 to 63 lower-case letters, digits and dashes, a letter first, no dash last"
    ))]
    Package {
        /// What was given.
        name: String,
    },
    /// Not a declaration's id.
    #[snafu(display("{name:?} is not an id: 1 to {LONGEST_ID} letters, digits, - _ or . are needed"))]
    Declaration {
        /// What was given.
        name: String,
    },
}

macro_rules! text_type {
    ($name:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(Repository, "A repository's name: `docker.io/library/redis`.");
text_type!(Tag, "A tag.");
text_type!(CoordinateCode, "The code of a package's name and version: lower-case base32.");
text_type!(PackageName, "A package's name.");
text_type!(DeclarationId, "A declaration's id.");

impl FromStr for Repository {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let right = name.len() <= 255 && name.split('/').all(is_component);
        ensure!(right, RepositorySnafu { name: shorten(name) });
        Ok(Self(name.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` of the distribution specification.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && text
            .split(|c: char| alphanumeric(u8::try_from(c).unwrap_or(0)))
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

impl FromStr for Tag {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let right = (1..=128).contains(&name.len())
            && name.bytes().all(|b| word(b) || b == b'.' || b == b'-')
            && name.bytes().next().is_some_and(word);
        ensure!(right, TagSnafu { name: shorten(name) });
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for CoordinateCode {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = |b| matches!(b, b'a'..=b'z' | b'2'..=b'7');
        let right = (1..=LONGEST_CODE).contains(&name.len()) && name.bytes().all(known);
        ensure!(right, CodeSnafu { name: shorten(name) });
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        ensure!(is_package_name(name), PackageSnafu { name: shorten(name) });
        Ok(Self(name.to_owned()))
    }
}

impl FromStr for DeclarationId {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let right = (1..=LONGEST_ID).contains(&name.len()) && name.bytes().all(known);
        ensure!(right, DeclarationSnafu { name: shorten(name) });
        Ok(Self(name.to_owned()))
    }
}

/// As much of a text from outside as a message shows.
#[must_use]
pub fn shorten(text: &str) -> String {
    text.chars().take(140).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_specification_are_repositories() {
        for name in ["a", "docker.io/library/redis", "a__b/c--d", "localhost-5000/x", "0"] {
            assert!(name.parse::<Repository>().is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_are_no_repositories() {
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "_manifests",
            "a/_tags",
            "A",
            "a..b",
            "a___b",
            "a-",
            ".a",
            "a b",
            "a%2eb",
            "a\0b",
            "ä",
        ] {
            assert!(name.parse::<Repository>().is_err(), "{name}");
        }
        assert!("a/".repeat(127).trim_end_matches('/').parse::<Repository>().is_ok());
        assert!("a".repeat(256).parse::<Repository>().is_err());
    }

    #[test]
    fn tags_start_with_a_word_character() {
        assert!("v1.2_3-x".parse::<Tag>().is_ok());
        assert!("_x".parse::<Tag>().is_ok());
        for name in ["", ".x", "-x", "a/b", "a:b", &"x".repeat(129)] {
            assert!(name.parse::<Tag>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_repository_has_no_part_that_a_folder_walk_would_misread(name in "[a-z0-9._/-]{1,20}") {
            if name.parse::<Repository>().is_ok() {
                prop_assert!(name.split('/').all(|p| !p.is_empty() && !p.starts_with(['_', '.'])));
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,300}") {
            let _ = text.parse::<Repository>();
            let _ = text.parse::<Tag>();
            let _ = text.parse::<CoordinateCode>();
            let _ = text.parse::<PackageName>();
            let _ = text.parse::<DeclarationId>();
        }
    }
}
