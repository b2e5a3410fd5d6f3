//! What an upload has to do with the catalogue.

use api::PackageSource;
use bundle::model::Bundle;
use tokio_util::sync::CancellationToken;

use super::UploadId;
use super::error::{ConflictSnafu, UploadError};
use super::record::Record;
use super::status::Status;
use crate::catalogue::entry::{Declared, Entry};
use crate::catalogue::{Catalogue, Intent, Number, OnConflict, PublishError};

/// Begins the id under which the catalogue knows an upload.
const PREFIX: &str = "upload-";

/// The id under which the catalogue knows an upload.
#[must_use]
pub(super) fn declared_as(id: &UploadId) -> String {
    format!("{PREFIX}{id}")
}

/// Whether a package has the content of an upload, and whatever else that brings. What is declared is the declaration's, also
/// where the upload has a signature more.
#[must_use]
pub(super) fn is_there(entry: &Entry, record: &Record) -> bool {
    let text = |bytes: &[u8], known: &String| known.as_bytes() == bytes;
    let signatures = &record.parts.signatures;
    let signed = signatures.iter().all(|bytes| entry.signatures.iter().any(|known| text(bytes, known)));
    let indexed = match (&record.parts.index, &entry.index) {
        (Some(bytes), Some(known)) => text(bytes, known),
        (bytes, known) => bytes.is_none() && known.is_none(),
    };
    entry.digest == record.digest && (entry.source == PackageSource::Url || signed && indexed)
}

/// The release version of the package if it is in the catalogue already, with all that the upload brings.
///
/// # Errors
/// Other content under the name and version, where that can't be replaced; a store that fails.
pub(super) async fn judge(catalogue: &Catalogue, record: &Record) -> Result<Option<u64>, UploadError> {
    let Some(entry) = catalogue.package(&record.coordinate.name, &record.coordinate.version).await? else {
        return Ok(None);
    };
    if is_there(&entry, record) {
        return Ok(Some(entry.release_version));
    }
    if entry.digest == record.digest {
        return Ok(None);
    }
    // What is declared is the declaration's, whatever may be replaced.
    if entry.source == PackageSource::Upload && catalogue.options().on_conflict == OnConflict::Replace {
        return Ok(None);
    }
    ConflictSnafu { message: conflict(&entry) }.fail()
}

/// Why other content can't be put in the place of what is there, and what to do.
fn conflict(there: &Entry) -> String {
    let Entry { name, version, digest, .. } = there;
    match there.source {
        PackageSource::Upload => format!(
            "{name} {version} is in the catalogue with other content ({digest}): remove it first (dcos-registry registry remove --package-name={name} --package-version={version}), or give this one another version"
        ),
        PackageSource::Url => format!(
            "{name} {version} is in the catalogue with other content ({digest}), declared by {} ({}): delete or change that declaration first, or give this package another version",
            there.declaration.by, there.declaration.id
        ),
    }
}

/// Publishes a checked package under the time at which it was accepted.
///
/// # Errors
/// Those of [`Catalogue::publish`].
pub(super) async fn publish(
    catalogue: &Catalogue,
    bundle: Bundle,
    id: &UploadId,
    status: &Status,
    cancelled: &CancellationToken,
) -> Result<Entry, PublishError> {
    let declaration =
        Declared { id: declared_as(id), source: status.digest.clone(), by: status.by.clone().unwrap_or_default() };
    let number = Number::From(status.accepted.unwrap_or_default());
    let intent = Intent { number, source: PackageSource::Upload, declaration };
    catalogue.publish(bundle, intent, cancelled).await
}
