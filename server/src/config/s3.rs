//! Flags of `--storage s3://BUCKET/PATH`.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use snafu::{OptionExt, ensure};
use url::Url;

use super::{InvalidFlag, InvalidFlagSnafu};
use crate::storage::s3::{CredentialsSource, Encryption, S3Config};

/// What `s3://` needs to know.
#[derive(Args, Clone, Debug, Default)]
pub struct S3Arguments {
    /// Where the S3 service is, if it isn't Amazon's: http[s]://HOST[:PORT].
    #[arg(long, env = "PACKAGE_REGISTRY_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<String>,

    /// Region that requests are signed for. Default: that of an endpoint s3.REGION.…, else us-east-1.
    #[arg(long, env = "PACKAGE_REGISTRY_S3_REGION", value_name = "REGION")]
    pub s3_region: Option<String>,

    /// Put the bucket into the path of addresses instead of into the host's name. Default: when the endpoint isn't Amazon's.
    #[arg(long, env = "PACKAGE_REGISTRY_S3_FORCE_PATH_STYLE", action = ArgAction::Set, value_name = "BOOL")]
    pub s3_force_path_style: Option<bool>,

    /// Certificates (PEM) that the S3 service is trusted by, beside the system's.
    #[arg(long, env = "PACKAGE_REGISTRY_S3_CA_FILE", value_name = "FILE")]
    pub s3_ca_file: Option<PathBuf>,

    /// Ask the store to encrypt what is written: AES256, or aws:kms with the account's key or the one named.
    #[arg(long, env = "PACKAGE_REGISTRY_S3_SERVER_SIDE_ENCRYPTION", value_name = "AES256|aws:kms[:KEY]")]
    pub s3_server_side_encryption: Option<Encryption>,

    /// Send those who read blobs to the store itself, with an address that is good for 15 minutes. They must reach it.
    #[arg(long, env = "PACKAGE_REGISTRY_S3_REDIRECT")]
    pub s3_redirect: bool,

    /// AWS shared credentials file; an exchanged one is taken up without a restart. Default: environment, web identity,
    /// container or instance, in the order of AWS' own tools.
    #[arg(long, env = "PACKAGE_REGISTRY_AWS_CREDENTIALS_FILE", value_name = "FILE")]
    pub aws_credentials_file: Option<PathBuf>,

    /// Section of that file. Default: default.
    #[arg(long, env = "PACKAGE_REGISTRY_AWS_PROFILE", value_name = "NAME")]
    pub aws_profile: Option<String>,

    /// Refuse a store that doesn't honour conditional writes, which several instances rely on.
    #[arg(long, env = "PACKAGE_REGISTRY_REQUIRE_COORDINATION")]
    pub require_coordination: bool,
}

impl S3Arguments {
    /// A flag that was given, by its name.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--s3-endpoint", self.s3_endpoint.is_some()),
            ("--s3-region", self.s3_region.is_some()),
            ("--s3-force-path-style", self.s3_force_path_style.is_some()),
            ("--s3-ca-file", self.s3_ca_file.is_some()),
            ("--s3-server-side-encryption", self.s3_server_side_encryption.is_some()),
            ("--s3-redirect", self.s3_redirect),
            ("--aws-credentials-file", self.aws_credentials_file.is_some()),
            ("--aws-profile", self.aws_profile.is_some()),
            ("--require-coordination", self.require_coordination),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// What the backend works with.
    ///
    /// # Errors
    /// The flag, and what would be right.
    pub(super) fn config(self, url: &str) -> Result<S3Config, InvalidFlag> {
        let location = url.parse().map_err(|error: crate::storage::s3::InvalidLocation| {
            InvalidFlagSnafu { flag: "--storage", problem: error.to_string() }.build()
        })?;
        let endpoint = self.s3_endpoint.as_deref().map(endpoint).transpose()?;
        if let Some(region) = &self.s3_region {
            let named = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            let problem = format!("{region:?} is no region; those are like eu-central-1");
            ensure!(named, InvalidFlagSnafu { flag: "--s3-region", problem });
        }
        let credentials = match (self.aws_credentials_file, self.aws_profile) {
            (Some(file), profile) => {
                Some(CredentialsSource { file, profile: profile.unwrap_or_else(|| "default".to_owned()) })
            }
            (None, profile) => {
                let problem = "needs --aws-credentials-file";
                ensure!(profile.is_none(), InvalidFlagSnafu { flag: "--aws-profile", problem });
                None
            }
        };
        let usual = S3Config::new(location, endpoint);
        Ok(S3Config {
            region: self.s3_region,
            force_path_style: self.s3_force_path_style.unwrap_or(usual.force_path_style),
            ca_file: self.s3_ca_file,
            encryption: self.s3_server_side_encryption,
            credentials,
            redirect: self.s3_redirect,
            require_coordination: self.require_coordination,
            ..usual
        })
    }
}

/// An endpoint. What is wrong is never shown: it may have a password in it.
fn endpoint(text: &str) -> Result<Url, InvalidFlag> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let problem = "http[s]://HOST[:PORT] is needed, without a path or credentials; \
        credentials come from the environment or --aws-credentials-file";
    text.parse().ok().filter(plain).context(InvalidFlagSnafu { flag: "--s3-endpoint", problem })
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, StorageConfig};
    use super::*;
    use clap::Parser;

    fn config(flags: &[&str]) -> Result<StorageConfig, String> {
        let line = ["package-registry-server", "--plain-http", "--auth", "none"].iter().chain(flags);
        let arguments = Arguments::try_parse_from(line).map_err(|error| error.to_string())?;
        arguments.config().map(|config| config.storage).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bucket_alone_is_amazons() {
        let StorageConfig::S3(s3) = config(&["--storage", "s3://bucket/path"]).unwrap() else { panic!() };
        assert_eq!(*s3, S3Config::new("s3://bucket/path".parse().unwrap(), None));
        assert!(!s3.force_path_style && !s3.redirect && !s3.require_coordination);
    }

    #[test]
    fn every_flag_is_taken() {
        let flags = [
            "--storage=s3://bucket",
            "--s3-endpoint=http://minio.storage.svc:9000",
            "--s3-region=eu-central-1",
            "--s3-force-path-style=false",
            "--s3-ca-file=/ca.pem",
            "--s3-server-side-encryption=aws:kms:key",
            "--s3-redirect",
            "--aws-credentials-file=/credentials",
            "--require-coordination",
        ];
        let StorageConfig::S3(s3) = config(&flags).unwrap() else { panic!() };
        let endpoint = Some("http://minio.storage.svc:9000".parse().unwrap());
        let wanted = S3Config {
            region: Some("eu-central-1".into()),
            force_path_style: false,
            ca_file: Some("/ca.pem".into()),
            encryption: Some(Encryption::Kms(Some("key".into()))),
            credentials: Some(CredentialsSource { file: "/credentials".into(), profile: "default".into() }),
            redirect: true,
            require_coordination: true,
            ..S3Config::new("s3://bucket".parse().unwrap(), endpoint)
        };
        assert_eq!(*s3, wanted);
    }

    #[test]
    fn a_bad_flag_names_itself_and_what_would_be_right() {
        let bucket = "--storage=s3://bucket";
        for (flags, words) in [
            (&["--storage=s3://B"][..], ["--storage", "3 to 63"]),
            (&[bucket, "--s3-endpoint=minio:9000"], ["--s3-endpoint", "http[s]://HOST"]),
            (&[bucket, "--s3-endpoint=http://h/path"], ["--s3-endpoint", "without a path"]),
            (&[bucket, "--s3-endpoint=http://h:port"], ["--s3-endpoint", "http[s]://HOST"]),
            (&[bucket, "--s3-region=eu central"], ["--s3-region", "eu-central-1"]),
            (&[bucket, "--aws-profile=x"], ["--aws-profile", "--aws-credentials-file"]),
            (&[bucket, "--s3-server-side-encryption=aes"], ["--s3-server-side-encryption", "AES256"]),
            (&["--storage=memory:", "--s3-region=x"], ["--s3-region", "s3://BUCKET/PATH"]),
            (&["--storage=file:///x", "--require-coordination"], ["--require-coordination", "s3://"]),
        ] {
            let error = config(flags).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{word} in {error}");
            }
        }
    }
    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_shown() {
        for userinfo in ["user:secret", ":secret", "secret"] {
            for rest in ["minio:9000", "minio:port", "minio:9000/path#x", ""] {
                let flag = format!("--s3-endpoint=http://{userinfo}@{rest}");
                let error = config(&["--storage=s3://bucket", &flag]).unwrap_err();
                assert!(error.contains("without a path or credentials"), "{flag}: {error}");
                assert!(!error.contains("secret"), "{flag}: {error}");
            }
        }
    }
}
