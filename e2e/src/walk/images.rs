//! Images of the project's own programs, and how they get to the nodes.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};

use super::root;
use crate::cluster::Cluster;

/// How images get to the nodes, in the words of `make image`'s `IMAGE_TO`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery(String);

impl Delivery {
    /// For the project's own cluster: imported on its nodes. For another one: what `IMAGE_TO` says.
    ///
    /// # Errors
    /// When another cluster is used and `IMAGE_TO` isn't set.
    pub fn for_cluster(cluster: &Cluster) -> Result<Self, Whatever> {
        if cluster.is_ours() {
            return Ok(Self("cluster".to_owned()));
        }
        let to = env::var("IMAGE_TO").ok().filter(|to| !to.is_empty());
        Ok(Self(to.whatever_context(
            "KUBECONFIG names a cluster of yours: set IMAGE_TO to say how images get to its nodes, push:HOST/NAME:TAG or \
             kind:CLUSTER",
        )?))
    }

    /// The same destination for another image: a pushed one gets a name of its own.
    fn of(&self, name: &str) -> (String, Option<String>) {
        match self.0.strip_prefix("push:") {
            Some(reference) => {
                let (repository, tag) = split_tag(reference);
                let reference = format!("{repository}-{name}:{tag}");
                (format!("push:{reference}"), Some(reference))
            }
            None => (self.0.clone(), None),
        }
    }
}

fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

/// Builds the operator's image, brings it to the nodes and says its name.
///
/// # Errors
/// When the build fails; its own output went to standard error.
pub fn operator_image(delivery: &Delivery) -> Result<String, Whatever> {
    let mut build = Command::new(root().join("image/build.sh"));
    build.arg(&delivery.0).stderr(Stdio::inherit());
    let output = build.output().whatever_context("cannot start image/build.sh")?;
    if !output.status.success() {
        whatever!("image/build.sh failed");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = text.lines().last().whatever_context("image/build.sh printed no image name")?;
    Ok(name.trim().to_owned())
}

/// Brings an image archive to the nodes; the name that pods use comes back.
///
/// # Errors
/// When that fails.
pub fn deliver(delivery: &Delivery, archive: &Path, name: &str, reference: &str) -> Result<String, Whatever> {
    let (to, pushed) = delivery.of(name);
    let mut script = Command::new(root().join("image/deliver.sh"));
    let output = script.arg(archive).arg(to).output().whatever_context("cannot start image/deliver.sh")?;
    if !output.status.success() {
        whatever!("image/deliver.sh: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(pushed.unwrap_or_else(|| reference.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_image_gets_a_name_beside_the_operators() {
        let delivery = Delivery("push:registry.test:5000/package-registry:1".to_owned());
        let (to, reference) = delivery.of("files");
        assert_eq!(to, "push:registry.test:5000/package-registry-files:1");
        assert_eq!(reference.as_deref(), Some("registry.test:5000/package-registry-files:1"));
    }
}
