//! The claim of the volume.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use super::labels::{Component, by_policy};
use crate::registry::validate::{Validated, Volume};

/// The claim; `deletionPolicy` says whether it goes with the registry.
#[must_use]
pub fn claim(registry: &Validated, volume: &Volume) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: by_policy(registry, &registry.names.claim(), Component::Storage),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: volume.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), volume.size.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
