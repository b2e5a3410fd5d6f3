//! Files that appear under their name whole or not at all.

use std::fs::{self, File};
use std::io;
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

/// Who may read a file, where the system knows such a thing.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Everybody; the owner may write (0644).
    Shared,
    /// The owner alone (0600).
    Private,
    /// As it was for the file in whose place this one comes.
    Kept(fs::Permissions),
}

impl Mode {
    #[cfg(unix)]
    fn set(self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(match self {
            Self::Shared => fs::Permissions::from_mode(0o644),
            Self::Private => fs::Permissions::from_mode(0o600),
            Self::Kept(permissions) => permissions,
        })
    }

    /// Elsewhere, files get what their folder passes on.
    #[cfg(not(unix))]
    fn set(self, file: &File) -> io::Result<()> {
        match self {
            Self::Shared | Self::Private => Ok(()),
            Self::Kept(permissions) => file.set_permissions(permissions),
        }
    }
}

/// A file beside its final place, gone when it is not kept.
pub struct Unsaved {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unsaved {
    /// Starts a file that will be `directory/name`; an empty directory is the working directory, and one that isn't there yet
    /// is made.
    pub fn start(directory: &Path, name: &str) -> Result<Self, SaveError> {
        let path = directory.join(name);
        let folder = folder(directory);
        fs::create_dir_all(folder).context(SaveSnafu { path: folder })?;
        let file = tempfile::Builder::new()
            .prefix(".dcos-registry-")
            .tempfile_in(folder)
            .context(SaveSnafu { path: &path })?;
        Ok(Self { file, path })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Puts the file under its name, in place of one that is there.
    pub fn keep(self, mode: Mode) -> Result<PathBuf, SaveError> {
        let Self { file, path } = self;
        mode.set(file.as_file())
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
