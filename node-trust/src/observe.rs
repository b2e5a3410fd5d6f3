//! Reads what is under a trust folder. Symbolic links are never followed.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::{Errno, Result};

use crate::folder::{FILE_MODE, FOLDER_MODE, Foreign, Observed, ObservedFolder, OwnFile, OwnFolder, TEMPORARY_PREFIX};
use crate::hosts_toml;
use crate::marker;

/// Larger files aren't read: ours are smaller, a ConfigMap being 1 MiB at most.
const LARGEST_FILE: u64 = 1 << 20;

const OWN_FILES: [OwnFile; 3] = [OwnFile::Marker, OwnFile::Ca, OwnFile::HostsToml];

/// Opens a trust folder, which may itself be reached through a link: it is configured, not found.
///
/// # Errors
/// When it isn't there, isn't a folder or may not be opened.
pub fn open_trust_dir(path: &Path) -> Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a folder in `parent`.
///
/// # Errors
/// When it isn't there, is a link or a file, or may not be opened.
pub fn open_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Everything under a trust folder.
///
/// # Errors
/// When the trust folder itself can't be listed; what can't be read in it is part of the answer.
pub fn observe(trust_dir: BorrowedFd<'_>) -> Result<Observed> {
    let mut observed = Observed::default();
    for name in names(trust_dir)? {
        if name.starts_with(TEMPORARY_PREFIX) {
            if let Ok(files) = open_folder(trust_dir, &name).and_then(|folder| names(folder.as_fd())) {
                observed.leftovers.insert(name, files.into_iter().filter(|file| is_ours(file)).collect());
            }
        } else if let Some(folder) = observe_folder(trust_dir, &name) {
            observed.folders.insert(name, folder);
        }
    }
    Ok(observed)
}

fn is_ours(file: &str) -> bool {
    file.starts_with(TEMPORARY_PREFIX) || OWN_FILES.iter().any(|own| own.name() == file)
}

/// Names in a folder; one that isn't UTF-8 can't be ours, and stands for itself with the wrong bytes replaced.
fn names(folder: BorrowedFd<'_>) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.insert(name);
        }
    }
    Ok(names)
}

fn observe_folder(trust_dir: BorrowedFd<'_>, name: &str) -> Option<ObservedFolder> {
    let folder = match open_folder(trust_dir, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return None, // gone since it was listed
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Some(ObservedFolder::Foreign(Foreign::NotAFolder));
        }
        Err(error) => {
            return Some(ObservedFolder::Foreign(Foreign::Unreadable(error.to_string())));
        }
    };
    Some(
        look_into(folder.as_fd())
            .unwrap_or_else(|error| ObservedFolder::Foreign(Foreign::Unreadable(error.to_string()))),
    )
}

fn look_into(folder: BorrowedFd<'_>) -> Result<ObservedFolder> {
    let names = names(folder)?;
    if names.is_empty() {
        return Ok(ObservedFolder::Empty);
    }
    match statat(folder, OwnFile::Marker.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_plain(&stat) => {}
        // Somebody has deleted the marker alone.
        Err(Errno::NOENT) if has_our_header(folder) => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(ObservedFolder::Foreign(Foreign::Unmarked)),
        Err(error) => return Err(error),
    }
    let mut own = OwnFolder {
        has_others: names.iter().any(|name| !is_ours(name)),
        wrong_mode: mode(&fstat(folder)?) != FOLDER_MODE,
        ..OwnFolder::default()
    };
    for file in OWN_FILES.into_iter().filter(|file| names.contains(file.name())) {
        own.files.insert(file, read(folder, file.name()));
    }
    own.temporary = names.into_iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)).collect();
    let marker = own.files.get(&OwnFile::Marker).and_then(Option::as_ref);
    Ok(match marker.and_then(|content| marker::later_format(content)) {
        Some(format) => ObservedFolder::Foreign(Foreign::LaterFormat(format)),
        None => ObservedFolder::Own(own),
    })
}

/// Whether there is a hosts.toml that begins as ours do.
fn has_our_header(folder: BorrowedFd<'_>) -> bool {
    read(folder, OwnFile::HostsToml.name()).is_some_and(|text| text.starts_with(hosts_toml::HEADER.as_bytes()))
}

/// A file's content if it is as we would have written it in all but the content.
fn read(folder: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    // Without NONBLOCK a pipe of that name would hold us for ever.
    let file =
        openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .ok()?;
    let stat = fstat(&file).ok()?;
    if !is_plain(&stat) || mode(&stat) != FILE_MODE {
        return None;
    }
    let mut content = Vec::new();
    std::fs::File::from(file).take(LARGEST_FILE + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LARGEST_FILE).then_some(content)
}

fn is_plain(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn mode(stat: &Stat) -> u32 {
    Mode::from_raw_mode(stat.st_mode).as_raw_mode()
}
