//! Files that appear under their name whole or not at all.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu};
use tempfile::NamedTempFile;

/// A file can't be written.
#[derive(Debug, Snafu)]
#[snafu(display("{}: {source}", path.display()))]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

/// A file beside its final place, gone when it is not kept.
pub struct Unsaved {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unsaved {
    /// Starts a file that will be `directory/name`; an empty directory is the working directory.
    pub fn start(directory: &Path, name: &str) -> Result<Self, SaveError> {
        let path = directory.join(name);
        let folder = folder(directory);
        let file = tempfile::Builder::new()
            .prefix(".dcos-registry-")
            .tempfile_in(folder)
            .context(SaveSnafu { path: &path })?;
        Ok(Self { file, path })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut fs::File {
        self.file.as_file_mut()
    }

    /// Puts the file under its name, in place of one that is there.
    pub fn keep(self, mode: u32) -> Result<PathBuf, SaveError> {
        let Self { file, path } = self;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| file.persist(&path).map(drop).map_err(|error| error.error))
            .context(SaveSnafu { path: &path })?;
        Ok(path)
    }
}

/// The folder that a directory argument means.
pub fn folder(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}
