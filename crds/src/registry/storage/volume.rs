//! A volume that exists already.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a volume is in the container unless the spec says otherwise.
pub const DEFAULT_CONTAINER_PATH: &str = "/var/lib/package-registry";
/// Folder that a relative path in the container is below.
const CONTAINER_ROOT: &str = "/var/lib";

/// A volume that exists already. The operator never deletes what is in it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.claimName) != has(self.hostPath)")
    .message("exactly one volume must be set: claimName, or hostPath with nodeName"))]
#[x_kube(validation = Rule::new("has(self.nodeName) == has(self.hostPath)")
    .message("nodeName and hostPath belong together: the node, and the folder on it"))]
#[x_kube(validation = Rule::new(
    "has(self.claimName) == has(oldSelf.claimName) && (!has(self.claimName) || self.claimName == oldSelf.claimName)"
).message("claimName is immutable: pods of before and after the change would write to different places"))]
#[x_kube(validation = Rule::new(
    "has(self.hostPath) == has(oldSelf.hostPath) && (!has(self.hostPath) || self.hostPath == oldSelf.hostPath)"
).message("hostPath is immutable: pods of before and after the change would write to different places"))]
#[x_kube(validation = Rule::new(
    "has(self.nodeName) == has(oldSelf.nodeName) && (!has(self.nodeName) || self.nodeName == oldSelf.nodeName)"
).message("nodeName is immutable: pods of before and after the change would write to different places"))]
#[x_kube(validation = Rule::new(
    "!has(self.hostPath) || (!self.hostPath.matches('^/((bin|boot|dev|etc|lib|lib32|lib64|libx32|proc|run|sbin|sys|usr|var/run)(/.*)?|home|mnt|opt|root|srv|tmp|var|var/lib|var/log)$') && !self.hostPath.matches('^/var/lib/(containerd|containers|docker|etcd|kubelet)(/.*)?$'))"
).message("hostPath must be a folder for this registry alone, as /srv/package-registry: the kubelet hands it to the pods' group"))]
#[x_kube(validation = Rule::new(
    "!has(self.containerPath) || !self.containerPath.matches('^/((dev|etc|proc|run|sys|tmp|var/run|package-registry-(controller|node-trust|server))(/.*)?|var)$')"
).message("containerPath would hide what the container needs: write a path below /var/lib or /srv, or a relative one"))]
pub struct VolumeStorage {
    /// A `PersistentVolumeClaim` of this namespace, which the operator neither changes nor deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub claim_name: Option<String>,
    /// A folder on the node `nodeName`, as `/srv/package-registry`; it must exist. The operator makes a volume and a claim for
    /// it, which go as `deletionPolicy` says; what is in the folder always stays. Works only in namespaces that the
    /// operator's `--privileged-namespaces` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024), regex(pattern = "^(/[.]{0,2}[-A-Za-z0-9_@%+=,][-A-Za-z0-9_@%+=,.]*)+$"))]
    pub host_path: Option<String>,
    /// Name of the node that has the folder, as `kubectl get nodes` prints it. The pod runs there alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub node_name: Option<String>,
    /// Where the volume is in the serving container; a relative path is below `/var/lib`. Unless set,
    /// `/var/lib/package-registry`. It can be changed: the pod starts again and finds the same content there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = "^/?[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*$")
    )]
    pub container_path: Option<String>,
}

impl VolumeStorage {
    /// Where the volume is in the container, as an absolute path.
    #[must_use]
    pub fn absolute_container_path(&self) -> String {
        match &self.container_path {
            None => DEFAULT_CONTAINER_PATH.to_owned(),
            Some(path) if path.starts_with('/') => path.clone(),
            Some(path) => format!("{CONTAINER_ROOT}/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_in_the_container_is_below_its_data_folder() {
        let path = |path: Option<&str>| {
            let container_path = path.map(str::to_owned);
            VolumeStorage { container_path, ..VolumeStorage::default() }.absolute_container_path()
        };
        assert_eq!(path(None), DEFAULT_CONTAINER_PATH);
        assert_eq!(path(Some("package-registry")), DEFAULT_CONTAINER_PATH);
        assert_eq!(path(Some("blue/packages")), "/var/lib/blue/packages");
        assert_eq!(path(Some("/srv/packages")), "/srv/packages");
    }
}
