//! The server's flags. What the spec leaves to the server isn't given.

use std::time::Duration;

use crds::{GarbageCollection, OnConflict};

use super::{
    bucket,
    deployment::{ADMIN_PORT, HTTPS_PORT, TLS_DIR},
};
use crate::registry::validate::{Packages, Storage, Validated};

/// The flags of the server of `registry`.
pub(super) fn arguments(registry: &Validated) -> Vec<String> {
    let mut arguments = vec![
        format!("--listen=0.0.0.0:{HTTPS_PORT}"),
        format!("--tls-dir={TLS_DIR}"),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
    ];
    if let Storage::S3(s3) = &registry.storage {
        arguments.extend(bucket::arguments(s3));
    }
    let mounted = registry.storage.mounted(&registry.names);
    arguments.extend(mounted.map(|mounted| format!("--storage=file://{}", mounted.path)));
    if registry.pods.instances > 1 {
        arguments.push("--require-coordination".to_owned());
    }
    arguments.extend([
        format!("--public-host={}", registry.host()),
        "--auth=kubernetes".to_owned(),
        format!("--token-audience={}", registry.names.audience()),
        "--log-format=json".to_owned(),
    ]);
    arguments.extend(packages(&registry.packages));
    arguments.extend(collection(&registry.garbage_collection));
    arguments
}

fn packages(packages: &Packages) -> Vec<String> {
    let sources = &packages.sources;
    let mut arguments = vec![format!("--source-require-digest={}", sources.require_digest)];
    arguments.extend(sources.allowed_hosts.iter().map(|host| format!("--source-allowed-host={host}")));
    arguments.extend(sources.allowed_cidrs.iter().map(|range| format!("--source-allowed-cidr={range}")));
    if packages.on_conflict == OnConflict::Replace {
        arguments.push("--on-conflict=replace".to_owned());
    }
    arguments.extend(packages.max_bytes.map(|bytes| format!("--max-upload-bytes={bytes}")));
    arguments
}

fn collection(collection: &GarbageCollection) -> Vec<String> {
    let seconds = |duration: &kube::core::Duration| format!("{}s", Duration::from(*duration).as_secs());
    let interval = collection.interval.as_ref().map(|interval| format!("--gc-interval={}", seconds(interval)));
    let period = collection.grace_period.as_ref().map(|period| format!("--gc-grace-period={}", seconds(period)));
    let dry_run = collection.dry_run.then(|| "--gc-dry-run".to_owned());
    [interval, period, dry_run].into_iter().flatten().collect()
}
