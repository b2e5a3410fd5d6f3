//! Where a file of a package is before it is in a bundle.

use std::path::{Component, Path, PathBuf};

use snafu::{ResultExt, Snafu};
use url::Url;

/// Longest file name in a bundle.
const LONGEST: usize = 128;

/// A file's place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Location {
    /// Downloaded.
    Http(Url),
    /// Opened.
    File(PathBuf),
}

/// Why a text is no place of a file.
#[derive(Debug, Snafu)]
pub enum LocationError {
    /// A URL that can't be parsed.
    #[snafu(display("\"{}\" is not a URL: {source}", without_credentials(address)))]
    NotUrl {
        /// The text.
        address: String,
        /// Why.
        source: url::ParseError,
    },
    /// A scheme that is not read.
    #[snafu(display(
        "\"{}\": {scheme}: is not fetched, only http, https and file are (a path with a colon begins with ./)",
        without_credentials(address)
    ))]
    Scheme {
        /// The text.
        address: String,
        /// Its scheme.
        scheme: String,
    },
    /// A `file:` URL with a host.
    #[snafu(display("\"{}\" does not name a file of this machine", without_credentials(address)))]
    NotLocal {
        /// The text.
        address: String,
    },
}

impl Location {
    /// Reads `http(s)` and `file` URLs; everything without a scheme is a path, relative to `directory`, with or without `@` before it.
    ///
    /// # Errors
    /// [`LocationError`].
    pub fn parse(address: &str, directory: &Path) -> Result<Self, LocationError> {
        let scheme = scheme(address).map(str::to_ascii_lowercase);
        match scheme.as_deref() {
            Some("http" | "https") => Url::parse(address).map(Self::Http).context(NotUrlSnafu { address }),
            Some("file") => {
                let url = Url::parse(address).context(NotUrlSnafu { address })?;
                url.to_file_path().map(Self::File).or_else(|()| NotLocalSnafu { address }.fail())
            }
            Some(scheme) => SchemeSnafu { address, scheme }.fail(),
            None => Ok(Self::File(directory.join(address.strip_prefix('@').unwrap_or(address)))),
        }
    }
}

/// The file name that an address gets in a bundle: its last segment, percent-decoded, with `_` for everything but
/// `A-Z a-z 0-9 . _ -` and for dots at its beginning, at most 128 characters, `file` where nothing is left.
#[must_use]
pub fn file_name(address: &str, location: &Location) -> String {
    let segment = match location {
        Location::Http(url) => decoded(url.path_segments().and_then(|mut path| path.next_back()).unwrap_or_default()),
        Location::File(path) => match scheme(address) {
            Some(_) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            None => address.rsplit('/').next().map(|name| name.trim_start_matches('@')).unwrap_or_default().to_owned(),
        },
    };
    let rest = segment.trim_start_matches('.');
    let dots = segment.len() - rest.len();
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let safe = rest.chars().map(|c| if known(c) { c } else { '_' });
    let name: String = std::iter::repeat_n('_', dots).chain(safe).take(LONGEST).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

/// An address without user, password, query and fragment, for messages and manifests: presigned addresses have their
/// signature or token in the query.
#[must_use]
pub fn without_credentials(address: &str) -> String {
    if scheme(address).is_none() {
        return address.to_owned();
    }
    match Url::parse(address) {
        Ok(url) if url.username().is_empty() && url.password().is_none() => without_query(address).to_owned(),
        Ok(mut url) => {
            let removed = url.set_username("").and_then(|()| url.set_password(None));
            removed.map_or_else(|()| "…".to_owned(), |()| without_query(url.as_str()).to_owned())
        }
        Err(_) => without_query(address.rsplit('@').next().unwrap_or_default()).to_owned(),
    }
}

fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

/// Resolves `.` and `..` by the text alone.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let right = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'.' | b'-'));
    right.then_some(scheme)
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let byte = escape.and_then(|(digits, behind)| {
            let digits =
                std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, behind))
        });
        let (byte, behind) = byte.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(address: &str) -> String {
        file_name(address, &Location::parse(address, Path::new("/d")).unwrap())
    }

    #[test]
    fn file_names_are_the_last_segment_made_safe() {
        assert_eq!(named("https://e.test/a/icon.png?raw=true#x"), "icon.png");
        assert_eq!(named("https://e.test/dcos-ui-v2.37.0%2Bx.tar.gz"), "dcos-ui-v2.37.0_x.tar.gz");
        assert_eq!(named("https://e.test/gr%C3%B6sse"), "gr_sse");
        assert_eq!(named("https://e.test"), "file");
        assert_eq!(named("https://e.test/a/"), "file");
        assert_eq!(named("./assets/..hidden file"), "__hidden_file");
        assert_eq!(named("@hello.txt"), "hello.txt");
        assert_eq!(named("file:///tmp/a%20b"), "a_b");
        assert_eq!(named(&format!("a/{}", "b".repeat(300))).len(), 128);
        assert_eq!(named("https://e.test/%zz%4"), "_zz_4");
    }

    #[test]
    fn addresses_are_urls_or_paths() {
        let directory = Path::new("/d");
        let file = |path: &str| Location::File(PathBuf::from(path));
        assert_eq!(Location::parse("./a", directory).unwrap(), file("/d/./a"));
        assert_eq!(Location::parse("@/x/a", directory).unwrap(), file("/x/a"));
        assert_eq!(Location::parse("file:///x/a", directory).unwrap(), file("/x/a"));
        assert_eq!(Location::parse("./a:b", directory).unwrap(), file("/d/./a:b"));
        assert!(matches!(Location::parse("HTTPS://e.test/a", directory).unwrap(), Location::Http(_)));
        for wrong in ["s3://bucket/key", "ftp://e.test/", "a:b", "http://", "file://host/x"] {
            assert!(Location::parse(wrong, directory).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_never_show() {
        assert_eq!(without_credentials("https://u:p@e.test/a"), "https://e.test/a");
        assert_eq!(without_credentials("https://e.test/a?X-Amz-Signature=secret#x"), "https://e.test/a");
        assert_eq!(without_credentials("https://u:p@e.test/a?sig=secret"), "https://e.test/a");
        assert_eq!(without_credentials("https://[::z/a?token=secret"), "https://[::z/a");
        assert_eq!(without_credentials("./a?b"), "./a?b");
        assert!(!without_credentials("http://u:secret@[::z/").contains("secret"));
        let error = Location::parse("ftp://u:secret@e.test/", Path::new("/")).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
