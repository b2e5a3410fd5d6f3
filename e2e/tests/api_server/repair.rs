//! What somebody deletes or edits is put right.

use e2e::{api_server::TRUST_NAMESPACE, walk};
use serde_json::Value;

use crate::{
    creation::CHILDREN,
    stage::{Place, REGISTRY, Stage, log_end, wait},
    state::{self, difference},
};

const TRUST: &str = "package-registry-node-trust";

#[test]
fn every_child_that_is_deleted_comes_back_and_the_service_with_its_address() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("deleted");
    place.registry("");
    place.settle();
    let mut before = state::of(&place);
    let address = place.get("service", REGISTRY).unwrap().text("/spec/clusterIP").to_owned();
    let binding = format!("package-registry:{}:{REGISTRY}", place.namespace);
    let elsewhere = [
        ("clusterrolebinding", "", binding.as_str()),
        ("configmap", TRUST_NAMESPACE, TRUST),
        ("daemonset", TRUST_NAMESPACE, TRUST),
    ];
    let within = CHILDREN.iter().map(|(kind, name, _)| (*kind, place.namespace.as_str(), *name));
    for (kind, namespace, name) in within.chain(elsewhere) {
        let get = || walk::get(place.cluster, kind, namespace, name);
        let uid = get().unwrap().unwrap_or_else(|| panic!("no {kind} {name}")).uid().to_owned();
        walk::delete(place.cluster, kind, namespace, name).unwrap();
        if kind == "secret" {
            // Nobody may watch Secrets, so they are looked at from time to time.
            place.touch();
        }
        wait(&format!("{kind} {name} to come back"), || {
            Ok(get()?.filter(|now| now.uid() != uid && now.text("/metadata/deletionTimestamp").is_empty()))
        });
    }
    let registry = place.settle();
    assert_eq!(place.get("service", REGISTRY).unwrap().text("/spec/clusterIP"), address);
    // Nodes trust the authority that was deleted until all of them have the new one.
    before.get_mut("Secret/main-ca").unwrap()["data"]["previous.crt"] = Value::Null;
    is_again(&place, &before);
    let bundle = place.get("configmap", "main-ca").unwrap();
    assert_eq!(bundle.text("/data/ca.crt"), registry.text("/status/caBundle"));
    stage.finish(controller);
}

/// Kind, name, patch, and the field that it changes.
const EDITS: [(&str, &str, &str, &str); 15] = [
    ("deployment", "main", r#"{"spec":{"replicas":0}}"#, "/spec/replicas"),
    (
        "deployment",
        "main",
        r#"{"spec":{"template":{"spec":{"serviceAccountName":"default","serviceAccount":"default"}}}}"#,
        "/spec/template/spec/serviceAccountName",
    ),
    (
        "deployment",
        "main",
        r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}"#,
        "/spec/template/spec/terminationGracePeriodSeconds",
    ),
    ("deployment", "main", r#"{"metadata":{"ownerReferences":null}}"#, "/metadata/ownerReferences"),
    ("service", "main", r#"{"spec":{"type":"NodePort"}}"#, "/spec/type"),
    ("service", "main", r#"{"spec":{"selector":{"example.com/other":"yes"}}}"#, "/spec/selector"),
    ("service", "main", r#"{"spec":{"ports":[{"name":"https","port":444,"targetPort":1}]}}"#, "/spec/ports"),
    ("service", "main", r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}"#, "/metadata/labels"),
    ("serviceaccount", "main", r#"{"automountServiceAccountToken":true}"#, "/automountServiceAccountToken"),
    ("serviceaccount", "main-publisher", r#"{"metadata":{"labels":null}}"#, "/metadata/labels"),
    ("rolebinding", "main-publisher", r#"{"subjects":[]}"#, "/subjects"),
    (
        "rolebinding",
        "main-publisher",
        r#"{"subjects":[{"kind":"Group","name":"everybody","apiGroup":"rbac.authorization.k8s.io"}]}"#,
        "/subjects",
    ),
    ("configmap", "main-ca", r#"{"data":{"ca.crt":"nothing"}}"#, "/data/ca.crt"),
    ("secret", "main-ca", r#"{"metadata":{"labels":{"app.kubernetes.io/name":"other"}}}"#, "/metadata/labels"),
    ("secret", "main-tls", r#"{"data":{"tls.crt":"bm90aGluZw=="}}"#, "/data/tls.crt"),
];

#[test]
fn every_child_that_is_edited_is_put_right() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("edited-child");
    place.registry("");
    place.settle();
    let before = state::of(&place);
    for (kind, name, patch, pointer) in EDITS {
        edit(&place, (kind, &place.namespace, name), patch, pointer);
    }
    let binding = format!("package-registry:{}:{REGISTRY}", place.namespace);
    edit(&place, ("clusterrolebinding", "", &binding), r#"{"subjects":[]}"#, "/subjects");
    let list = ("configmap", TRUST_NAMESPACE, TRUST);
    edit(&place, list, r#"{"data":{"trust.json":"{\"registries\":[]}"}}"#, "/data/trust.json");
    let agents = ("daemonset", TRUST_NAMESPACE, TRUST);
    let patch = r#"{"spec":{"template":{"spec":{"hostNetwork":false}}}}"#;
    edit(&place, agents, patch, "/spec/template/spec/hostNetwork");
    place.settle();
    is_again(&place, &before);
    println!("{}", log_end(&controller));
    stage.finish(controller);
}

/// Patches a field and waits until it is as before; a certificate, until it is another one than the patch's.
fn edit(place: &Place<'_>, (kind, namespace, name): (&str, &str, &str), patch: &str, pointer: &str) {
    let field = || -> Result<Option<Value>, snafu::Whatever> {
        let object = walk::get(place.cluster, kind, namespace, name)?;
        Ok(object.and_then(|object| object.0.pointer(pointer).cloned()))
    };
    let before = field().unwrap();
    let mut arguments = vec!["patch", kind, name, "-n", namespace, "--type=merge", "-p", patch];
    if kind == "daemonset" {
        // Nobody else may touch it: the admission policy of the agents' namespace.
        arguments.push("--as=system:serviceaccount:package-registry-system:package-registry-controller");
    }
    place.cluster.kubectl(&arguments).unwrap();
    if kind == "secret" {
        place.touch();
    }
    let mut last = None;
    let put_right = walk::wait_until("it", crate::stage::WITHIN, || {
        last = field()?;
        let right = if pointer == "/data/tls.crt" { last != Some("bm90aGluZw==".into()) } else { last == before };
        Ok(right.then_some(()))
    });
    assert!(put_right.is_ok(), "{kind} {name} {pointer} is {last:?} instead of {before:?} after {patch}");
}

fn is_again(place: &Place<'_>, before: &state::State) {
    let mut last = state::of(place);
    let same = walk::wait_until("the same state", crate::stage::WITHIN, || {
        last = state::of(place);
        Ok((last == *before).then_some(()))
    });
    assert!(same.is_ok(), "{}", difference(before, &last));
}
