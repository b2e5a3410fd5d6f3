//! What there is of a registry, without what differs from run to run.

use std::collections::BTreeMap;

use e2e::{api_server::TRUST_NAMESPACE, walk, walk::Object};
use serde_json::{Value, json};

use crate::stage::Place;

/// Everything that belongs to a registry, by kind and name.
pub type State = BTreeMap<String, Value>;

/// Kinds that have an object in the registry's namespace.
const KINDS: &str = "deployment,service,serviceaccount,role,rolebinding,configmap,secret,pvc,packageregistry";

/// What a registry has now. Of `Secret`s and `ConfigMap`s the keys: certificates are made anew for every registry.
pub fn of(place: &Place<'_>) -> State {
    let mut state = State::new();
    let selector = format!("registry.dcos.io/registry-namespace={}", place.namespace);
    let bindings = walk::get_all(place.cluster, "clusterrolebinding", "", &selector).unwrap();
    let objects = walk::get_all(place.cluster, KINDS, &place.namespace, "").unwrap();
    for object in objects.into_iter().chain(bindings) {
        let name = format!("{}/{}", object.text("/kind"), object.text("/metadata/name"));
        if !matches!(name.as_str(), "ServiceAccount/default" | "ConfigMap/kube-root-ca.crt") {
            state.insert(name, plain(object));
        }
    }
    state.insert("trust".to_owned(), trust(place));
    let text = serde_json::to_string(&state).unwrap().replace(&place.namespace, "NAMESPACE");
    serde_json::from_str(&text).unwrap()
}

fn plain(object: Object) -> Value {
    let conditions = object.0.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let conditions: BTreeMap<String, Value> =
        conditions.iter().map(|c| (c["type"].to_string(), json!([c["status"], c["reason"]]))).collect();
    let ours = object.text("/kind") == "PackageRegistry";
    let mut plain = object.0;
    let fields = plain.as_object_mut().unwrap();
    fields.remove("status");
    for content in ["data", "binaryData"] {
        if let Some(Value::Object(data)) = fields.get_mut(content) {
            data.values_mut().for_each(|value| *value = Value::Null);
        }
    }
    remove(fields.get_mut("spec"), &["clusterIP", "clusterIPs", "volumeName"]);
    let metadata = fields.get_mut("metadata").unwrap();
    for owner in metadata["ownerReferences"].as_array_mut().into_iter().flatten() {
        remove(Some(owner), &["uid"]);
    }
    if metadata["ownerReferences"].is_null() {
        remove(Some(metadata), &["ownerReferences"]);
    }
    remove(Some(metadata), &["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"]);
    if ours {
        remove(Some(metadata), &["annotations"]);
        fields.insert("conditions".to_owned(), json!(conditions));
    }
    plain
}

fn remove(value: Option<&mut Value>, names: &[&str]) {
    if let Some(fields) = value.and_then(Value::as_object_mut) {
        for name in names {
            fields.remove(*name);
        }
    }
}

/// What nodes are told of the registry.
fn trust(place: &Place<'_>) -> Value {
    let list = walk::get(place.cluster, "configmap", TRUST_NAMESPACE, "package-registry-node-trust").unwrap();
    let list: Value = serde_json::from_str(list.as_ref().map_or("{}", |list| list.text("/data/trust.json"))).unwrap();
    let mut entries = list["registries"].as_array().cloned().unwrap_or_default();
    entries.retain(|entry| entry["namespace"] == place.namespace.as_str());
    for entry in &mut entries {
        remove(Some(entry), &["addresses", "caBundle"]);
    }
    entries.into()
}

/// What differs, for messages.
pub fn difference(left: &State, right: &State) -> String {
    let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
    let different = names.filter(|name| left.get(*name) != right.get(*name));
    let lines = different.map(|name| format!("{name}:\n  {:?}\n  {:?}", left.get(name), right.get(name)));
    lines.collect::<Vec<_>>().join("\n")
}
