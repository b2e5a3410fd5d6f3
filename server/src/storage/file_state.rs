//! What the file system says of a file's state.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::Version;

/// Every write makes a new file and renames it into place, so that inode, time and size tell one state from another
/// without reading; a renewal sets the time.
pub(super) fn version(metadata: &Metadata) -> Version {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    Version::new(format!("{:x}-{seconds:x}.{nanos:x}-{:x}", metadata.ino(), metadata.len()))
}

/// How long ago it was written or renewed; `None` where the clock was set back since.
pub(super) fn age(metadata: &Metadata) -> Option<Duration> {
    metadata.modified().ok()?.elapsed().ok()
}
