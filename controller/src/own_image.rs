//! The image that this process runs from: unless told otherwise, serving pods and agents run from it, too.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use snafu::{OptionExt as _, ResultExt as _, Snafu};

/// Name of the operator's container in its pod; a pod may have others beside it.
const CONTAINER: &str = "controller";

/// Why the image isn't known.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The pod could not be read.
    #[snafu(display("this pod, {namespace}/{pod}, can't be read for its image; set --image to do without"))]
    Read {
        /// Namespace of the pod.
        namespace: String,
        /// Its name.
        pod: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// The pod has no such container.
    #[snafu(display("pod {namespace}/{pod} has no container {CONTAINER} with an image; set --image"))]
    NoContainer {
        /// Namespace of the pod.
        namespace: String,
        /// Its name.
        pod: String,
    },
}

/// Reads the image from this process's own pod.
///
/// # Errors
/// When the API server doesn't give the pod, or it has no container `controller`.
pub async fn read(client: &Client, namespace: &str, pod: &str) -> Result<String, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.get(pod).await.map_err(Box::new).context(ReadSnafu { namespace, pod })?;
    image_of(&found).context(NoContainerSnafu { namespace, pod })
}

fn image_of(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == CONTAINER)?.image.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_beside_the_controller_is_not_taken_for_it() {
        let pod = |containers: serde_json::Value| {
            serde_json::from_value::<Pod>(serde_json::json!({"spec": {"containers": containers}})).unwrap()
        };
        let sidecar = serde_json::json!({"name": "proxy", "image": "proxy:1"});
        let ours = serde_json::json!({"name": "controller", "image": "package-registry:2"});
        assert_eq!(image_of(&pod(serde_json::json!([sidecar, ours]))).as_deref(), Some("package-registry:2"));
        assert_eq!(image_of(&pod(serde_json::json!([sidecar]))), None);
    }
}
