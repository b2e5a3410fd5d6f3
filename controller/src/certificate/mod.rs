//! Certificates of a registry that the operator manages itself: one authority per registry, and the serving certificate
//! that it signs.
//!
//! Nothing here reads a cluster or a clock: what a Secret holds and the time are arguments, randomness is the only effect.
//! [`authority`] and [`leaf`] make and read certificates, [`policy`] says whether the serving certificate must be made
//! anew, [`rotation`] how an authority is replaced while nodes go on trusting the registry, and [`plan`] puts them together.

pub mod authority;
pub mod facts;
pub mod leaf;
pub mod plan;
pub mod policy;
pub mod rotation;

use snafu::Snafu;

/// How far into the past certificates begin, so that a node whose clock is a little late accepts them. The life that was
/// asked for begins after it.
pub const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// What can be wrong with certificates and keys.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum CertificateError {
    /// A key or a certificate could not be made.
    #[snafu(display("a certificate could not be made: {source}"))]
    Generate {
        /// What the library says.
        source: rcgen::Error,
    },
    /// A host name can't stand in a certificate.
    #[snafu(display("the name {name:?} can't stand in a certificate: {source}"))]
    Name {
        /// The name.
        name: String,
        /// What the library says.
        source: rcgen::Error,
    },
    /// Something is not a certificate in PEM form.
    #[snafu(display("{what} is not a certificate in PEM form: {problem}"))]
    UnreadableCertificate {
        /// Key of the Secret.
        what: &'static str,
        /// What doesn't fit.
        problem: String,
    },
    /// Something is not a private key in PEM form. The library's words are left out: they could quote the key.
    #[snafu(display("{what} is not a private key in PEM form (PKCS#8)"))]
    UnreadableKey {
        /// Key of the Secret.
        what: &'static str,
    },
    /// Certificate and key are no pair.
    #[snafu(display("{key} is not the key of {certificate}"))]
    KeyMismatch {
        /// Key of the Secret that holds the certificate.
        certificate: &'static str,
        /// Key of the Secret that holds the private key.
        key: &'static str,
    },
    /// A certificate that may not sign others.
    #[snafu(display("{what} is not the certificate of an authority (basicConstraints CA:TRUE is missing)"))]
    NotAnAuthority {
        /// Key of the Secret.
        what: &'static str,
    },
    /// A key of the Secret is missing.
    #[snafu(display("{what} is missing"))]
    Missing {
        /// Key of the Secret.
        what: &'static str,
    },
}
