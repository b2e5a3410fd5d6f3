//! TLS of the serving port: one certificate, exchanged while running.

mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use snafu::{ResultExt, Snafu, ensure};

pub use reload::watch;

/// Why a pair of certificate and key can't be used.
#[derive(Debug, Snafu)]
pub enum TlsError {
    /// A file can't be read.
    #[snafu(display("{} can't be read: {source}; --tls-dir needs a folder with tls.crt and tls.key", path.display()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file doesn't hold what its name says.
    #[snafu(display("{name} holds no PEM {what}"))]
    Empty {
        /// Its name.
        name: &'static str,
        /// What should be in it.
        what: &'static str,
    },
    /// Key and certificate don't belong together, or are of a kind that isn't known.
    #[snafu(display("tls.crt and tls.key can't be used together: {source}"))]
    Mismatch {
        /// Why.
        source: rustls::Error,
    },
    /// TLS itself.
    #[snafu(display("TLS can't be set up: {source}"))]
    Setup {
        /// Why.
        source: rustls::Error,
    },
}

/// The two files as they were read together.
#[derive(Clone, Eq, PartialEq)]
struct Pair {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(directory: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read(&path).context(UnreadableSnafu { path })
        };
        Ok(Self { certificates: read("tls.crt")?, key: read("tls.key")? })
    }

    /// A key that is known to belong to its certificate.
    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.certificates).collect::<Result<_, _>>().unwrap_or_default();
        ensure!(!chain.is_empty(), EmptySnafu { name: "tls.crt", what: "certificate" });
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .ok()
            .ok_or_else(|| EmptySnafu { name: "tls.key", what: "private key" }.build())?;
        CertifiedKey::from_der(chain, key, &default_provider()).context(MismatchSnafu)
    }
}

/// Hands out the certificate of the day.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The serving certificate of a folder.
#[derive(Clone)]
pub struct Certificate {
    directory: PathBuf,
    current: Arc<Current>,
    read: Pair,
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key` of a folder.
    ///
    /// # Errors
    /// Files that aren't there or don't belong together.
    pub fn load(directory: &Path) -> Result<Self, TlsError> {
        let read = Pair::read(directory)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(read.certified()?)));
        Ok(Self { directory: directory.to_owned(), current, read })
    }

    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, always with the certificate of the day.
    ///
    /// # Errors
    /// A TLS library that can't do that.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&self.current) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .context(SetupSnafu)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// End of the certificate's validity, in Unix seconds.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        let current = self.current.0.load();
        let leaf = current.cert.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        Some(parsed.validity().not_after.timestamp())
    }
}
