//! What runs in the cluster from the start: DNS and volumes.

use std::{process::Command, time::Duration};

use serde_json::json;

use super::{
    command::{output, write},
    container_images::{BUSYBOX_IMAGE, COREDNS_IMAGE, PROVISIONER_IMAGE},
    control_plane::{apply, kubectl},
    error::Result,
    paths::state,
    versions::{CLUSTER_DOMAIN, DNS_ADDRESS, NODES},
    wait,
};

/// Applies the add-ons' manifests.
pub(crate) fn install() -> Result<()> {
    for (name, manifest) in [("coredns", coredns()), ("local-path-provisioner", local_path_provisioner())] {
        let path = state("addons").join(format!("{name}.yaml"));
        write(&path, manifest)?;
        apply(&path)?;
    }
    Ok(())
}

fn coredns() -> String {
    include_str!("addons/coredns.yaml")
        .replace("@CLUSTER_DOMAIN@", CLUSTER_DOMAIN)
        .replace("@ADDRESS@", &DNS_ADDRESS.to_string())
        .replace("@IMAGE@", COREDNS_IMAGE)
}

/// Both nodes see one disk; each has its own folder on it.
fn local_path_provisioner() -> String {
    let folders = NODES.map(|node| json!({"node": node.name, "paths": [node.state("volumes")]}));
    include_str!("addons/local-path-provisioner.yaml")
        .replace("@CONFIG@", &json!({"nodePathMap": folders}).to_string())
        .replace("@HELPER_IMAGE@", BUSYBOX_IMAGE)
        .replace("@IMAGE@", PROVISIONER_IMAGE)
}

/// Waits until both nodes are ready.
pub(crate) fn await_nodes() -> Result<()> {
    let nodes = NODES.map(|node| format!("node/{}", node.name));
    await_condition("two ready nodes", "Ready", None, &nodes)
}

/// Waits until the add-ons and the default namespace can be used.
pub(crate) fn await_running() -> Result<()> {
    await_condition("cluster DNS", "Available", Some("kube-system"), &["deployment/coredns".to_owned()])?;
    let provisioner = ["deployment/local-path-provisioner".to_owned()];
    await_condition("the volume provisioner", "Available", Some("local-path-storage"), &provisioner)?;
    let mut account = kubectl();
    account.args(["get", "serviceaccount", "default"]);
    succeed("the default service account", account)
}

fn await_condition(what: &str, condition: &str, namespace: Option<&str>, objects: &[String]) -> Result<()> {
    let mut wait = kubectl();
    wait.args(["wait", &format!("--for=condition={condition}"), "--timeout=2s"]).args(objects);
    wait.args(namespace.map(|namespace| format!("--namespace={namespace}")));
    succeed(what, wait)
}

/// Repeats a command until it succeeds: objects that do not exist yet are an error to kubectl.
fn succeed(what: &str, mut command: Command) -> Result<()> {
    wait::until(what, Duration::from_secs(90), || match output(&mut command) {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// Whether the API server answers and both nodes are ready, now.
pub(crate) fn is_healthy() -> bool {
    let mut nodes = kubectl();
    nodes.args(["--request-timeout=3s", "get", "nodes", "-o"]);
    nodes.arg("jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}");
    let answer = output(&mut nodes);
    answer.is_ok_and(|answer| {
        let ready = String::from_utf8_lossy(&answer.stdout).lines().filter(|status| *status == "True").count();
        answer.status.success() && ready == NODES.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_in_a_manifest() {
        for manifest in [coredns(), local_path_provisioner()] {
            let left: Vec<&str> = manifest.lines().filter(|line| line.split('@').count() > 2).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    fn each_node_keeps_volumes_in_a_folder_of_its_own() {
        let manifest = local_path_provisioner();
        for node in NODES {
            let folder = node.state("volumes").display().to_string();
            assert!(manifest.contains(&format!(r#"{{"node":"{}","paths":["{folder}"]}}"#, node.name)), "{manifest}");
        }
    }
}
