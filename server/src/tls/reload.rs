//! Exchange of the certificate while running.
//!
//! The folder is polled: what mounts Secrets swaps a symbolic link, which leaves watchers of the files deaf.

use std::time::Duration;

use rustls::sign::CertifiedKey;

use super::{Certificate, Pair, TlsError};
use crate::metrics::Metrics;

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(2);

impl Certificate {
    /// Takes what is in the folder now. True if it was something new and good.
    ///
    /// # Errors
    /// New files that can't be used, perhaps because they were read half-way through their exchange; the last good pair
    /// stays.
    fn refresh(&mut self) -> Result<bool, TlsError> {
        let read = Pair::read(&self.directory)?;
        if read == self.read {
            return Ok(false);
        }
        let certified: CertifiedKey = read.certified()?;
        self.current.0.store(certified.into());
        self.read = read;
        Ok(true)
    }
}

/// Looks at the folder for ever.
pub async fn watch(mut certificate: Certificate, metrics: Metrics) {
    let note = |certificate: &Certificate| {
        if let Some(end) = certificate.not_after() {
            metrics.certificate_ends(end);
        }
    };
    note(&certificate);
    let mut complained = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let looked = tokio::task::spawn_blocking(move || {
            let result = certificate.refresh();
            (certificate, result)
        });
        let Ok((back, result)) = looked.await else { return };
        certificate = back;
        match result {
            Ok(true) => {
                tracing::info!("a new serving certificate is in use");
                note(&certificate);
                complained = false;
            }
            Ok(false) => complained = false,
            Err(error) if !complained => {
                tracing::warn!(%error, "the serving certificate stays the one before");
                complained = true;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn put(directory: &Path, certificate: &str, key: &str) {
        fs::write(directory.join("tls.crt"), certificate).unwrap();
        fs::write(directory.join("tls.key"), key).unwrap();
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn serial(certificate: &Certificate) -> Vec<u8> {
        certificate.current.0.load().cert[0].to_vec()
    }

    #[test]
    fn a_new_pair_is_taken_and_an_unchanged_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        put(directory.path(), &certificate, &key);
        let mut loaded = Certificate::load(directory.path()).unwrap();
        let first = serial(&loaded);
        assert!(!loaded.refresh().unwrap());
        let (certificate, key) = pair();
        put(directory.path(), &certificate, &key);
        assert!(loaded.refresh().unwrap());
        assert_ne!(serial(&loaded), first);
    }

    #[test]
    fn a_torn_read_keeps_the_last_good_pair() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        put(directory.path(), &certificate, &key);
        let mut loaded = Certificate::load(directory.path()).unwrap();
        let first = serial(&loaded);
        let (other, other_key) = pair();
        for (certificate, key) in [(other.as_str(), key.as_str()), ("", ""), (&other[..100], &other_key)] {
            put(directory.path(), certificate, key);
            assert!(loaded.refresh().is_err());
            assert_eq!(serial(&loaded), first);
        }
        put(directory.path(), &other, &other_key);
        assert!(loaded.refresh().unwrap());
    }

    #[test]
    fn the_end_of_validity_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        put(directory.path(), &certificate, &key);
        assert!(Certificate::load(directory.path()).unwrap().not_after().is_some_and(|end| end > 0));
    }
}
