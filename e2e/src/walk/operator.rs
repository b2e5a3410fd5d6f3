//! Installing and removing the operator, by kustomize as a user would.

use std::fs;

use snafu::{ResultExt as _, Whatever};

use super::{out, root};
use crate::cluster::Cluster;

/// Applies `manifests/default` with another image and the namespaces whose registries may ask for mirrors, and waits until
/// the controller is ready.
///
/// # Errors
/// What kubectl says.
pub fn install(cluster: &Cluster, image: &str, privileged_namespaces: &[&str]) -> Result<(), Whatever> {
    let folder = out().join("operator");
    fs::create_dir_all(&folder).whatever_context("cannot make a folder for the overlay")?;
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let overlay = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../manifests/default]\n\
         images:\n  - {{name: package-registry, newName: {name}, newTag: {tag}}}\n\
         patches:\n  - target: {{kind: Deployment, name: package-registry-controller}}\n    patch: |-\n      - op: add\n        \
         path: /spec/template/spec/containers/0/args/-\n        value: --privileged-namespaces={namespaces}\n",
        namespaces = [&["package-registry-system"], privileged_namespaces].concat().join(","),
    );
    fs::write(folder.join("kustomization.yaml"), overlay).whatever_context("cannot write the overlay")?;
    let folder = folder.display().to_string();
    cluster.kubectl(&["apply", "-k", &folder]).whatever_context("cannot apply the operator's manifests")?;
    cluster
        .kubectl(&[
            "rollout",
            "status",
            "deployment/package-registry-controller",
            "-n",
            "package-registry-system",
            "--timeout=120s",
        ])
        .whatever_context("the controller doesn't come up")?;
    Ok(())
}

/// Deletes everything that [`install`] applied.
///
/// # Errors
/// What kubectl says.
pub fn uninstall(cluster: &Cluster) -> Result<(), Whatever> {
    let folder = root().join("manifests/default").display().to_string();
    cluster
        .kubectl(&["delete", "-k", &folder, "--ignore-not-found", "--timeout=120s"])
        .whatever_context("cannot delete the operator's manifests")?;
    Ok(())
}
