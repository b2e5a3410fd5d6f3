//! Folders of a trust folder: as they should be, and as they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::entries::Owner;
use crate::host_name::HostName;
use crate::marker;

/// Start of the names of files and folders that are being made or removed. What has such a name and outlives a pass was
/// left by a crash.
pub const TEMPORARY_PREFIX: &str = ".package-registry-";

/// Mode of our files and folders: the runtime reads them as root, an admin may look.
pub const FILE_MODE: u32 = 0o644;
/// See [`FILE_MODE`].
pub const FOLDER_MODE: u32 = 0o755;

/// The files that we have in a folder, in the order they are written: the CA is there before hosts.toml speaks of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum OwnFile {
    /// Says that the folder is ours.
    Marker,
    /// The certificates to trust.
    Ca,
    /// containerd's configuration of the host.
    HostsToml,
}

impl OwnFile {
    /// Its name in the folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Marker => ".package-registry",
            Self::Ca => "ca.crt",
            Self::HostsToml => "hosts.toml",
        }
    }

    /// Its name while it is being written. docker reads whatever ends in `.crt`, so this must not.
    #[must_use]
    pub fn temporary_name(self) -> String {
        format!("{TEMPORARY_PREFIX}new.{}.tmp", self.name())
    }
}

/// A folder that should be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedFolder {
    /// Its name.
    pub host: HostName,
    /// The registry that asks for it.
    pub owner: Owner,
    /// Content of ca.crt.
    pub ca_bundle: String,
    /// Content of hosts.toml, absent for docker.
    pub hosts_toml: Option<String>,
}

impl WantedFolder {
    /// Its files and their content, in the order they are written.
    #[must_use]
    pub fn files(&self) -> Vec<(OwnFile, Vec<u8>)> {
        let mut files = vec![
            (OwnFile::Marker, marker::render(&self.owner).into_bytes()),
            (OwnFile::Ca, self.ca_bundle.clone().into_bytes()),
        ];
        files.extend(self.hosts_toml.clone().map(|text| (OwnFile::HostsToml, text.into_bytes())));
        files
    }
}

/// What is under a trust folder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observed {
    /// What has the name of a host, by that name.
    pub folders: BTreeMap<String, ObservedFolder>,
    /// Folders that a crash left half made or half removed, with the names of our files in them.
    pub leftovers: BTreeMap<String, BTreeSet<String>>,
}

/// One of the things there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ObservedFolder {
    /// A folder with nothing in it.
    Empty,
    /// Somebody else's.
    Foreign(Foreign),
    /// One with our marker, or with a hosts.toml that begins as ours do.
    Own(OwnFolder),
}

/// How we know that something isn't ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Foreign {
    /// A file or a symbolic link.
    NotAFolder,
    /// It has no marker, nor a hosts.toml that begins as ours do.
    Unmarked,
    /// Its marker is of this later format.
    LaterFormat(u32),
    /// It can't be looked into; why.
    Unreadable(String),
}

/// A folder of ours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnFolder {
    /// Our files; without content where it has to be written anew in any case: unreadable, of a wrong mode, too large, or
    /// not a plain file.
    pub files: BTreeMap<OwnFile, Option<Vec<u8>>>,
    /// Names of files that a crash left.
    pub temporary: BTreeSet<String>,
    /// Whether there are files that aren't ours.
    pub has_others: bool,
    /// Whether the folder's own mode isn't [`FOLDER_MODE`].
    pub wrong_mode: bool,
}
