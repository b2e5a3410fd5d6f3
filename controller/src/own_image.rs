//! The image that this process runs from: unless told otherwise, serving pods and agents run from it, too.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use snafu::{OptionExt as _, ResultExt as _, Snafu};
use tokio_util::sync::CancellationToken;

use crate::{error::chain, health::Pending};

/// Name of the operator's container in its pod; a pod may have others beside it.
const CONTAINER: &str = "controller";

/// Time between looks.
const PERIOD: Duration = Duration::from_secs(2);
/// A look that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// The image of this process's own pod, once the API server says it; `None` when `shutdown` came first. A process that ended
/// instead would be started ever more seldom, and be late when the API server is back. What is awaited is in `pending`.
///
/// # Errors
/// [`Error::NoContainer`]: waiting doesn't help.
pub async fn wait(
    client: &Client,
    namespace: &str,
    pod: &str,
    pending: &Pending,
    shutdown: &CancellationToken,
) -> Result<Option<String>, Error> {
    let mut said = String::new();
    loop {
        let look = tokio::time::timeout(PATIENCE, read(client, namespace, pod));
        let answer = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            answer = look => answer,
        };
        let problem = match answer {
            Ok(Ok(image)) => return Ok(Some(image)),
            Ok(Err(error @ Error::NoContainer { .. })) => return Err(error),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("the API server doesn't answer for pod {namespace}/{pod}"),
        };
        let waits_for = format!("the image of this pod: {problem}");
        if said != waits_for {
            tracing::info!("waits for {waits_for}");
            said.clone_from(&waits_for);
        }
        pending.set(vec![waits_for]);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn read(client: &Client, namespace: &str, pod: &str) -> Result<String, Error> {
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
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicBool, Ordering},
    };

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// An API server that says it isn't there yet until `there` is set, and gives that pod then.
    fn client(there: &'static AtomicBool, pod: &serde_json::Value) -> Client {
        let pod = pod.to_string();
        let service = tower::service_fn(move |_: Request<Body>| {
            let pod = pod.clone();
            async move {
                let (code, text) = if there.load(Ordering::SeqCst) { (200, pod) } else { (503, String::new()) };
                Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(text.into_bytes())).unwrap())
            }
        });
        Client::new(service, "ops")
    }

    #[tokio::test]
    async fn an_api_server_that_is_away_is_waited_for_and_that_is_said() {
        static THERE: AtomicBool = AtomicBool::new(false);
        let pod = serde_json::json!({"spec": {"containers": [{"name": "controller", "image": "package-registry:2"}]}});
        let (client, pending, shutdown) = (client(&THERE, &pod), Pending::default(), CancellationToken::new());
        let waiting = wait(&client, "ops", "controller-0", &pending, &shutdown);
        let back = async {
            while pending.get().is_empty() {
                tokio::task::yield_now().await;
            }
            assert!(pending.get()[0].contains("pod, ops/controller-0, can't be read"), "{:?}", pending.get());
            THERE.store(true, Ordering::SeqCst);
        };
        let (image, ()) = tokio::join!(waiting, back);
        assert_eq!(image.unwrap().as_deref(), Some("package-registry:2"));
    }

    #[tokio::test]
    async fn a_pod_without_the_container_is_not_waited_for_and_neither_is_one_when_told_to_stop() {
        static THERE: AtomicBool = AtomicBool::new(true);
        static AWAY: AtomicBool = AtomicBool::new(false);
        let pod = serde_json::json!({"spec": {"containers": []}});
        let (pending, shutdown) = (Pending::default(), CancellationToken::new());
        let error = wait(&client(&THERE, &pod), "ops", "a", &pending, &shutdown).await.unwrap_err();
        assert!(error.to_string().contains("set --image"), "{error}");
        shutdown.cancel();
        assert!(wait(&client(&AWAY, &pod), "ops", "a", &pending, &shutdown).await.unwrap().is_none());
    }

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
