//! The registry found through a cluster.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::kubernetes::{Answers, Kubernetes, REGISTRIES, condition, list, registry};
use crate::packages::built;
use crate::program::{fail, program, succeed};
use crate::server::Server;
use crate::stand_in::{Asked, StandIn};

const CLUSTER: &str = "--kubeconfig=kubeconfig";

fn of(server: &Server) -> Value {
    let ready = condition("Ready", "True", "Succeeded", "serves");
    json!({"url": format!("https://localhost:{}", server.port), "caBundle": fs::read_to_string(server.ca_file()).unwrap(),
        "conditions": [ready], "observedGeneration": 1, "nodes": {"trusted": 2, "desired": 2, "summary": "2/2"}})
}

fn answers(registries: &[Value]) -> Answers {
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"audiences": []},
        "status": {"token": "made-for-the-publisher-#", "expirationTimestamp": "2126-01-01T00:00:00Z"}});
    Answers::from([
        (("GET", REGISTRIES.to_owned()), list(registries)),
        (("POST", "/api/v1/namespaces/apps/serviceaccounts/blue-publisher/token".to_owned()), token),
        (("GET", REGISTRIES.replace("packageregistries", "packages")), list(&[])),
    ])
}

#[test]
fn address_certificate_and_token_come_from_the_cluster() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let kubernetes = Kubernetes::start(folder.path(), answers(&[registry("blue", &of(&server))]));
    built(folder.path(), "sample", "1", &[b"file"], &[]);
    succeed(folder.path(), &["registry", "add", "--dcos-file=sample-1.dcos", "--wait", CLUSTER]);
    let asked = kubernetes.asked("POST /api/v1/namespaces/apps/serviceaccounts/blue-publisher/token");
    assert_eq!(asked.len(), 1, "one token for all calls");
    assert_eq!(asked[0]["spec"]["audiences"], json!(["registry.dcos.io/apps/blue"]));
    let said = succeed(folder.path(), &["registry", "list", CLUSTER, "--name=blue", "-vv"]);
    assert!(said.out.contains("sample") && said.err.contains("is reached at its address"), "{}", said.err);
    assert!(!said.err.contains("made-for-the-publisher"), "{}", said.err);
    let status = succeed(folder.path(), &["registry", "status", CLUSTER]).out;
    let words = status.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["Name: blue", "2/2 trust it", "1 packages", "Ready True Succeeded serves"] {
        assert!(words.contains(part), "no {part:?} in\n{status}");
    }
    let removed =
        succeed(folder.path(), &["registry", "remove", "--package-name=sample", "--package-version=1", CLUSTER]);
    assert_eq!(removed.out, "Removed package sample 1\n");
}

/// Four blobs on their way when the token ends: each is told so at another time.
#[test]
fn a_token_that_ends_while_blobs_are_sent_is_renewed_once_and_nothing_is_lost() {
    let ended = |asked: &Asked| {
        let first = asked.authorization.ends_with("-1");
        let after = Duration::from_millis(100 * (1 + asked.before as u64));
        (asked.what.starts_with("PATCH") && first).then_some((StatusCode::UNAUTHORIZED, after))
    };
    let (folder, stand_in) = (tempfile::tempdir().unwrap(), StandIn::start(ended));
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let status = json!({"url": format!("http://localhost:{}", stand_in.port), "caBundle": authority});
    let kubernetes = Kubernetes::start(folder.path(), answers(&[registry("blue", &status)]));
    built(folder.path(), "sample", "1", &[b"a", b"bc", b"def", b"ghij"], &[]);
    let ran = succeed(folder.path(), &["registry", "add", "--dcos-file=sample-1.dcos", "--wait", "--json", CLUSTER]);
    assert!(ran.out.contains("\"bytesSent\":10"), "{}", ran.out);
    let tokens = kubernetes.asked("POST /api/v1/namespaces/apps/serviceaccounts/blue-publisher/token").len();
    assert_eq!(tokens, 2, "the first, and one in its place");
}

/// Other systems have one loopback address.
#[cfg(target_os = "linux")]
#[test]
fn the_address_that_answers_is_found_without_waiting_for_those_that_do_not() {
    let (folder, stand_in) = (tempfile::tempdir().unwrap(), StandIn::start_at("127.0.0.3", |_| None));
    let silent =
        ["127.0.0.1", "127.0.0.2"].map(|address| std::net::TcpListener::bind((address, stand_in.port)).unwrap());
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let status = json!({"url": format!("http://localhost:{}", stand_in.port), "caBundle": authority,
        "clusterIPs": ["127.0.0.2", "127.0.0.3"]});
    let _kubernetes = Kubernetes::start(folder.path(), answers(&[registry("blue", &status)]));
    let started = Instant::now();
    let ran = succeed(folder.path(), &["registry", "list", CLUSTER, "--verbose"]);
    assert!(ran.err.contains("localhost is reached at 127.0.0.3"), "{}", ran.err);
    assert!(started.elapsed() < Duration::from_secs(6), "three seconds for each that does not answer");
    drop(silent);
}

#[test]
fn a_registry_that_is_not_there_or_not_ready_is_named_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let waits = json!({"conditions": [condition("Ready", "False", "Progressing", "the claim is not bound")]});
    let two = [registry("blue", &waits), registry("green", &waits)];
    let _kubernetes = Kubernetes::start(folder.path(), answers(&two));
    fail(folder.path(), &["registry", "list", CLUSTER], &["apps", "blue, green", "--name"]);
    fail(folder.path(), &["registry", "list", CLUSTER, "--name=red"], &["red", "apps", "blue"]);
    fail(
        folder.path(),
        &["registry", "list", CLUSTER, "--name=blue"],
        &["blue", "no address yet", "the claim is not bound"],
    );
    let status = succeed(folder.path(), &["registry", "status", CLUSTER, "--name=blue"]);
    assert!(status.out.contains("the claim is not bound") && status.err.contains("no address yet"), "{}", status.out);
    fail(folder.path(), &["registry", "list", CLUSTER, "--context=else"], &["kubeconfig", "else"]);
    fail(folder.path(), &["registry", "list", "--kubeconfig=nowhere"], &["kubeconfig", "--url"]);
    fail(folder.path(), &["registry", "logs", "--url=https://x.test"], &["--url", "logs", "--kubeconfig"]);
}

#[test]
fn a_cluster_without_the_kind_is_told_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let _kubernetes = Kubernetes::start(folder.path(), Answers::new());
    fail(folder.path(), &["registry", "list", CLUSTER], &["no package registries yet", "activate"]);
}

#[test]
fn what_still_uses_a_package_is_named_and_force_marks_its_object() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let package = json!({"apiVersion": "registry.dcos.io/v1alpha1", "kind": "Package",
        "metadata": {"name": "sample-1", "namespace": "apps"}, "spec": {"registryRef": {"name": "blue"}, "source": {}},
        "status": {"name": "sample", "version": "1", "workloads": {"count": 2, "examples": ["Pod apps/web-1", "Pod apps/web-2"]}}});
    let packages = REGISTRIES.replace("packageregistries", "packages");
    let mut answers = answers(&[registry("blue", &of(&server))]);
    answers.insert(("GET", packages.clone()), list(std::slice::from_ref(&package)));
    answers.insert(("PATCH", format!("{packages}/sample-1")), package.clone());
    answers.insert(("GET", format!("{packages}/sample-1")), package);
    let kubernetes = Kubernetes::start(folder.path(), answers);
    built(folder.path(), "sample", "1", &[b"file"], &[]);
    succeed(folder.path(), &["registry", "add", "--dcos-file=sample-1.dcos", "--wait", CLUSTER]);
    let remove = ["registry", "remove", "--package-name=sample", "--package-version=1", CLUSTER, "--force"];
    let ran = succeed(folder.path(), &remove);
    assert!(ran.err.contains("2 workloads: Pod apps/web-1, Pod apps/web-2"), "{}", ran.err);
    assert!(kubernetes.asked(&format!("GET {packages}")).len() <= 2, "the list once, then the one object");
    let patched = kubernetes.asked(&format!("PATCH {packages}/sample-1"));
    assert_eq!(patched, [json!({"metadata": {"annotations": {"registry.dcos.io/force-removal": "true"}}})]);
    let target = server.target(server.port);
    let arguments =
        ["registry", "remove", "--package-name=sample", "--package-version=1", "--force", &target[0], &target[1]];
    let refused = crate::program::run(folder.path(), &arguments);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("--force") && refused.err.contains("--kubeconfig"), "{}", refused.err);
}

fn with_logs() -> Answers {
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "apps"}});
    let mut answers = answers(&[registry("blue", &json!({}))]);
    answers.insert(("GET", "/api/v1/namespaces/apps/pods".to_owned()), list(&[pod("blue-1"), pod("blue-2")]));
    let log = |name: &str| ("GET", format!("/api/v1/namespaces/apps/pods/{name}/log"));
    answers.insert(log("blue-1"), json!(["first", "then"]));
    answers.insert(log("blue-2"), json!(["second"]));
    answers
}

#[test]
fn logs_are_those_of_the_serving_pods() {
    let folder = tempfile::tempdir().unwrap();
    let _kubernetes = Kubernetes::start(folder.path(), with_logs());
    let out = succeed(folder.path(), &["registry", "logs", CLUSTER]).out;
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[blue-1] first", "[blue-1] then", "[blue-2] second"]);
}

#[test]
fn logs_that_are_followed_are_printed_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let kubernetes = Kubernetes::start(folder.path(), with_logs());
    let mut follow = program(folder.path(), &["registry", "logs", "-f", CLUSTER]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut first = [(); 2].map(|()| lines.next().unwrap().unwrap());
    first.sort();
    assert_eq!(first, ["[blue-1] first", "[blue-2] second"]);
    assert!(child.try_wait().unwrap().is_none(), "one pod's log has ended, the other's has not");
    kubernetes.write(1);
    assert_eq!(lines.next().unwrap().unwrap(), "[blue-1] then");
    assert!(lines.next().is_none() && child.wait().unwrap().success());
}
