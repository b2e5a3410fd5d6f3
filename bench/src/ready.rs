//! From `kubectl apply` of a registry to Ready, beside a bare Deployment of the same image with a claim.

use std::time::{Duration, Instant};

use e2e::{
    cluster::Cluster,
    walk::{self, Delivery},
};
use snafu::{ResultExt as _, Whatever};

use crate::row::{Mark, Row, median_seconds};

const ROUNDS: usize = 10;
const NAMESPACE: &str = "bench";

/// Installs the operator and measures.
pub fn rows() -> Result<Vec<Row>, Whatever> {
    let cluster = Cluster::connect().whatever_context("no cluster")?;
    let image = walk::operator_image(&Delivery::for_cluster(&cluster)?)?;
    walk::install(&cluster, &image, &[])?;
    Ok(vec![measure(&cluster, &image)?])
}

/// Takes both in turn.
fn measure(cluster: &Cluster, image: &str) -> Result<Row, Whatever> {
    walk::delete(cluster, "namespace", "", NAMESPACE)?;
    walk::wait_gone(cluster, "namespace", "", NAMESPACE, Duration::from_mins(2))?;
    walk::apply(cluster, &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"))?;
    let (mut registries, mut deployments) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        deployments.push(deployment(cluster, image)?);
        registries.push(registry(cluster)?);
        eprintln!(
            "round {}: deployment {:.2} s, registry {:.2} s",
            round + 1,
            deployments[round].as_secs_f64(),
            registries[round].as_secs_f64()
        );
    }
    walk::delete(cluster, "namespace", "", NAMESPACE)?;
    Ok(Row {
        what: format!("registry Ready, beside a bare Deployment with a claim, median of {ROUNDS}"),
        unit: "s",
        ours: median_seconds(&registries),
        other: median_seconds(&deployments),
        mark: Mark::Plus(3.0),
    })
}

fn registry(cluster: &Cluster) -> Result<Duration, Whatever> {
    let yaml = format!(
        "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: measured, namespace: {NAMESPACE}}}\n\
         spec: {{deletionPolicy: Delete, storage: {{local: {{size: 1Gi}}}}}}\n"
    );
    let time = until_ready(cluster, &yaml, "packageregistry/measured", "Ready")?;
    walk::delete(cluster, "packageregistry", NAMESPACE, "measured")?;
    walk::wait_gone(cluster, "packageregistry", NAMESPACE, "measured", Duration::from_mins(2))?;
    walk::wait_gone(cluster, "pvc", NAMESPACE, "measured", Duration::from_mins(2))?;
    Ok(time)
}

fn deployment(cluster: &Cluster, image: &str) -> Result<Duration, Whatever> {
    let yaml = format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: bare, namespace: {NAMESPACE}}}\nspec: {{accessModes: \
         [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: \
         {{name: bare, namespace: {NAMESPACE}}}\nspec:\n  selector: {{matchLabels: {{app: bare}}}}\n  template:\n    metadata: \
         {{labels: {{app: bare}}}}\n    spec:\n      securityContext: {{fsGroup: 65532}}\n      containers:\n        - name: \
         server\n          image: {image}\n          imagePullPolicy: IfNotPresent\n          command: \
         [/package-registry-server]\n          args: [--plain-http, '--listen=0.0.0.0:8443', '--auth=none', \
         '--storage=file:///data']\n          readinessProbe: {{httpGet: {{path: /readyz, port: 9090}}, periodSeconds: 1}}\n          \
         volumeMounts: [{{name: data, mountPath: /data}}]\n      volumes: [{{name: data, persistentVolumeClaim: {{claimName: \
         bare}}}}]\n"
    );
    let time = until_ready(cluster, &yaml, "deployment/bare", "Available")?;
    for kind in ["deployment", "pvc"] {
        walk::delete(cluster, kind, NAMESPACE, "bare")?;
    }
    walk::wait_gone(cluster, "pvc", NAMESPACE, "bare", Duration::from_mins(2))?;
    Ok(time)
}

fn until_ready(cluster: &Cluster, yaml: &str, object: &str, condition: &str) -> Result<Duration, Whatever> {
    let start = Instant::now();
    walk::apply(cluster, yaml)?;
    let condition = format!("--for=condition={condition}");
    cluster
        .kubectl(&["wait", "-n", NAMESPACE, object, &condition, "--timeout=120s"])
        .whatever_context(format!("{object} doesn't become ready"))?;
    Ok(start.elapsed())
}
