//! What the S3 backend needs to know, and what follows from an endpoint's name.

use std::path::PathBuf;
use std::str::FromStr;

use snafu::{OptionExt, Snafu, ensure};
use url::Url;

/// The region where neither a flag nor the endpoint's name says one.
const DEFAULT_REGION: &str = "us-east-1";

/// A store in a bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct S3Config {
    /// Bucket and path.
    pub location: Location,
    /// Where the service is; Amazon's own without one.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket is in the path of addresses instead of in the host's name.
    pub force_path_style: bool,
    /// Certificates (PEM) that the service is trusted by, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What new objects are encrypted with.
    pub encryption: Option<Encryption>,
    /// Where credentials come from; the SDK's own chain without it.
    pub credentials: Option<CredentialsSource>,
    /// Whether readers of blobs may be sent to the store itself.
    pub redirect: bool,
    /// Whether a store that doesn't honour conditional writes is refused.
    pub require_coordination: bool,
}

impl S3Config {
    /// A store with everything as it is by default.
    #[must_use]
    pub fn new(location: Location, endpoint: Option<Url>) -> Self {
        Self {
            region: None,
            force_path_style: endpoint.as_ref().is_some_and(|endpoint| !is_amazon(endpoint)),
            location,
            endpoint,
            ca_file: None,
            encryption: None,
            credentials: None,
            redirect: false,
            require_coordination: false,
        }
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn signing_region(&self) -> &str {
        let named = || self.endpoint.as_ref().and_then(region_of);
        self.region.as_deref().or_else(named).unwrap_or(DEFAULT_REGION)
    }
}

/// A section of a credentials file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialsSource {
    /// The file.
    pub file: PathBuf,
    /// The section's name.
    pub profile: String,
}

/// Bucket and path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    bucket: String,
    /// Empty, or ends with `/`.
    root: String,
}

impl Location {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What every key begins with: empty, or ends with `/`.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }
}

/// The text names no bucket.
#[derive(Debug, Snafu)]
#[snafu(display("{text:?} is not s3://BUCKET/PATH: {problem}"))]
pub struct InvalidLocation {
    text: String,
    problem: &'static str,
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidLocationSnafu { text, problem };
        let rest = text.strip_prefix("s3://").with_context(|| invalid("it doesn't begin with s3://"))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let named = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| word(b) || b == b'-' || b == b'.')
            && bucket.bytes().next().is_some_and(word)
            && bucket.bytes().last().is_some_and(word);
        let problem = "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens";
        ensure!(named, invalid(problem));
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), root: String::new() });
        }
        let part = |part: &str| {
            let usual = |b: u8| b.is_ascii_alphanumeric() || b"-_.!'()".contains(&b);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(usual)
        };
        let problem = "the parts of a path have letters, digits and -_.!'(), and none is empty, . or ..";
        ensure!(path.split('/').all(part) && path.len() <= 512, invalid(problem));
        Ok(Self { bucket: bucket.to_owned(), root: format!("{path}/") })
    }
}

/// What the store encrypts new objects with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encryption {
    /// A key of the store's own.
    Aes256,
    /// A key of the key service: the account's default one, or the one named.
    Kms(Option<String>),
}

/// The text names no encryption.
#[derive(Debug, Snafu)]
#[snafu(display("{text:?} is not AES256, aws:kms or aws:kms:KEY"))]
pub struct InvalidEncryption {
    text: String,
}

impl FromStr for Encryption {
    type Err = InvalidEncryption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("aws:kms:") {
            Some(("", key)) if !key.is_empty() => Ok(Self::Kms(Some(key.to_owned()))),
            None if text == "aws:kms" => Ok(Self::Kms(None)),
            None if text == "AES256" => Ok(Self::Aes256),
            _ => InvalidEncryptionSnafu { text }.fail(),
        }
    }
}

/// The region in a name of the form `s3.<region>.…`.
#[must_use]
pub fn region_of(endpoint: &Url) -> Option<&str> {
    let rest = endpoint.host_str()?.strip_prefix("s3.")?;
    let (region, domain) = rest.strip_prefix("dualstack.").unwrap_or(rest).split_once('.')?;
    // A Service of a cluster has that form, too, and no region.
    let service = domain == "svc" || domain.starts_with("svc.");
    let named = region.contains('-') && domain.contains('.') && !service;
    named.then_some(region)
}

/// Whether an endpoint is Amazon's.
#[must_use]
pub fn is_amazon(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    ["amazonaws.com", "amazonaws.com.cn"].iter().any(|domain| {
        let before = host.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_region_is_read_from_the_usual_names() {
        assert_eq!(region_of(&url("https://s3.eu-central-1.amazonaws.com")), Some("eu-central-1"));
        assert_eq!(region_of(&url("https://s3.dualstack.eu-west-1.amazonaws.com")), Some("eu-west-1"));
        assert_eq!(region_of(&url("https://s3.us-west-2.example.com:9000/x")), Some("us-west-2"));
        assert_eq!(region_of(&url("http://s3.my-store.svc.cluster.local")), None);
        for other in
            ["https://s3.amazonaws.com", "http://minio.storage.svc:9000", "http://10.0.0.1", "https://s3.local"]
        {
            assert_eq!(region_of(&url(other)), None, "{other}");
            let location = "s3://bucket/path".parse().unwrap();
            assert_eq!(S3Config::new(location, Some(url(other))).signing_region(), "us-east-1");
        }
    }

    #[test]
    fn only_amazons_endpoints_have_buckets_as_hosts() {
        let style = |text: &str| S3Config::new("s3://bucket".parse().unwrap(), Some(url(text))).force_path_style;
        assert!(!style("https://s3.eu-central-1.amazonaws.com"));
        assert!(!style("https://s3.cn-north-1.amazonaws.com.cn"));
        assert!(
            style("https://amazonaws.com.evil.test")
                && style("https://notamazonaws.com")
                && style("http://127.0.0.1:9")
        );
        assert!(!S3Config::new("s3://bucket".parse().unwrap(), None).force_path_style);
    }

    #[test]
    fn a_location_is_a_bucket_and_a_path_below_it() {
        let read = |text: &str| text.parse::<Location>().map(|l| (l.bucket().to_owned(), l.root().to_owned())).unwrap();
        assert_eq!(read("s3://my.bucket-1"), ("my.bucket-1".into(), String::new()));
        assert_eq!(read("s3://bucket/"), ("bucket".into(), String::new()));
        assert_eq!(read("s3://bucket/a/b_c/"), ("bucket".into(), "a/b_c/".into()));
    }

    #[test]
    fn what_is_no_location_says_why() {
        for (text, word) in [
            ("file:///x", "s3://"),
            ("s3://", "3 to 63"),
            ("s3://Bucket", "lower-case"),
            ("s3://bucket-", "lower-case"),
            ("s3://bucket//x", "empty"),
            ("s3://bucket/a/../b", ".."),
            ("s3://bucket/a b", "letters"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn encryption_is_named_as_the_protocol_does() {
        assert_eq!("AES256".parse::<Encryption>().unwrap(), Encryption::Aes256);
        assert_eq!("aws:kms".parse::<Encryption>().unwrap(), Encryption::Kms(None));
        let key = "arn:aws:kms:eu-central-1:1:key/2";
        assert_eq!(format!("aws:kms:{key}").parse::<Encryption>().unwrap(), Encryption::Kms(Some(key.into())));
        for text in ["aes256", "aws:kms:", "kms", "", "xaws:kms:k"] {
            assert!(text.parse::<Encryption>().is_err(), "{text}");
        }
    }
}
