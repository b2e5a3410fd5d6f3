//! The folder of file storage at the start: made, locked, tidied.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use super::file::OpenError;
use super::file_write::sync_folder;

const LOCK: &str = ".lock";

/// Makes the root's folder, durably.
pub(super) fn make_root(root: &Path) -> io::Result<()> {
    let new: Vec<&Path> = root.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(root)?;
    for folder in &new {
        sync_folder(parent_of(folder))?;
    }
    // An earlier process may have made it and died before it could sync. What is above may belong to others, though, who
    // don't let this user open it.
    if new.is_empty()
        && let Err(error) = sync_folder(parent_of(root))
    {
        tracing::debug!(%error, "the folder above the store could not be synced");
    }
    Ok(())
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    }
}

/// Removes what a crash left half-written. The folder itself stays: making it anew might find no room.
pub(super) fn clear_temporary(temporary: &Path) -> io::Result<()> {
    match fs::create_dir(temporary) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Says in the lock file who holds it. Written over what is there, so that it needs no room where there was a holder.
pub(super) fn name_holder(lock: &mut File) -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("process {} on host {}\n", std::process::id(), host.trim());
    lock.write_all(text.as_bytes())?;
    lock.set_len(text.len() as u64)
}

/// Takes the lock, or says who has it.
pub(super) fn take_lock(root: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Unusable { root: root.to_owned(), source };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join(LOCK))
        .map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                known => known.to_owned(),
            };
            return Err(OpenError::InUse { root: root.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    Ok(lock)
}
