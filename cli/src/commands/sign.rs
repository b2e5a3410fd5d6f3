//! `sign`: a signature over a package's content.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bundle::model::Bundle;
use bundle::sign::add_signature;
use bundle::signature::{PublicKey, Signature};
use bundle::stream::MOST_SIGNATURES;
use clap::Args;
use snafu::{ResultExt, Snafu, ensure};

use crate::checked::{CheckError, check};
use crate::output::{Json, Output, message};
use crate::private_key::{PrivateKey, PrivateKeyError};
use crate::saved::{Mode, SaveError, Unsaved};

/// Arguments of `sign`.
///
/// What is signed is the document of the package's files, images and metadata that `inspect --content` prints, so that
/// `cosign verify-blob --key PUB --insecure-ignore-tlog` can be given it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos)
    file: PathBuf,
    /// The private key: PEM on P-256, or cosign's with its password in `COSIGN_PASSWORD`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Write the signature in base64 to this file and leave the package as it is (cosign's --signature)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the signature as a sigstore bundle to this file and leave the package as it is (cosign's --bundle)
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// Why nothing was signed.
#[derive(Debug, Snafu)]
pub enum SignError {
    /// The bundle is not good.
    #[snafu(display("{source}"))]
    Check {
        /// Why.
        source: CheckError,
    },
    /// The key is none.
    #[snafu(display("--key: {}: {source}", path.display()))]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PrivateKeyError,
    },
    /// There are too many.
    #[snafu(display("{}: it has {MOST_SIGNATURES} signatures, more are not possible; keep this one beside it with --bundle", path.display()))]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// A file can't be read or written.
    #[snafu(display("{}: {source}", path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be kept.
    #[snafu(display("{source}"))]
    Save {
        /// Why.
        source: SaveError,
    },
}

/// Checks the whole bundle, then signs it.
pub fn run(arguments: &Arguments) -> Result<(), SignError> {
    let path = &arguments.key;
    let text = std::fs::read(path).context(FileSnafu { path })?;
    let password = std::env::var_os("COSIGN_PASSWORD").map(std::ffi::OsString::into_encoded_bytes);
    let key = PrivateKey::from_pem(&text, password.as_deref()).context(KeySnafu { path })?;
    let public = key.public_key().context(KeySnafu { path })?;
    let bundle = check(&arguments.file).context(CheckSnafu)?;
    let content = bundle.content();
    let sign = || key.sign(&content).context(KeySnafu { path });
    if arguments.output.is_none() && arguments.bundle.is_none() {
        into_package(arguments, &bundle, &public, sign)?;
    } else {
        let signature = sign()?;
        if let Some(path) = &arguments.output {
            write(path, &format!("{}\n", signature.base64()))?;
        }
        if let Some(path) = &arguments.bundle {
            write(path, &signature.bundle(&content, &public))?;
        }
    }
    let written = arguments.bundle.as_ref().or(arguments.output.as_ref()).unwrap_or(&arguments.file);
    let printed = Output::from(arguments.json).created("signature", written);
    printed.context(FileSnafu { path: Path::new("standard output") })
}

fn into_package(
    arguments: &Arguments,
    bundle: &Bundle,
    public: &PublicKey,
    sign: impl FnOnce() -> Result<Signature, SignError>,
) -> Result<(), SignError> {
    let path = &arguments.file;
    let content = bundle.content();
    let there = bundle.signatures.iter().filter_map(|bytes| Signature::parse(bytes).ok());
    if there.into_iter().any(|signature| public.verifies(&content, &signature)) {
        message(&format!("{} is signed with this key already", path.display()));
        return Ok(());
    }
    ensure!(bundle.signatures.len() < MOST_SIGNATURES, TooManySnafu { path });
    let signature = sign()?.bundle(&content, public);
    let mut input = File::open(path).context(FileSnafu { path })?;
    let permissions = input.metadata().context(FileSnafu { path })?.permissions();
    let mut signed = beside(path)?;
    add_signature(&mut input, BufWriter::new(signed.file()), signature.as_bytes()).context(FileSnafu { path })?;
    signed.keep(Mode::Kept(permissions)).map(drop).context(SaveSnafu)
}

fn write(path: &Path, text: &str) -> Result<(), SignError> {
    let mut file = beside(path)?;
    file.file().write_all(text.as_bytes()).context(FileSnafu { path })?;
    file.keep(Mode::Shared).map(drop).context(SaveSnafu)
}

fn beside(path: &Path) -> Result<Unsaved, SignError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Unsaved::start(path.parent().unwrap_or_else(|| Path::new("")), &name).context(SaveSnafu)
}
