//! The walk: from YAML to pods that run the package's image on both nodes.

use std::{collections::BTreeMap, fs, time::Duration};

use e2e::{cluster::Cluster, walk};
use serde_json::Value;

use crate::site::{Place, WITHIN, chain};

#[test]
fn pods_on_two_nodes_run_a_packages_image_by_the_registrys_name_and_by_the_upstreams() {
    let place = Place::new("walk");
    place.registry("nodeTrust: {mirrors: [docker.io]}");
    place.hello();
    place.registry_has("Ready", "True");
    let registry = place.registry_has("NodesTrusted", "True");
    let package = place.package_has("hello", "Ready", "True");

    assert_eq!(registry.text("/status/url"), "https://dcos-registry.walk.svc");
    assert_eq!(package.text("/status/name"), "hello");
    assert_eq!(package.text("/status/version"), "1.0");
    let reference = package.text("/status/images/0/reference");
    assert!(reference.starts_with("dcos-registry.walk.svc/docker.io/example/hello:1.0@sha256:"), "{reference}");
    assert!(package.0.pointer("/status/size").and_then(Value::as_i64).unwrap() > 100_000);

    let nodes = place.cluster().nodes().unwrap();
    let own = place.pod_answers("own-name", &nodes[0], "dcos-registry.walk.svc/docker.io/example/hello:1.0");
    assert!(own.contains("own-name"), "{own}");
    let upstream = place.pod_answers("upstream-name", nodes.last().unwrap(), "example/hello:1.0");
    assert!(upstream.contains("upstream-name"), "{upstream}");
    let by_digest = place.pod_answers("by-digest", nodes.last().unwrap(), reference);
    assert!(by_digest.contains("by-digest"), "{by_digest}");

    if let Some(hosts) = place.trusted_hosts(&nodes[0]) {
        assert!(
            hosts.contains(&"dcos-registry.walk.svc".to_owned()) && hosts.contains(&"docker.io".to_owned()),
            "{hosts:?}"
        );
    }
    place.leave();
}

#[test]
fn the_catalogue_and_the_files_come_from_the_registry_too() {
    let place = Place::new("catalogue");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    assert_eq!(place.catalogue(), ["hello"]);
    let repo: Value = serde_json::from_str(&place.read("/repo").unwrap()).unwrap();
    let greeting = repo.pointer("/packages/0/resource/assets/uris/greeting").and_then(Value::as_str).unwrap();
    let path = greeting.strip_prefix("https://dcos-registry.catalogue.svc").expect(greeting);
    assert_eq!(place.read(path).unwrap(), "Hello from inside.\n");
    let health = place.read("/health").unwrap();
    assert!(health.contains("Able to find 1 package(s)."), "{health}");
    place.leave();
}

#[test]
fn skopeo_copies_an_image_over_tls_with_the_registrys_authority() {
    let place = Place::new("skopeo");
    if !place.cluster().is_ours() {
        println!("skipped: skopeo needs a hosts file of its own, which only root can lay over this machine's");
        return place.leave();
    }
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    let forward = place.forward();
    let certificates = walk::out().join("skopeo-certs");
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(&forward.ca, certificates.join("ca.crt")).unwrap();
    let folder = walk::out().join("skopeo-copy");
    let _ = fs::remove_dir_all(&folder);
    // By address: skopeo has no --resolve, and 127.0.0.1 isn't in the certificate, so the name goes through a hosts file.
    let script = format!(
        "mount --make-rprivate / && cp /etc/hosts /tmp/hosts.$$ && echo '127.0.0.1 {host}' >>/tmp/hosts.$$ && mount --bind \
         /tmp/hosts.$$ /etc/hosts && rm /tmp/hosts.$$ && exec skopeo copy --src-cert-dir {certs} \
         docker://{host}:{port}/docker.io/example/hello:1.0 dir:{folder}",
        host = forward.host,
        port = forward.port(),
        certs = certificates.display(),
        folder = folder.display(),
    );
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(folder.join("manifest.json").exists());
    drop(forward);
    place.leave();
}

#[test]
fn a_registry_pod_that_is_killed_comes_back_with_its_content_and_pulls_go_on_by_the_kubelets_own_retry() {
    let place = Place::new("killed-pod");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    place.registry_has("NodesTrusted", "True");
    let cluster = place.cluster();
    let nodes = cluster.nodes().unwrap();
    let image = "dcos-registry.killed-pod.svc/docker.io/example/hello:1.0";
    let cordoned = Cordoned::all(cluster);
    let selector = "registry.dcos.io/registry=dcos-registry";
    cluster.kubectl(&["delete", "pod", "-n", &place.namespace, "-l", selector, "--force", "--grace-period=0"]).unwrap();
    // The nodes hear of it a moment later, and what was killed may still answer until then: pods until one finds nobody.
    let mut made = 0;
    let after = walk::wait_until("a pull to fail", WITHIN, || {
        made += 1;
        let name = format!("after-{made}");
        // On a node by its name, so that the scheduler isn't asked.
        place.pod_on(&name, &nodes[0], image);
        Ok(fails_to_pull(&place, &name).then_some(name))
    })
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    drop(cordoned);
    assert!(place.answer(&after).contains(&after));
    place.registry_has("Ready", "True");
    assert_eq!(place.catalogue(), ["hello"]);
    place.leave();
}

/// Whether the pod's image can't be had; waits until the pod runs or that is known.
fn fails_to_pull(place: &Place, pod: &str) -> bool {
    walk::wait_until("a pull to end", WITHIN, || {
        let Some(found) = walk::get(place.cluster(), "pod", &place.namespace, pod)? else { return Ok(None) };
        let state = |path: &str| found.0.pointer(&format!("/status/containerStatuses/0/state/{path}")).cloned();
        let waits = state("waiting/reason");
        let failed =
            waits.is_some_and(|reason| ["ErrImagePull", "ImagePullBackOff"].iter().any(|known| reason == **known));
        Ok(if failed { Some(true) } else { state("running").map(|_| false) })
    })
    .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Nodes that take no pods; let go of at the end of the scope.
struct Cordoned<'a> {
    cluster: &'a Cluster,
    nodes: Vec<String>,
}

impl<'a> Cordoned<'a> {
    fn all(cluster: &'a Cluster) -> Self {
        let cordoned = Self { cluster, nodes: cluster.nodes().unwrap() };
        for node in &cordoned.nodes {
            cluster.kubectl(&["cordon", node]).unwrap();
        }
        cordoned
    }
}

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = self.cluster.kubectl(&["uncordon", node]);
        }
    }
}

/// Longer than any re-check of the controller's that could be written too eagerly.
const UNDISTURBED: Duration = Duration::from_secs(45);

#[test]
fn an_undisturbed_operator_makes_no_mutating_request_but_leases() {
    let place = Place::new("undisturbed");
    if !place.cluster().is_ours() {
        println!("skipped: the audit log of another cluster can't be read");
        return place.leave();
    }
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    place.registry_has("NodesTrusted", "True");
    walk::wait_until("the operator to come to rest", WITHIN, || {
        let before = mutations(&place);
        std::thread::sleep(Duration::from_secs(10));
        Ok((mutations(&place) == before).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let made = "/apis/apps/v1/namespaces/undisturbed/deployments/dcos-registry";
    let begin = mutations(&place);
    assert!(begin.keys().any(|request| request.starts_with(made)), "the log shows the operator's writes: {begin:?}");
    // A probe that a busy machine answers too late is a disturbance, and its status is written: another look is taken then.
    walk::wait_until("a time without a write", 3 * UNDISTURBED, || {
        let before = mutations(&place);
        std::thread::sleep(UNDISTURBED);
        Ok((mutations(&place) == before).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{}: {begin:?}, then {:?}", chain(&error), mutations(&place)));
    place.leave();
}

/// Mutating requests of the operator so far but those for its lease and questions (tokens), each with its count.
fn mutations(place: &Place) -> BTreeMap<String, usize> {
    let log = fs::read_to_string(place.cluster().audit_log().unwrap()).unwrap();
    let mut found = BTreeMap::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let verb = event["verb"].as_str().unwrap_or_default();
        let mutating = matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection");
        let resource = event.pointer("/objectRef/resource").and_then(Value::as_str).unwrap_or_default();
        let subresource = event.pointer("/objectRef/subresource").and_then(Value::as_str).unwrap_or_default();
        let ours = event.pointer("/user/username").and_then(Value::as_str)
            == Some("system:serviceaccount:package-registry-system:package-registry-controller");
        if ours && mutating && resource != "leases" && subresource != "token" {
            *found.entry(event["requestURI"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    found
}
