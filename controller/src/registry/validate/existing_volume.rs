//! A volume that exists already: whether the claim, or the node and its folder, can be used. Pure.

use crds::{VolumeStorage, reason};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;

use super::{Error, InvalidSpecSnafu, Objection};
use crate::{
    arguments::Settings,
    registry::{dereference::Live, names::Names},
};

/// Label by which volumes are bound to nodes. A volume's affinity is compared with labels alone, never with a node's name, so
/// the value must be read from the node: the two differ on some clouds.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A volume that exists already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExistingVolume {
    /// Where it is in the container.
    pub container_path: String,
    /// What it is.
    pub source: Source,
    /// What of it can't be used.
    pub objection: Option<Objection>,
}

/// What a volume that exists is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// That of a claim with this name.
    Claim(String),
    /// A folder of a node.
    Folder(Folder),
}

/// A folder of a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// Its path there.
    pub path: String,
    /// Name of the node.
    pub node: String,
    /// Value of the node's [`HOSTNAME_LABEL`]; empty where that isn't known, which is an objection.
    pub hostname: String,
    /// Uid of the claim that is there. The volume is held for exactly this one: a volume that still names a claim of before is
    /// "released" and would never be bound again.
    pub claim_uid: Option<String>,
}

/// Checks the spec against what is there. What is wrong with that is no error: the pods that run go on.
///
/// # Errors
/// [`Error::InvalidSpec`] where the spec names no volume, or several.
pub(super) fn check(
    spec: &VolumeStorage,
    live: &Live,
    namespace: &str,
    names: &Names,
    settings: &Settings,
) -> Result<ExistingVolume, Error> {
    let (source, objection) = match (&spec.claim_name, &spec.host_path, &spec.node_name) {
        (Some(claim), None, None) => (Source::Claim(claim.clone()), claim_objection(claim, live.claim.as_ref())),
        (None, Some(path), Some(node)) => {
            let folder = folder(path, node, live);
            let objection = not_allowed(namespace, settings).or_else(|| folder_objection(&folder, live, names));
            (Source::Folder(folder), objection)
        }
        _ => {
            let problem = "exactly one volume must be set: claimName, or hostPath with nodeName";
            return InvalidSpecSnafu { field: "spec.storage.volume", problem }.fail();
        }
    };
    Ok(ExistingVolume { container_path: spec.absolute_container_path(), source, objection })
}

fn claim_objection(name: &str, claim: Option<&PersistentVolumeClaim>) -> Option<Objection> {
    let field = "spec.storage.volume.claimName";
    let objection = |reason, problem: &str| Some(Objection { reason, message: format!("{field}: {problem}") });
    let Some(claim) = claim else {
        let problem = format!("there is no PersistentVolumeClaim {name} in the registry's namespace: make it");
        return objection(reason::DEPENDENCY_NOT_READY, &problem);
    };
    if claim.metadata.deletion_timestamp.is_some() {
        let problem = format!("PersistentVolumeClaim {name} is being deleted: no other pod can begin to use it");
        return objection(reason::DEPENDENCY_NOT_READY, &problem);
    }
    let spec = claim.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        let problem = format!("PersistentVolumeClaim {name} is a block device: use one with volumeMode Filesystem");
        return objection(reason::INVALID_SPEC, &problem);
    }
    let modes = spec.access_modes.unwrap_or_default();
    if !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany") {
        let problem = format!("PersistentVolumeClaim {name} can only be read: use one with access mode ReadWriteOnce");
        return objection(reason::INVALID_SPEC, &problem);
    }
    None
}

/// A volume that was made once tells the host name as well as its node does, which may be gone.
fn folder(path: &str, node: &str, live: &Live) -> Folder {
    let label = live.node.as_ref().and_then(hostname);
    let hostname = label.or_else(|| live.volume.as_ref().and_then(volume_hostname)).unwrap_or_default();
    Folder {
        path: path.to_owned(),
        node: node.to_owned(),
        hostname: hostname.to_owned(),
        claim_uid: live.claim.as_ref().and_then(ResourceExt::uid),
    }
}

fn hostname(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(HOSTNAME_LABEL).map(String::as_str)
}

/// The host name that a volume of ours is bound to.
fn volume_hostname(volume: &PersistentVolume) -> Option<&str> {
    let terms = &volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?.node_selector_terms;
    let requirements = terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
    let of_host = requirements.into_iter().find(|requirement| requirement.key == HOSTNAME_LABEL)?;
    of_host.values.as_ref()?.first().map(String::as_str)
}

/// A folder of a node is the node's: whoever may create registries alone must not get at it.
fn not_allowed(namespace: &str, settings: &Settings) -> Option<Objection> {
    let message = || {
        format!(
            "spec.storage.volume.hostPath is not allowed in namespace {namespace}: ask the cluster's administrator to add the \
             namespace to the controller's --privileged-namespaces, or make a registry with spec.storage.volume.claimName"
        )
    };
    (!settings.is_privileged(namespace)).then(|| Objection { reason: reason::NOT_ALLOWED, message: message() })
}

fn folder_objection(folder: &Folder, live: &Live, names: &Names) -> Option<Objection> {
    let objection = |message: String| Some(Objection { reason: reason::INVALID_SPEC, message });
    let Folder { path, node, hostname, .. } = folder;
    if hostname.is_empty() {
        let field = "spec.storage.volume.nodeName";
        return match live.node {
            None => {
                objection(format!("{field}: there is no node {node}: kubectl get nodes prints those that are there"))
            }
            Some(_) => {
                objection(format!("{field}: node {node} has no label {HOSTNAME_LABEL}, which binds volumes to nodes"))
            }
        };
    }
    let volume = live.volume.as_ref()?;
    let bound = volume.spec.as_ref().and_then(|spec| spec.local.as_ref()).map(|local| local.path.as_str());
    if bound != Some(path.as_str()) || volume_hostname(volume) != Some(hostname.as_str()) {
        // Neither can be changed in a volume.
        return objection(format!(
            "PersistentVolume {} of before stands for the folder {} on {}, spec.storage.volume says {path} on {node}: write \
             what was, or delete PersistentVolumeClaim {} and then this volume; what is in the folders stays",
            names.folder_volume(),
            bound.unwrap_or("of another kind"),
            volume_hostname(volume).unwrap_or("any node"),
            names.folder_claim(),
        ));
    }
    None
}

#[cfg(test)]
#[path = "existing_volume_tests.rs"]
mod tests;
