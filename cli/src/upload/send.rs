//! Sending what a registry lacks: several blobs at a time, in pieces, each from where the registry is.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::{MissingBlob, Upload};
use bundle::file::{BlobReader, BundleFile};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::Body;
use snafu::{OptionExt, ResultExt, ensure};

use super::{CallSnafu, NotThereSnafu, StillMissingSnafu, StuckSnafu, UploadError};
use crate::connection::{Api, CallError, Patched};
use crate::http::{PATIENT_ATTEMPTS, Transient};
use crate::progress::Transfer;

/// Blobs that are sent at the same time.
const PARALLEL: usize = 4;
/// Bytes of one request: what is sent again at most when it fails and the registry kept nothing of it.
const PIECE: u64 = 16 << 20;
/// Bytes that are read from the bundle at once.
const READ: usize = 256 << 10;
/// Times that the registry may ask for more after everything was sent.
const ROUNDS: u32 = 3;

/// Sends everything that is missing, asks for the package to be published, and says what the registry answers and how many
/// bytes were sent.
pub async fn send(
    api: &Api,
    bundle: &BundleFile,
    upload: Upload,
    progress: &Arc<Transfer>,
) -> Result<(Upload, u64), UploadError> {
    let (mut upload, sent) = (upload, AtomicU64::new(0));
    for _ in 0..ROUNDS {
        let each = upload.missing.iter().map(|missing| {
            let blob = Blob { api, bundle, id: &upload.id, missing, progress, told: Arc::new(missing.offset.into()) };
            let sent = &sent;
            async move { blob.send(sent).await }
        });
        stream::iter(each).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        upload = api.complete(&upload.id).await.context(CallSnafu)?;
        if upload.missing.is_empty() {
            return Ok((upload, sent.into_inner()));
        }
    }
    StillMissingSnafu { count: upload.missing.len(), rounds: ROUNDS }.fail()
}

struct Blob<'a> {
    api: &'a Api,
    bundle: &'a BundleFile,
    id: &'a str,
    missing: &'a MissingBlob,
    progress: &'a Arc<Transfer>,
    /// Bytes of the blob that the progress was told of.
    told: Arc<AtomicU64>,
}

impl Blob<'_> {
    async fn send(&self, sent: &AtomicU64) -> Result<(), UploadError> {
        let MissingBlob { digest, size, offset } = self.missing;
        let (mut offset, mut failures) = (*offset, 0);
        loop {
            let length = size.saturating_sub(offset).min(PIECE);
            let part = self.bundle.part(digest, offset).context(NotThereSnafu { digest })?;
            let body = || self.piece(part.clone(), offset, length);
            let reached = match self.api.patch(self.id, digest, offset, length, body).await {
                Ok(Patched::Taken(next)) => {
                    sent.fetch_add(length, Ordering::Relaxed);
                    next
                }
                Ok(Patched::Elsewhere(right)) => right,
                Err(error) => self.after(error, failures + 1).await?,
            };
            tell(self.progress, &self.told, reached);
            if reached >= *size {
                return Ok(());
            }
            failures = if reached > offset { 0 } else { failures + 1 };
            ensure!(failures < PATIENT_ATTEMPTS, StuckSnafu { digest, offset, failures });
            offset = reached;
        }
    }

    /// After a failure: how far the registry is, if it is worth going on.
    async fn after(&self, error: CallError, failures: u32) -> Result<u64, UploadError> {
        let pause = error.pause(failures).filter(|_| failures < PATIENT_ATTEMPTS);
        let Some(pause) = pause else { return Err(UploadError::Call { source: error }) };
        tokio::time::sleep(pause).await;
        self.api.offset(self.id, &self.missing.digest).await.context(CallSnafu)
    }

    fn piece(&self, part: BlobReader, offset: u64, length: u64) -> Body {
        let (progress, told) = (Arc::clone(self.progress), Arc::clone(&self.told));
        let mut position = offset;
        let counted = chunks(part.take(length)).inspect_ok(move |chunk| {
            position += chunk.len() as u64;
            tell(&progress, &told, position);
        });
        Body::wrap_stream(counted)
    }
}

/// Moves the bar to what is handed over, never back when something has to be sent again.
fn tell(progress: &Transfer, told: &AtomicU64, position: u64) {
    let before = told.fetch_max(position, Ordering::Relaxed);
    progress.advance(position.saturating_sub(before));
}

/// A file's bytes, read where blocking is allowed.
fn chunks(part: impl Read + Send + 'static) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    stream::try_unfold(part, |mut part| async {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; READ];
            let count = part.read(&mut chunk)?;
            chunk.truncate(count);
            Ok::<_, io::Error>((chunk, part))
        });
        let (chunk, part) = read.await.map_err(io::Error::other)??;
        Ok((!chunk.is_empty()).then_some((chunk, part)))
    })
}
