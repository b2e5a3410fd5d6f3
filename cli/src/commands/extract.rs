//! `extract`: everything in a bundle as files in a folder; images are an OCI layout there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bundle::stream::Limits;
use bundle::zip::{ZipError, ZipLimits, ZipStream};
use clap::Args;
use snafu::{ResultExt, Snafu, ensure};

use crate::checked::{CheckError, check};
use crate::output::{Json, Output};
use crate::saved::folder;

/// Arguments of `extract`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos)
    file: PathBuf,
    /// The folder that is made, or is there and empty [default: <name>-<version>]
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// Why nothing was extracted.
#[derive(Debug, Snafu)]
pub enum ExtractError {
    /// The bundle is not good.
    #[snafu(display("{source}"))]
    Check {
        /// Why.
        source: CheckError,
    },
    /// The folder has something.
    #[snafu(display("{}: it is not empty; name a folder that is, or that isn't there yet", path.display()))]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Something can't be written.
    #[snafu(display("{}: {source}", path.display()))]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bundle changed after it was checked.
    #[snafu(display("{}: {source}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ZipError,
    },
}

/// Checks the whole bundle first; the folder appears whole or not at all.
pub fn run(arguments: &Arguments) -> Result<(), ExtractError> {
    let bundle = check(&arguments.file).context(CheckSnafu)?;
    let named = || PathBuf::from(format!("{}-{}", bundle.name, bundle.version));
    let path = &arguments.output_directory.clone().unwrap_or_else(named);
    let is_there = path.try_exists().context(WriteSnafu { path })?;
    if is_there {
        let empty = fs::read_dir(path).context(WriteSnafu { path })?.next().is_none();
        ensure!(empty, NotEmptySnafu { path });
    }
    let parent = folder(path.parent().unwrap_or_else(|| Path::new("")));
    let unfinished =
        tempfile::Builder::new().prefix(".dcos-registry-").tempdir_in(parent).context(WriteSnafu { path })?;
    extract(&arguments.file, unfinished.path())?;
    let into_place = || {
        if is_there {
            fs::remove_dir(path)?;
        }
        fs::rename(unfinished.path(), path)
    };
    into_place().context(WriteSnafu { path })?;
    // It is elsewhere now, and stays.
    let _ = unfinished.keep();
    Output::from(arguments.json).created("directory", path).context(WriteSnafu { path: Path::new("standard output") })
}

/// Names of entries were checked by the reader: relative, without `..`, each once.
fn extract(file: &Path, folder: &Path) -> Result<(), ExtractError> {
    let Limits { total, entry, entries, ratio, .. } = Limits::default();
    let input = File::open(file).context(WriteSnafu { path: file })?;
    let limits = ZipLimits { total, entry, entries, ratio };
    let mut zip = ZipStream::new(input, limits);
    while let Some(entry) = zip.next_entry().context(ReadSnafu { path: file })? {
        if entry.name.ends_with('/') {
            continue;
        }
        let path = folder.join(&entry.name);
        let mut write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            io::copy(&mut zip.body(), &mut File::create_new(&path)?)
        };
        let written = write();
        if let Some(source) = zip.take_fault() {
            return Err(ExtractError::Read { path: file.to_owned(), source });
        }
        written.context(WriteSnafu { path })?;
    }
    zip.finish().context(ReadSnafu { path: file })
}
