//! Parts that the containers of all our pods have.

use k8s_openapi::{
    api::core::v1::{HTTPGetAction, Probe, VolumeMount},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// A probe by `GET`, each `period` seconds; that many `failures` in a row count.
#[must_use]
pub fn probe(path: &str, port: IntOrString, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction { path: Some(path.into()), port, ..HTTPGetAction::default() }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// A place in the container for a volume.
#[must_use]
pub fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
