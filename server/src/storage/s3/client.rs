//! The SDK's client, set up: endpoint, credentials, TLS, time limits, retries.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use snafu::{ResultExt, Snafu};

use super::config::{CredentialsSource, S3Config};
use super::credentials::{InvalidCredentials, parse};

/// Attempts of one call: the first, and those after a 5xx, a reset or a time-out.
const ATTEMPTS: u32 = 4;
/// Pause before the second attempt at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);
/// One attempt of a call that carries little: far above the latency of a slow store.
const ATTEMPT: Duration = Duration::from_secs(20);
/// Such a call with all its attempts.
const CALL: Duration = Duration::from_mins(1);
/// One attempt of a call that carries a part, or that waits for a large object to be put together.
const LONG_ATTEMPT: Duration = Duration::from_mins(3);
/// Such a call with all its attempts.
const LONG_CALL: Duration = Duration::from_mins(8);
/// How long a body may stand still.
const STALL: Duration = Duration::from_secs(30);

/// Why there can be no client.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum ClientError {
    /// A file that was named can't be read.
    #[snafu(display("{flag} {} can't be read: {source}", path.display()))]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The credentials file has no such profile.
    #[snafu(display("--aws-credentials-file {}: {source}", path.display()))]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: InvalidCredentials,
    },
    /// The certificates can't be used.
    #[snafu(display("--s3-ca-file {}: {message}", path.display()))]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// A client for a store.
pub(super) async fn client(config: &S3Config) -> Result<Client, ClientError> {
    let (behavior, region) = (BehaviorVersion::latest(), Region::new(config.signing_region().to_owned()));
    let builder = match &config.credentials {
        Some(source) => Builder::new().credentials_provider(read_credentials(source)?),
        // With the region said, nothing asks an instance's metadata for it.
        None => Builder::from(&aws_config::defaults(behavior).region(region.clone()).load().await),
    };
    let mut builder = builder
        .behavior_version(behavior)
        .region(region)
        .force_path_style(config.force_path_style)
        // Other checksums than the protocol asks for are what some stores stumble over.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(retries())
        .timeout_config(timeouts(ATTEMPT, CALL))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL).build());
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    if let Some(path) = &config.ca_file {
        builder = builder.http_client(trusting(path.clone())?);
    }
    Ok(Client::from_conf(builder.build()))
}

/// The same client, its open connections included, with other credentials.
pub(super) fn with_credentials(client: &Client, credentials: Credentials) -> Client {
    let mut builder = client.config().to_builder().credentials_provider(credentials);
    builder.set_http_client(client.config().http_client());
    Client::from_conf(builder.build())
}

/// What to override for a call that may take long.
pub(super) fn patient() -> Builder {
    Builder::new().timeout_config(timeouts(LONG_ATTEMPT, LONG_CALL))
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

fn timeouts(attempt: Duration, call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).operation_timeout(call).build()
}

fn trusting(path: PathBuf) -> Result<SharedHttpClient, ClientError> {
    let pem = std::fs::read(&path).context(FileSnafu { flag: "--s3-ca-file", path: &path })?;
    // The SDK would panic over what it can't read.
    if let Err(message) = check_certificates(&pem) {
        return Err(ClientError::Certificates { path, message });
    }
    let trust = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| ClientError::Certificates { path, message: error.to_string() })?;
    let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    Ok(builder.tls_context(context).build_https())
}

fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate (PEM) in it".to_owned()) } else { Ok(()) }
}

/// The credentials that the file has now.
pub(super) fn read_credentials(source: &CredentialsSource) -> Result<Credentials, ClientError> {
    let path = &source.file;
    let text = std::fs::read_to_string(path).context(FileSnafu { flag: "--aws-credentials-file", path })?;
    parse(&text, &source.profile).context(CredentialsSnafu { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_the_sdk_would_stumble_over_are_told() {
        let good = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        assert_eq!(check_certificates(format!("{good}\n{good}").as_bytes()), Ok(()));
        let torn = &good[..good.len() / 2];
        let foreign = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        for bad in ["", "no certificate", torn, &foreign, &(good.clone() + &foreign)] {
            assert!(check_certificates(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
