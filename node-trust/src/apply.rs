//! Carries out what [`crate::plan`] says.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fchmod, fsync, mkdirat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use snafu::Snafu;

use crate::folder::{FILE_MODE, FOLDER_MODE, OwnFile, TEMPORARY_PREFIX};
use crate::observe::open_folder;
use crate::plan::Action;

/// Folders with something in them that are kept beside one file, at most.
const MOST_KEPT: u32 = 100;

/// An action that failed.
#[derive(Debug, Snafu)]
#[snafu(display("{what} failed: {source}"))]
pub struct ApplyError {
    what: String,
    source: std::io::Error,
}

/// Does one action in the trust folder.
///
/// # Errors
/// When the file system refuses it; the action has then not happened, or only its temporary file is there.
pub fn apply(trust_dir: BorrowedFd<'_>, action: &Action) -> Result<(), ApplyError> {
    attempt(trust_dir, action).map_err(|source| ApplyError { what: name(action), source })
}

fn attempt(trust_dir: BorrowedFd<'_>, action: &Action) -> std::io::Result<()> {
    match action {
        Action::MakeFolder { folder } => {
            // One that is there was left by a crash, and stayed since somebody put something in.
            tolerate(mkdirat(trust_dir, folder, Mode::from_raw_mode(FOLDER_MODE)), Errno::EXIST)?;
            fix_mode(trust_dir, folder) // whatever the umask made of it
        }
        Action::FixMode { folder } => fix_mode(trust_dir, folder),
        Action::Stage { folder, file, content } => stage(open_folder(trust_dir, folder)?.as_fd(), *file, content),
        Action::Publish { folder, file } => {
            let folder = open_folder(trust_dir, folder)?;
            let publish = || renameat(&folder, file.temporary_name(), &folder, file.name());
            match publish() {
                Err(Errno::ISDIR) => {
                    make_room(folder.as_fd(), file.name())?;
                    publish()?;
                }
                result => result?,
            }
            Ok(fsync(&folder)?)
        }
        Action::MoveFolder { from, to } => {
            renameat(trust_dir, from, trust_dir, to)?;
            Ok(fsync(trust_dir)?)
        }
        Action::RemoveFile { folder, name } => {
            let folder = open_folder(trust_dir, folder)?;
            match unlinkat(&folder, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => make_room(folder.as_fd(), name),
                result => tolerate(result, Errno::NOENT),
            }
        }
        // Somebody put something in: it stays, and the folder with it.
        Action::RemoveFolder { folder } => tolerate(unlinkat(trust_dir, folder, AtFlags::REMOVEDIR), Errno::NOTEMPTY),
    }
}

fn fix_mode(trust_dir: BorrowedFd<'_>, folder: &str) -> std::io::Result<()> {
    Ok(fchmod(open_folder(trust_dir, folder)?, Mode::from_raw_mode(FOLDER_MODE))?)
}

/// Takes away a folder that has the name of a file of ours. What somebody put in it isn't ours: it is kept, under another
/// name.
fn make_room(folder: BorrowedFd<'_>, name: &str) -> std::io::Result<()> {
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        result => return Ok(result?),
    }
    let stem = name.strip_prefix(TEMPORARY_PREFIX).unwrap_or(name);
    for number in 1..=MOST_KEPT {
        match renameat_with(folder, name, folder, format!("{stem}.replaced-{number}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::EXIST.into())
}

fn stage(folder: BorrowedFd<'_>, file: OwnFile, content: &[u8]) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut staged = File::from(openat(folder, file.temporary_name(), flags, Mode::from_raw_mode(FILE_MODE))?);
    fchmod(&staged, Mode::from_raw_mode(FILE_MODE))?;
    staged.write_all(content)?;
    staged.sync_all()
}

fn tolerate(result: rustix::io::Result<()>, harmless: Errno) -> std::io::Result<()> {
    match result {
        Err(error) if error != harmless => Err(error.into()),
        _ => Ok(()),
    }
}

fn name(action: &Action) -> String {
    match action {
        Action::MakeFolder { folder } => format!("making the folder {folder}"),
        Action::FixMode { folder } => format!("changing the mode of {folder}"),
        Action::Stage { folder, file, .. } => format!("writing {folder}/{}", file.temporary_name()),
        Action::Publish { folder, file } => format!("renaming to {folder}/{}", file.name()),
        Action::MoveFolder { from, to } => format!("renaming {from} to {to}"),
        Action::RemoveFile { folder, name } => format!("removing {folder}/{name}"),
        Action::RemoveFolder { folder } => format!("removing the folder {folder}"),
    }
}
