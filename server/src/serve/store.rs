//! Opens the store.

use std::sync::Arc;
use std::time::Duration;

use snafu::ResultExt;

use super::{BucketSnafu, InterruptedSnafu, OpenSnafu, StartError};
use crate::config::StorageConfig;
use crate::storage::Storage;
use crate::storage::file::FileStorage;
use crate::storage::health::StorageHealth;
use crate::storage::memory::MemoryStorage;
use crate::storage::s3::{S3Config, S3Storage};

/// Until a bucket is tried again that can't be used yet.
const AGAIN: Duration = Duration::from_secs(5);

/// Opens a store; waits for a bucket until it can be used.
pub(super) async fn open(storage: StorageConfig, health: StorageHealth) -> Result<Arc<dyn Storage>, StartError> {
    match storage {
        StorageConfig::Memory => Ok(Arc::new(MemoryStorage::new())),
        StorageConfig::File(root) => {
            let opened =
                tokio::task::spawn_blocking(move || FileStorage::open(&root)).await.context(InterruptedSnafu)?;
            Ok(Arc::new(opened.context(OpenSnafu)?))
        }
        StorageConfig::S3(config) => Ok(Arc::new(bucket(*config, health).await?)),
    }
}

/// A service that is down, or a Secret that is wrong, is somebody else's to mend: a process that ended over it would come
/// back ever later, and could say nothing meanwhile.
async fn bucket(config: S3Config, health: StorageHealth) -> Result<S3Storage, StartError> {
    loop {
        match S3Storage::open(config.clone(), health.clone()).await {
            Err(error) if error.may_pass() => {
                health.failed(error.trouble(), &error.to_string());
                tokio::time::sleep(AGAIN).await;
            }
            opened => return opened.context(BucketSnafu),
        }
    }
}
