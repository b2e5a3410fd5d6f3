//! A bucket, as the serving pods see it: flags, credentials and authorities.
//!
//! Secret and ConfigMap are mounted, and nothing of their content is in the pod's template: the kubelet brings a new content into
//! the running pods, where the server reads it again.

use crds::{CaBundleKind, CaBundleReference};
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use crate::{
    container::mount,
    registry::validate::{CREDENTIALS_KEY, S3},
};

const CREDENTIALS: &str = "s3-credentials";
const CREDENTIALS_DIR: &str = "/etc/package-registry/s3";
const AUTHORITIES: &str = "s3-ca";
const AUTHORITIES_DIR: &str = "/etc/package-registry/s3-ca";
/// Name of the file with the authorities, whatever the key is called.
const AUTHORITIES_FILE: &str = "ca.crt";

/// The server's flags for `s3`.
pub(super) fn arguments(s3: &S3) -> Vec<String> {
    let path = s3.path.as_ref().map_or_else(String::new, |path| format!("/{path}"));
    let mut arguments = vec![format!("--storage=s3://{}{path}", s3.bucket)];
    arguments.extend(s3.endpoint.as_ref().map(|endpoint| format!("--s3-endpoint={endpoint}")));
    arguments.push(format!("--s3-region={}", s3.region));
    arguments.push(format!("--s3-force-path-style={}", s3.path_style));
    if s3.ca_bundle.is_some() {
        arguments.push(format!("--s3-ca-file={AUTHORITIES_DIR}/{AUTHORITIES_FILE}"));
    }
    arguments.extend(s3.server_side_encryption.as_ref().map(|value| format!("--s3-server-side-encryption={value}")));
    if s3.redirect {
        arguments.push("--s3-redirect".to_owned());
    }
    if s3.credentials.is_some() {
        arguments.push(format!("--aws-credentials-file={CREDENTIALS_DIR}/{CREDENTIALS_KEY}"));
        arguments.push(format!("--aws-profile={}", s3.profile));
    }
    arguments
}

/// The volumes with what `s3` refers to. None is optional: a pod without its credentials could only fail.
pub(super) fn volumes(s3: &S3) -> Vec<Volume> {
    let credentials = s3.credentials.as_ref().map(|name| Volume {
        name: CREDENTIALS.into(),
        secret: Some(secret(name, CREDENTIALS_KEY, CREDENTIALS_KEY)),
        ..Volume::default()
    });
    let authorities = s3.ca_bundle.as_ref().map(|reference| {
        let CaBundleReference { kind, name, key } = reference;
        let volume = Volume { name: AUTHORITIES.into(), ..Volume::default() };
        match kind {
            CaBundleKind::Secret => Volume { secret: Some(secret(name, key, AUTHORITIES_FILE)), ..volume },
            CaBundleKind::ConfigMap => Volume {
                config_map: Some(ConfigMapVolumeSource {
                    name: name.clone(),
                    items: Some(vec![item(key, AUTHORITIES_FILE)]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..volume
            },
        }
    });
    credentials.into_iter().chain(authorities).collect()
}

/// Where these volumes are.
pub(super) fn mounts(s3: &S3) -> Vec<VolumeMount> {
    let credentials = s3.credentials.as_ref().map(|_| mount(CREDENTIALS, CREDENTIALS_DIR, true));
    let authorities = s3.ca_bundle.as_ref().map(|_| mount(AUTHORITIES, AUTHORITIES_DIR, true));
    credentials.into_iter().chain(authorities).collect()
}

fn secret(name: &str, key: &str, path: &str) -> SecretVolumeSource {
    SecretVolumeSource {
        secret_name: Some(name.to_owned()),
        items: Some(vec![item(key, path)]),
        ..SecretVolumeSource::default()
    }
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), ..KeyToPath::default() }
}
