//! `activate`, and the options that it takes.

use std::fs;

use serde_json::{Value, json};

use crate::kubernetes::{Answers, Kubernetes, REGISTRIES, condition, list, registry};
use crate::program::{fail, run, succeed};

#[test]
fn a_dry_run_prints_the_object_and_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"service": {"name": "/my/custom/dcos-registry", "mem": 2048},
        "registry": {"service-account-secret-path": "dcos-registry-secret"}});
    fs::write(folder.path().join("options.json"), options.to_string()).unwrap();
    let dry = ["registry", "activate", "--options=options.json", "--dry-run"];
    let ran = succeed(folder.path(), &[&dry[..], &["-o", "json"]].concat());
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(object["kind"], "PackageRegistry");
    assert_eq!(object["metadata"], json!({"name": "mycustomdcos-registry"}));
    assert_eq!(object["spec"]["resources"]["limits"]["memory"], "2048Mi");
    assert!(ran.err.contains("service-account-secret-path"), "{}", ran.err);
    let yaml = succeed(folder.path(), &[&dry[..], &["-o", "yaml", "--namespace=apps"]].concat()).out;
    let from_yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!((&from_yaml["spec"], &from_yaml["metadata"]["namespace"]), (&object["spec"], &json!("apps")));
    assert_eq!(run(folder.path(), &["registry", "activate", "-o", "yaml"]).code, 2, "-o belongs to --dry-run");
}

#[test]
fn options_that_are_wrong_are_named_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (options, words) in [
        (r#"{"registry": {"service": {"name": "x"}}}"#, ["options.json", "registry.service", "beside"]),
        ("{\"service\":\n {\"name\": \"x\"\"}}", ["options.json", "line 2", "column"]),
        (r#"{"registry": {"mount-volume": {}, "s3": {}}}"#, ["options.json", "mount-volume and s3", "exactly one"]),
    ] {
        fs::write(folder.path().join("options.json"), options).unwrap();
        fail(folder.path(), &["registry", "activate", "--options=options.json", "--dry-run"], &words);
    }
    fail(folder.path(), &["registry", "activate", "--options=none.json"], &["none.json"]);
}

#[test]
fn the_exhaustive_options_are_a_json_schema() {
    let folder = tempfile::tempdir().unwrap();
    let printed = succeed(folder.path(), &["package", "describe", "package-registry", "--config"]).out;
    let schema: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
    assert_eq!(schema["properties"]["service"]["properties"]["name"]["default"], "dcos-registry");
    assert!(schema["properties"]["spec"]["properties"]["nodeTrust"].is_object());
    assert_eq!(run(folder.path(), &["package", "describe", "else", "--config"]).code, 2);
    assert_eq!(run(folder.path(), &["package", "describe", "package-registry"]).code, 2);
}

fn cluster(status: &Value) -> Answers {
    let kind = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "packageregistries.registry.dcos.io"},
        "spec": {"group": "registry.dcos.io", "names": {"kind": "PackageRegistry", "plural": "packageregistries"},
            "scope": "Namespaced", "versions": []}});
    let operator =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "package-registry-controller"}});
    let object = registry("dcos-registry", status);
    Answers::from([
        (
            (
                "GET",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/packageregistries.registry.dcos.io".to_owned(),
            ),
            kind,
        ),
        (("GET", "/apis/apps/v1/deployments".to_owned()), list(&[operator])),
        (("PATCH", format!("{REGISTRIES}/dcos-registry")), object.clone()),
        (("GET", format!("{REGISTRIES}/dcos-registry")), object),
    ])
}

#[test]
fn a_registry_is_applied_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let status = json!({"observedGeneration": 1, "url": "https://dcos-registry.apps.svc",
        "conditions": [condition("StorageReady", "True", "Succeeded", "bound"), condition("Ready", "True", "Succeeded", "serves")]});
    let kubernetes = Kubernetes::start(folder.path(), cluster(&status));
    // While it is waited for, the API server restarts.
    kubernetes.fail(&format!("GET {REGISTRIES}/dcos-registry"), 3);
    let ran = succeed(folder.path(), &["registry", "activate", "--kubeconfig=kubeconfig"]);
    for part in ["StorageReady      True", "Ready             True"] {
        assert!(ran.err.contains(part), "no {part:?} in {}", ran.err);
    }
    assert!(
        ran.out.contains("registry add --dcos-file=FILE --namespace=apps")
            && ran.out.contains("dcos-registry.apps.svc"),
        "{}",
        ran.out
    );
    let applied = kubernetes.asked(&format!("PATCH {REGISTRIES}/dcos-registry"));
    assert_eq!(
        (&applied[0]["kind"], &applied[0]["metadata"]["name"]),
        (&json!("PackageRegistry"), &json!("dcos-registry"))
    );
    assert!(kubernetes.asked("PATCH /apis/apps/v1").is_empty(), "the operator is there");
}

#[test]
fn a_registry_that_nothing_will_change_or_that_takes_too_long_fails_with_what_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let stalled = condition("Stalled", "True", "InvalidSpec", "storage.local.size is not a quantity");
    let _kubernetes =
        Kubernetes::start(folder.path(), cluster(&json!({"observedGeneration": 1, "conditions": [stalled]})));
    fail(folder.path(), &["registry", "activate", "--kubeconfig=kubeconfig"], &["dcos-registry", "not a quantity"]);
    let waits = condition("Ready", "False", "Progressing", "1/2 nodes");
    let _kubernetes =
        Kubernetes::start(folder.path(), cluster(&json!({"observedGeneration": 1, "conditions": [waits]})));
    let arguments = ["registry", "activate", "--kubeconfig=kubeconfig", "--timeout=2"];
    fail(folder.path(), &arguments, &["not Ready after 2 seconds", "1/2 nodes"]);
}
