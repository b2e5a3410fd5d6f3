//! `verify`: whether a bundle is whole and right, and who signed it.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use bundle::signature::{KeyError, PublicKey, Signature, SignatureError};
use clap::Args;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use crate::checked::{CheckError, check};
use crate::output::{Json, Output};

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos)
    file: PathBuf,
    /// A public key (PEM); each that is given must have signed the package
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// A signature that lies beside the package: base64 or a bundle [default: those in the package]
    #[arg(long, value_name = "FILE", requires = "keys")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// Why a package is not verified.
#[derive(Debug, Snafu)]
pub enum VerifyError {
    /// The bundle is not good.
    #[snafu(display("{source}"))]
    Check {
        /// Why.
        source: CheckError,
    },
    /// A file can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key is none.
    #[snafu(display("--key: {}: {source}", path.display()))]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A signature is none.
    #[snafu(display("--signature: {}: {source}", path.display()))]
    Signature {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SignatureError,
    },
    /// Nobody signed it.
    #[snafu(display("{}: it has no signature of this kind; pass one with --signature, or sign it", path.display()))]
    Unsigned {
        /// The package.
        path: PathBuf,
    },
    /// Somebody else signed it.
    #[snafu(display("{}: {} is not the key that signed {digest}", path.display(), key.display()))]
    NotSigned {
        /// The package.
        path: PathBuf,
        /// The key.
        key: PathBuf,
        /// The package's content digest.
        digest: String,
    },
}

/// Checks everything.
pub fn run(arguments: &Arguments) -> Result<(), VerifyError> {
    let path = &arguments.file;
    let mut keys = Vec::new();
    for path in &arguments.keys {
        let text = std::fs::read(path).context(FileSnafu { path })?;
        keys.push((path, PublicKey::from_pem(&text).context(KeySnafu { path })?));
    }
    let bundle = check(path).context(CheckSnafu)?;
    let signatures = match &arguments.signature {
        Some(path) => {
            let bytes = std::fs::read(path).context(FileSnafu { path })?;
            vec![Signature::parse(&bytes).context(SignatureSnafu { path })?]
        }
        // There may be others than those that are read here.
        None => bundle.signatures.iter().filter_map(|bytes| Signature::parse(bytes).ok()).collect(),
    };
    ensure!(keys.is_empty() || !signatures.is_empty(), UnsignedSnafu { path });
    let content = bundle.content();
    for (key_path, key) in &keys {
        let signed = signatures.iter().any(|signature| key.verifies(&content, signature));
        ensure!(signed, NotSignedSnafu { path, key: *key_path, digest: &bundle.content_digest });
    }
    let mut text = format!(
        "{}: {} {} is whole and right ({})\n",
        path.display(),
        bundle.name,
        bundle.version,
        bundle.content_digest
    );
    for (key, _) in &keys {
        // Writing to a string does not fail.
        let _ = writeln!(text, "Signed with {}", key.display());
    }
    let document = json!({
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.content_digest,
        "size": bundle.size,
        "signedWith": keys.iter().map(|(key, _)| key.display().to_string()).collect::<Vec<_>>(),
    });
    Output::from(arguments.json).result(text, &document).context(FileSnafu { path: Path::new("standard output") })
}
