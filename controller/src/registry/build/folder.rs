//! A folder of a node as a volume and its claim. Pods mount a claim and no `hostPath`, which pod security "restricted" forbids.

use k8s_openapi::{
    api::core::v1::{
        LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference, PersistentVolume,
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec, VolumeNodeAffinity,
        VolumeResourceRequirements,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::labels::{Component, by_policy, labels};
use crate::{
    context::REGISTRY_NAMESPACE_LABEL,
    registry::validate::{Folder, HOSTNAME_LABEL, Validated},
};

/// Kubernetes wants a size and holds a folder to none: the node's disk is the limit.
const SIZE: &str = "1Gi";
/// One node alone writes; several pods are ruled out by the spec and by the server's lock.
const ACCESS_MODE: &str = "ReadWriteOnce";

/// The volume; cluster-scoped, so it goes by finalizer.
#[must_use]
pub fn volume(registry: &Validated, folder: &Folder) -> PersistentVolume {
    let mut labels = labels(registry.names.registry(), Component::Storage);
    labels.insert(REGISTRY_NAMESPACE_LABEL.to_owned(), registry.namespace.clone());
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(registry.names.folder_volume()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            capacity: Some([("storage".to_owned(), Quantity(SIZE.into()))].into()),
            access_modes: Some(vec![ACCESS_MODE.into()]),
            volume_mode: Some("Filesystem".into()),
            persistent_volume_reclaim_policy: Some("Retain".into()),
            local: Some(LocalVolumeSource { path: folder.path.clone(), ..LocalVolumeSource::default() }),
            node_affinity: Some(VolumeNodeAffinity { required: Some(only_on(&folder.hostname)) }),
            // No other claim gets it.
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("PersistentVolumeClaim".into()),
                namespace: Some(registry.namespace.clone()),
                name: Some(registry.names.folder_claim()),
                uid: folder.claim_uid.clone(),
                ..ObjectReference::default()
            }),
            ..PersistentVolumeSpec::default()
        }),
        ..PersistentVolume::default()
    }
}

fn only_on(hostname: &str) -> NodeSelector {
    let requirement = NodeSelectorRequirement {
        key: HOSTNAME_LABEL.into(),
        operator: "In".into(),
        values: Some(vec![hostname.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), ..NodeSelectorTerm::default() };
    NodeSelector { node_selector_terms: vec![term] }
}

/// The claim of that volume and no other; `deletionPolicy` says whether it goes with the registry.
#[must_use]
pub fn claim(registry: &Validated) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: by_policy(registry, &registry.names.folder_claim(), Component::Storage),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![ACCESS_MODE.into()]),
            volume_mode: Some("Filesystem".into()),
            // Not the default class, which would provision another volume.
            storage_class_name: Some(String::new()),
            volume_name: Some(registry.names.folder_volume()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(SIZE.into()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
