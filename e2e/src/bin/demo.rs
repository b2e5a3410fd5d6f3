//! `demo up`: from nothing to pods on two nodes that run a package's image. `demo down` takes it away again.

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use e2e::{
    cluster::{self, Cluster},
    walk::{self, Delivery, Files},
};
use snafu::{OptionExt as _, ResultExt as _, Whatever};

const NAMESPACE: &str = "demo";
const REGISTRY: &str = "dcos-registry";
const PACKAGE: &str = "hello-1.0";

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    let result = match word.as_str() {
        "up" => up(),
        "down" => down(),
        _ => {
            eprintln!("usage: demo up|down");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, one a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str("\n  because: ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Prints what is done and how long it took.
struct Steps {
    start: Instant,
    number: u32,
}

impl Steps {
    fn run<T>(&mut self, what: &str, act: impl FnOnce() -> Result<T, Whatever>) -> Result<T, Whatever> {
        self.number += 1;
        let start = Instant::now();
        eprintln!("[{}] {what} …", self.number);
        let result = act()?;
        eprintln!("[{}] {what}: {:.1} s", self.number, start.elapsed().as_secs_f64());
        Ok(result)
    }
}

fn up() -> Result<(), Whatever> {
    let mut steps = Steps { start: Instant::now(), number: 0 };
    let cluster = steps.run("A Kubernetes cluster", || Cluster::connect().whatever_context("no cluster"))?;
    let delivery = Delivery::for_cluster(&cluster)?;
    let image = steps.run("The operator's image, built and on the nodes", || walk::operator_image(&delivery))?;
    steps.run("The operator: kubectl apply -k manifests/default", || walk::install(&cluster, &image, &[NAMESPACE]))?;
    let bundle = steps.run("A bundle: dcos-registry registry migrate, build", walk::build_demo_bundle)?;
    steps.run("A file server with the bundle", || {
        Files::start(&cluster, &delivery)?.put("hello-1.0.dcos", &bundle.path)
    })?;
    steps.run("A registry: kubectl apply -f demo/manifests/registry.yaml", || registry(&cluster))?;
    steps.run("A package: kubectl apply -f demo/manifests/package.yaml", || package(&cluster, &bundle.sha256))?;
    steps.run("A pod on each of two nodes, one by the upstream's name", || pods(&cluster))?;
    eprintln!("\nDone in {:.1} s.\n", steps.start.elapsed().as_secs_f64());
    next(&cluster)
}

fn registry(cluster: &Cluster) -> Result<(), Whatever> {
    walk::apply(
        cluster,
        &format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
        ),
    )?;
    walk::apply(cluster, &walk::manifest("registry.yaml", &[])?)?;
    let object = ("packageregistry", NAMESPACE, REGISTRY);
    walk::wait_for(cluster, object, ("Ready", "True"), Duration::from_mins(2))?;
    walk::wait_for(cluster, object, ("NodesTrusted", "True"), Duration::from_mins(2))?;
    Ok(())
}

fn package(cluster: &Cluster, sha256: &str) -> Result<(), Whatever> {
    walk::apply(cluster, &walk::manifest("package.yaml", &[("BUNDLE_SHA256", sha256)])?)?;
    walk::wait_for(cluster, ("package", NAMESPACE, PACKAGE), ("Ready", "True"), Duration::from_mins(2))?;
    Ok(())
}

fn pods(cluster: &Cluster) -> Result<(), Whatever> {
    let nodes = cluster.nodes().whatever_context("the nodes are unknown")?;
    let first = nodes.first().whatever_context("the cluster has no node")?;
    let second = nodes.get(1).unwrap_or(first);
    let yaml = walk::manifest("pods.yaml", &[("NODE_1", first), ("NODE_2", second)])?;
    let file = walk::out().join("pods.yaml");
    fs::write(&file, &yaml).whatever_context("cannot write the pods' manifest")?;
    cluster
        .kubectl(&["delete", "pod", "-n", NAMESPACE, "-l", "app=hello", "--ignore-not-found"])
        .whatever_context("cannot delete the pods of an earlier run")?;
    walk::apply(cluster, &yaml)?;
    for pod in ["hello-1", "hello-2"] {
        let ready = walk::wait_for(cluster, ("pod", NAMESPACE, pod), ("Ready", "True"), Duration::from_mins(2))?;
        let address = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/");
        let answer = cluster.kubectl(&["get", "--raw", &address]).whatever_context("the pod doesn't answer")?;
        eprintln!("    {pod} ({}): {}", ready.text("/spec/containers/0/image"), answer.trim());
    }
    Ok(())
}

/// What a user would type next.
fn next(cluster: &Cluster) -> Result<(), Whatever> {
    let registry =
        walk::get(cluster, "packageregistry", NAMESPACE, REGISTRY)?.whatever_context("the registry is gone")?;
    println!(
        "export KUBECONFIG={kubeconfig}\n\
         kubectl get packageregistries,packages -n {NAMESPACE}\n\
         kubectl get pods -n {NAMESPACE} -o wide\n\
         # The registry's address, from inside the cluster:\n\
         #   {url}\n\
         # The certificate authority that signs it:\n\
         kubectl get configmap {REGISTRY}-ca -n {NAMESPACE} -o jsonpath='{{.data.ca\\.crt}}'",
        kubeconfig = cluster.kubeconfig().display(),
        url = registry.text("/status/url"),
    );
    let kubectl = cluster::kubectl();
    if kubectl.exists() {
        println!("# A kubectl of the cluster's version: {}", kubectl.display());
    }
    Ok(())
}

fn down() -> Result<(), Whatever> {
    let foreign = std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
    if !foreign {
        return cluster::down().whatever_context("cannot take the cluster down");
    }
    let cluster = Cluster::connect().whatever_context("no cluster")?;
    if cluster.is_ours() {
        return cluster::down().whatever_context("cannot take the cluster down");
    }
    walk::delete(&cluster, "packageregistry", NAMESPACE, REGISTRY)?;
    walk::wait_gone(&cluster, "packageregistry", NAMESPACE, REGISTRY, Duration::from_mins(2))?;
    for namespace in [NAMESPACE, "site"] {
        // Packages have a finalizer, so they must be gone before the controller and their kind are.
        walk::delete(&cluster, "namespace", "", namespace)?;
        walk::wait_gone(&cluster, "namespace", "", namespace, Duration::from_mins(2))?;
    }
    let others: Vec<String> = walk::get_all(&cluster, "packageregistry", "", "")?
        .iter()
        .map(|registry| format!("{}/{}", registry.text("/metadata/namespace"), registry.text("/metadata/name")))
        .collect();
    if others.is_empty() {
        return walk::uninstall(&cluster);
    }
    // With their kind they would go, too.
    println!("The operator stays, since there are registries that aren't the demo's: {}", others.join(", "));
    Ok(())
}
