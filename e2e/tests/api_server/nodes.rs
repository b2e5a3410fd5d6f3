//! The nodes' part, played by the tests: volumes are bound, pods run, agents are ready.

use e2e::{api_server::TRUST_NAMESPACE, cluster::Cluster, walk, walk::Object};
use serde_json::{Value, json};
use snafu::{ResultExt as _, Whatever};

/// How many nodes there are said to be.
pub const NODES: i64 = 2;

/// Says of everything that is there that it works, where that isn't said of its present generation. The namespace's registry,
/// as it was before, comes back.
pub fn play(cluster: &Cluster, namespace: &str) -> Result<Option<Object>, Whatever> {
    let mut registry = None;
    trust(cluster)?;
    for object in walk::get_all(cluster, "deployment,pvc,packageregistry", namespace, "")? {
        match object.text("/kind") {
            "Deployment" => serve(cluster, &object)?,
            "PersistentVolumeClaim" => bind(cluster, &object)?,
            _ => registry = Some(object),
        }
    }
    Ok(registry)
}

/// The claim has a volume.
pub fn bind(cluster: &Cluster, claim: &Object) -> Result<(), Whatever> {
    if claim.text("/status/phase") == "Bound" {
        return Ok(());
    }
    let capacity = claim.0.pointer("/spec/resources/requests").cloned();
    say(cluster, "pvc", claim, &json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": capacity}))
}

/// All pods of the Deployment run.
pub fn serve(cluster: &Cluster, deployment: &Object) -> Result<(), Whatever> {
    let count = deployment.0.pointer("/spec/replicas").cloned().unwrap_or(json!(1));
    let status = json!({
        "replicas": count, "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count,
    });
    say_of_generation(cluster, "deployment", deployment, status)
}

/// Every node's agent is ready.
pub fn trust(cluster: &Cluster) -> Result<(), Whatever> {
    let Some(agents) = walk::get(cluster, "daemonset", TRUST_NAMESPACE, "package-registry-node-trust")? else {
        return Ok(());
    };
    let status = json!({
        "desiredNumberScheduled": NODES, "currentNumberScheduled": NODES, "updatedNumberScheduled": NODES,
        "numberReady": NODES, "numberAvailable": NODES, "numberMisscheduled": 0,
    });
    say_of_generation(cluster, "daemonset", &agents, status)
}

fn say_of_generation(cluster: &Cluster, kind: &str, object: &Object, mut status: Value) -> Result<(), Whatever> {
    let generation = object.0.pointer("/metadata/generation").cloned();
    if object.0.pointer("/status/observedGeneration") == generation.as_ref() {
        return Ok(());
    }
    status["observedGeneration"] = generation.into();
    say(cluster, kind, object, &status)
}

fn say(cluster: &Cluster, kind: &str, object: &Object, status: &Value) -> Result<(), Whatever> {
    let patch = json!({"status": status}).to_string();
    let (namespace, name) = (object.text("/metadata/namespace"), object.text("/metadata/name"));
    let arguments = ["patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
    match cluster.kubectl(&arguments) {
        // It was deleted meanwhile.
        Err(error) if error.to_string().contains("NotFound") => Ok(()),
        other => other.map(|_| ()).whatever_context(format!("cannot say what became of {kind} {namespace}/{name}")),
    }
}
