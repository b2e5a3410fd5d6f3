//! Listing of a folder tree in the order of the keys' bytes.

use std::fs;
use std::io;
use std::path::Path;

use super::file_state::{age, version};
use super::{Item, Listing, Page};

/// One page. Folders sort as their name with `/` behind it, so that the order is that of the whole keys.
pub(super) fn page(root: &Path, listing: &Listing<'_>) -> io::Result<Page> {
    let base = listing.prefix.rfind('/').map_or("", |end| &listing.prefix[..=end]);
    let mut page = Page::default();
    walk(root, base, listing, &mut page)?;
    Ok(page)
}

/// Adds what is in `folder` (a prefix with `/` at its end, or the root); false once the page is full.
fn walk(root: &Path, folder: &str, listing: &Listing<'_>, page: &mut Page) -> io::Result<bool> {
    let names = match names_of(&root.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    for name in names {
        let full = format!("{folder}{name}");
        let is_folder = name.ends_with('/');
        if !full.starts_with(listing.prefix) {
            continue;
        }
        if let Some(after) = listing.after {
            let behind_inside = is_folder && !listing.folders && after.starts_with(&full);
            if full.as_str() <= after && !behind_inside {
                continue;
            }
        }
        if is_folder && !listing.folders {
            if !walk(root, &full, listing, page)? {
                return Ok(false);
            }
            continue;
        }
        let item = if is_folder {
            Item::Folder(full)
        } else {
            match fs::metadata(root.join(&full)) {
                Ok(metadata) => {
                    let (size, version, age) = (metadata.len(), version(&metadata), age(&metadata));
                    Item::Object { key: full, size, version, age }
                }
                // Deleted since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
        };
        if page.items.len() == listing.limit {
            page.more = true;
            return Ok(false);
        }
        page.items.push(item);
    }
    Ok(true)
}

/// Names in a folder, sorted; folders with `/` behind. Hidden names are the store's own and never listed.
fn names_of(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}
