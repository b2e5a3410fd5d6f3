//! A registry on a bucket of a real object store, with three instances.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use e2e::{
    cluster::Cluster,
    walk::{self, Credentials, Minio},
};
use serde_json::{Value, json};

use crate::site::{Place, chain, site};

/// Long enough for a Secret to reach running pods, which the kubelet looks for once a minute.
const ROTATION: Duration = Duration::from_mins(3);
const SELECTOR: &str = "registry.dcos.io/registry=dcos-registry";
const MANIFEST: &str = "/v2/docker.io/example/hello/manifests/1.0";

#[test]
fn three_instances_share_a_bucket_and_survive_a_kill_under_pulls_and_a_rotation_of_their_credentials() {
    let (before, after) = (Credentials::of("before"), Credentials::of("after"));
    let store = Minio::start(&site().cluster, &site().delivery, &before).unwrap();
    store.bucket("packages", &before).unwrap();
    let place = Place::new("bucket");
    credentials(&place, &before.file("blue"));
    registry(&place, &store);
    place.hello();
    place.registry_has("Ready", "True");
    place.package_has("hello", "Ready", "True");
    assert_eq!(place.get("packageregistry", "dcos-registry").unwrap().text("/status/storage/kind"), "s3");
    assert!(place.get("pvc", "dcos-registry").is_none(), "a bucket needs no claim");

    let pods = pods(&place);
    assert_eq!(pods.len(), 3);
    pulled_through_all(&place, &pods);
    a_pod_is_killed_under_pulls(&place);

    let pods = self::pods(&place);
    credentials_are_rotated(&place, &store, &after);
    credentials_break(&place, &after);
    assert_eq!(self::pods(&place), pods, "neither new nor broken credentials restart a pod");
    pulled_through_all(&place, &pods);
    place.leave();
    store.remove().unwrap();
}

fn registry(place: &Place, store: &Minio) {
    place.apply(&format!(
        "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: dcos-registry, namespace: {}}}\n\
         spec:\n  instances: 3\n  storage:\n    s3: {{bucket: packages, path: e2e, endpoint: '{}', credentialsSecretRef: \
         {{name: store}}, profile: blue}}\n  packages: {{sources: {{allowedHosts: ['files.site.svc:8080']}}}}\n",
        place.namespace,
        store.endpoint(),
    ));
}

fn credentials(place: &Place, file: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": place.namespace},
        "stringData": {"credentials": file}});
    place.apply(&secret.to_string());
}

/// Uid of each serving pod, with how often its container was started again.
fn pods(place: &Place) -> BTreeMap<String, (String, i64)> {
    let found = walk::get_all(place.cluster(), "pod", &place.namespace, SELECTOR).unwrap();
    let staying = found.into_iter().filter(|pod| pod.text("/metadata/deletionTimestamp").is_empty());
    staying
        .map(|pod| {
            let restarts = pod.0.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_i64);
            (pod.text("/metadata/name").to_owned(), (pod.uid().to_owned(), restarts.unwrap_or_default()))
        })
        .collect()
}

/// Each pod has the manifest and the first layer, whole.
fn pulled_through_all(place: &Place, pods: &BTreeMap<String, (String, i64)>) {
    let get = |pod: &str, path: &str| {
        let address = format!("/api/v1/namespaces/{}/pods/https:{pod}:8443/proxy{path}", place.namespace);
        let mut command = place.cluster().kubectl_command();
        let output = command.args(["get", "--raw", &address]).output().unwrap();
        assert!(output.status.success(), "{pod}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let mut seen = Vec::new();
    for pod in pods.keys() {
        let manifest = get(pod, MANIFEST);
        let parsed: Value = serde_json::from_slice(&manifest).unwrap();
        let layer = parsed["layers"][0].clone();
        let bytes = get(pod, &format!("/v2/docker.io/example/hello/blobs/{}", layer["digest"].as_str().unwrap()));
        assert_eq!(bytes.len() as u64, layer["size"].as_u64().unwrap(), "{pod}");
        seen.push(manifest);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "every pod has the same manifest");
}

fn a_pod_is_killed_under_pulls(place: &Place) {
    if !place.cluster().is_ours() {
        println!("skipped: pulls from inside a node need this machine's own cluster");
        return;
    }
    let puller = Puller::start(place);
    thread::sleep(Duration::from_secs(5));
    let pods = pods(place);
    let victim = pods.keys().next().unwrap();
    let kill = ["delete", "pod", "-n", &place.namespace, victim, "--force", "--grace-period=0"];
    place.cluster().kubectl(&kill).unwrap();
    thread::sleep(Duration::from_secs(15));
    let (pulls, failures) = puller.stop();
    assert_eq!(failures, Vec::<String>::new(), "of {pulls} pulls");
    assert!(pulls >= 3, "only {pulls} pulls");
    place.registry_has("Ready", "True");
}

fn credentials_are_rotated(place: &Place, store: &Minio, after: &Credentials) {
    // The store refuses the old ones first, so that pulls can only work again by the new ones.
    store.exchange(after).unwrap();
    walk::wait_for_reason(
        place.cluster(),
        ("packageregistry", &place.namespace, "dcos-registry"),
        ("StorageReady", "SecretInvalid"),
        ROTATION,
    )
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    credentials(place, &after.file("blue"));
    storage_is_ready(place);
}

fn credentials_break(place: &Place, good: &Credentials) {
    credentials(place, &good.file("red"));
    let registry = place.reason("packageregistry", "dcos-registry", "StorageReady", "SecretInvalid");
    let (_, _, message) = registry.condition("StorageReady").unwrap();
    assert!(message.contains("has no profile [blue]") && !message.contains(&good.secret), "{message}");
    credentials(place, &good.file("blue"));
    storage_is_ready(place);
}

fn storage_is_ready(place: &Place) {
    let registry = ("packageregistry", place.namespace.as_str(), "dcos-registry");
    for condition in ["StorageReady", "Ready"] {
        walk::wait_for(place.cluster(), registry, (condition, "True"), ROTATION)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
}

/// Pulls the demo's image again and again from inside a node, with the client's own retry.
struct Puller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Puller {
    fn start(place: &Place) -> Self {
        let registry = place.get("packageregistry", "dcos-registry").unwrap();
        let certificates = walk::out().join("bucket-certs");
        fs::create_dir_all(&certificates).unwrap();
        fs::write(certificates.join("ca.crt"), registry.text("/status/caBundle")).unwrap();
        let address = registry.text("/status/clusterIPs/0").to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let (cluster, stopped) = (place.cluster().clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut pulls, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                pulls += 1;
                failures.extend(pull(&cluster, &address, &certificates).err());
            }
            (pulls, failures)
        });
        Self { stop, thread }
    }

    /// How many pulls there were, and what those said that failed.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn pull(cluster: &Cluster, address: &str, certificates: &Path) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let certificates = certificates.display().to_string();
    let source = format!("docker://{address}:443/docker.io/example/hello:1.0");
    let target = format!("dir:{}", folder.path().display());
    let skopeo = ["skopeo", "copy", "--quiet", "--retry-times", "5", "--src-cert-dir", &certificates, &source, &target];
    let mut command: Command = cluster.node_command("node1", &skopeo).unwrap();
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
