//! Is the live object what we want? Pure comparison of JSON forms.
//!
//! We own the fields that we set, no others. A live object is right when every field of the desired one has its value there,
//! and when we own none that the desired one no longer sets (`metadata.managedFields` says which we own). What the API
//! server fills in by itself, and what others add, is left alone. Lists with merge keys are compared by key, as server-side
//! apply does; all others as a whole, and so are the maps that it replaces as a whole.

use serde_json::{Map, Value};

use crate::quantity;

/// The first field, as a path, that an apply would change; `None` when it would change nothing.
///
/// `live` carries its managed fields; `manager` is our field manager's name.
#[must_use]
pub fn first_difference(desired: &Value, live: &Value, manager: &str) -> Option<String> {
    if let Some(path) = missing_in(desired, live, &mut Path::default()) {
        return Some(path);
    }
    let Some(owned) = owned_fields(live, manager) else {
        return Some("metadata.managedFields (nothing of this object is ours yet)".to_owned());
    };
    dropped_from(owned, desired, &mut Path::default())
}

/// Where in an object we are.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn text(&self) -> String {
        self.0.join(".")
    }

    fn within<T>(&mut self, name: impl Into<String>, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(name.into());
        let result = inner(self);
        self.0.pop();
        result
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    fn holds_quantities(&self) -> bool {
        self.0.iter().any(|name| matches!(name.as_str(), "limits" | "requests" | "capacity" | "sizeLimit" | "hard"))
    }
}

/// Maps that the API server drops when they are empty. Elsewhere `{}` says something (`emptyDir: {}`).
fn is_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty() && name != "storageClassName" && name != "value",
        Value::Object(map) => {
            map.is_empty()
                && matches!(
                    name,
                    "labels"
                        | "annotations"
                        | "matchLabels"
                        | "nodeSelector"
                        | "data"
                        | "binaryData"
                        | "stringData"
                        | "limits"
                        | "requests"
                        | "resources"
                        | "metadata"
                        | "status"
                        | "securityContext"
                        | "strategy"
                )
        }
        _ => false,
    }
}

fn missing_in(desired: &Value, live: &Value, path: &mut Path) -> Option<String> {
    match (desired, live) {
        (Value::Object(wanted), Value::Object(found)) => {
            let missing = wanted.iter().find_map(|(name, value)| {
                path.within(name, |path| match found.get(name) {
                    Some(other) => missing_in(value, other, path),
                    None if is_nothing(name, value) => None,
                    None if is_default(name, value) => None,
                    None => Some(path.text()),
                })
            });
            missing.or_else(|| added_to(wanted, found, path))
        }
        (Value::Array(wanted), Value::Array(found)) => missing_in_list(wanted, found, path),
        (Value::String(wanted), Value::String(found)) if path.holds_quantities() => {
            let same = wanted == found
                || matches!((quantity::nanos(wanted), quantity::nanos(found)), (Some(a), Some(b)) if a == b);
            (!same).then(|| path.text())
        }
        _ => (desired != live && !(is_nothing(path.last(), desired) && is_nothing(path.last(), live)))
            .then(|| path.text()),
    }
}

/// A key that somebody added to a map that is one value.
fn added_to(wanted: &Map<String, Value>, found: &Map<String, Value>, path: &mut Path) -> Option<String> {
    if !is_atomic(path.last()) {
        return None;
    }
    let added = found.keys().find(|name| !wanted.contains_key(*name))?;
    Some(path.within(added, |path| path.text()))
}

/// Maps with `x-kubernetes-map-type: atomic`, in which one more key selects something else.
fn is_atomic(map: &str) -> bool {
    matches!(map, "selector" | "nodeSelector" | "matchLabels")
}

/// `false` and `0` in fields that the API server leaves out when they have the zero value.
fn is_default(name: &str, value: &Value) -> bool {
    matches!(
        name,
        "readOnly"
            | "hostNetwork"
            | "hostPID"
            | "hostIPC"
            | "stdin"
            | "stdinOnce"
            | "tty"
            | "paused"
            | "minReadySeconds"
            | "suspend"
    ) && (value == &Value::Bool(false) || value.as_i64() == Some(0))
}

fn missing_in_list(wanted: &[Value], found: &[Value], path: &mut Path) -> Option<String> {
    let list = path.last().to_owned();
    let Some(keys) = merge_keys(&list, wanted) else {
        if is_set(&list) {
            return wanted.iter().any(|value| !found.contains(value)).then(|| path.text());
        }
        if wanted.len() != found.len() {
            return Some(path.text());
        }
        return wanted.iter().zip(found).enumerate().find_map(|(index, (value, other))| {
            path.within(format!("[{index}]"), |path| missing_in(value, other, path))
        });
    };
    wanted.iter().find_map(|value| {
        let key = key_of(value, keys);
        path.within(format!("[{}]", key.join(",")), |path| {
            match found.iter().find(|other| key_of(other, keys) == key) {
                Some(other) => missing_in(value, other, path),
                None => Some(path.text()),
            }
        })
    })
}

fn is_set(list: &str) -> bool {
    list == "finalizers"
}

/// Merge keys of the list `name`; `None` for lists that are one value.
fn merge_keys(name: &str, elements: &[Value]) -> Option<&'static [&'static str]> {
    let keys: &[&str] = match name {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ports" if elements.iter().all(|element| element.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        // A NetworkPolicy's ports have no key: they are part of a rule, which is one value.
        "ports"
            if elements
                .iter()
                .all(|element| element.get("targetPort").is_some() || element.get("nodePort").is_some()) =>
        {
            &["port", "protocol"]
        }
        _ => return None,
    };
    Some(keys)
}

fn key_of(element: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter()
        .map(|key| match element.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None if *key == "protocol" => "TCP".to_owned(),
            None => String::new(),
        })
        .collect()
}

/// Our `fieldsV1` in `live`, from server-side apply of the main resource.
fn owned_fields<'a>(live: &'a Value, manager: &str) -> Option<&'a Map<String, Value>> {
    live.pointer("/metadata/managedFields")?
        .as_array()?
        .iter()
        .find(|entry| {
            entry.get("manager").and_then(Value::as_str) == Some(manager)
                && entry.get("operation").and_then(Value::as_str) == Some("Apply")
                && entry.get("subresource").and_then(Value::as_str).unwrap_or_default().is_empty()
        })?
        .get("fieldsV1")?
        .as_object()
}

/// A field that we own and no longer set.
fn dropped_from(owned: &Map<String, Value>, desired: &Value, path: &mut Path) -> Option<String> {
    owned.iter().find_map(|(entry, below)| {
        if let Some(name) = entry.strip_prefix("f:") {
            return path.within(name, |path| match desired.get(name) {
                Some(value) => descend(below, value, path),
                None => Some(path.text()),
            });
        }
        if let Some(key) = entry.strip_prefix("k:") {
            let key: Value = serde_json::from_str(key).ok()?;
            let element = desired.as_array()?.iter().find(|element| has_key(element, &key));
            return path.within(format!("[{key}]"), |path| match element {
                Some(value) => descend(below, value, path),
                None => Some(path.text()),
            });
        }
        if let Some(value) = entry.strip_prefix("v:") {
            let value: Value = serde_json::from_str(value).ok()?;
            return (!desired.as_array()?.contains(&value)).then(|| path.text());
        }
        None
    })
}

fn descend(below: &Value, desired: &Value, path: &mut Path) -> Option<String> {
    below.as_object().and_then(|below| dropped_from(below, desired, path))
}

fn has_key(element: &Value, key: &Value) -> bool {
    key.as_object().is_some_and(|key| {
        key.iter().all(|(name, value)| match element.get(name) {
            Some(found) => found == value,
            None => name == "protocol" && value == "TCP",
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MANAGER: &str = "package-registry-controller";

    fn owned(fields: &Value) -> Value {
        json!([{"manager": MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}])
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "labels": {"app": "a"}},
            "spec": {"replicas": 1, "template": {"spec": {
                "containers": [{"name": "server", "image": "x:1",
                    "ports": [{"containerPort": 8443, "name": "https"}],
                    "resources": {"limits": {"memory": "1Gi", "cpu": "1000m"}},
                    "volumeMounts": [{"mountPath": "/data", "name": "data"}]}],
                "volumes": [{"name": "data", "emptyDir": {}}]}}}
        })
    }

    fn live() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "labels": {"app": "a", "theirs": "x"}, "uid": "1", "managedFields": owned(&json!({
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                    "f:containers": {"k:{\"name\":\"server\"}": {".": {}, "f:name": {}, "f:image": {},
                        "f:ports": {"k:{\"containerPort\":8443,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:name": {}}},
                        "f:resources": {"f:limits": {"f:memory": {}, "f:cpu": {}}}}},
                    "f:volumes": {"k:{\"name\":\"data\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}}}}}
            }))},
            "spec": {"replicas": 1, "revisionHistoryLimit": 10, "template": {"spec": {
                "dnsPolicy": "ClusterFirst",
                "containers": [
                    {"name": "injected", "image": "mesh:1"},
                    {"name": "server", "image": "x:1", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 8443, "name": "https", "protocol": "TCP"}],
                    "resources": {"limits": {"memory": "1024Mi", "cpu": "1"}},
                    "volumeMounts": [{"mountPath": "/data", "name": "data"}]}],
                "volumes": [{"name": "data", "emptyDir": {}}]}}}
        })
    }

    #[test]
    fn defaults_other_owners_and_other_spellings_are_no_difference() {
        assert_eq!(first_difference(&deployment(), &live(), MANAGER), None);
    }

    #[test]
    fn an_edited_field_is_a_difference_and_is_named() {
        let mut edited = live();
        edited["spec"]["template"]["spec"]["containers"][1]["image"] = json!("evil:1");
        assert_eq!(
            first_difference(&deployment(), &edited, MANAGER).unwrap(),
            "spec.template.spec.containers.[server].image"
        );
        let mut edited = live();
        edited["spec"]["replicas"] = json!(0);
        assert_eq!(first_difference(&deployment(), &edited, MANAGER).unwrap(), "spec.replicas");
    }

    #[test]
    fn another_volume_source_is_a_difference_although_ours_is_empty() {
        let mut edited = live();
        edited["spec"]["template"]["spec"]["volumes"] = json!([{"name": "data", "hostPath": {"path": "/"}}]);
        assert_eq!(
            first_difference(&deployment(), &edited, MANAGER).unwrap(),
            "spec.template.spec.volumes.[data].emptyDir"
        );
    }

    #[test]
    fn a_field_that_we_set_before_and_no_longer_do_is_a_difference() {
        let mut desired = deployment();
        desired["metadata"]["labels"].as_object_mut().unwrap().remove("app");
        assert_eq!(first_difference(&desired, &live(), MANAGER).unwrap(), "metadata.labels.app");
        let mut desired = deployment();
        desired["spec"]["template"]["spec"]["volumes"] = json!([]);
        assert!(first_difference(&desired, &live(), MANAGER).unwrap().starts_with("spec.template.spec.volumes"));
    }

    #[test]
    fn a_key_that_somebody_added_to_a_selector_is_a_difference() {
        let desired = json!({"spec": {"selector": {"app": "a"}, "template": {"spec": {"nodeSelector": {}}},
            "rule": {"matchLabels": {"app": "a"}}}});
        let mut found = desired.clone();
        found["metadata"]["managedFields"] = owned(&json!({"f:spec": {"f:selector": {}}}));
        assert_eq!(first_difference(&desired, &found, MANAGER), None);
        for map in ["spec.selector", "spec.template.spec.nodeSelector", "spec.rule.matchLabels"] {
            let mut edited = found.clone();
            let pointer = format!("/{}", map.replace('.', "/"));
            edited.pointer_mut(&pointer).unwrap()["x"] = json!("y");
            assert_eq!(first_difference(&desired, &edited, MANAGER).unwrap(), format!("{map}.x"));
        }
    }

    #[test]
    fn false_and_an_empty_selector_are_what_the_server_leaves_out_and_nothing_else() {
        let desired = json!({"spec": {"paused": false, "template": {"spec": {"nodeSelector": {}}}}});
        let mut found = json!({"spec": {"template": {"spec": {}}}});
        found["metadata"]["managedFields"] =
            owned(&json!({"f:spec": {"f:paused": {}, "f:template": {"f:spec": {"f:nodeSelector": {}}}}}));
        assert_eq!(first_difference(&desired, &found, MANAGER), None);
        found["spec"]["paused"] = json!(true);
        assert_eq!(first_difference(&desired, &found, MANAGER).unwrap(), "spec.paused");
    }

    #[test]
    fn fields_of_another_manager_may_stay() {
        let mut other = live();
        other["metadata"]["managedFields"].as_array_mut().unwrap().push(json!(
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}}
        ));
        assert_eq!(first_difference(&deployment(), &other, MANAGER), None);
    }

    #[test]
    fn an_object_of_which_we_own_nothing_is_taken_over() {
        let mut foreign = live();
        foreign["metadata"]["managedFields"] = json!([]);
        assert!(first_difference(&deployment(), &foreign, MANAGER).is_some());
    }

    #[test]
    fn lists_without_keys_are_one_value() {
        let desired = json!({"rules": [{"verbs": ["get"]}]});
        let same =
            json!({"rules": [{"verbs": ["get"]}], "metadata": {"managedFields": owned(&json!({"f:rules": {}}))}});
        let longer = json!({"rules": [{"verbs": ["get"]}, {"verbs": ["*"]}]});
        let wider = json!({"rules": [{"verbs": ["get", "list"]}]});
        assert_eq!(first_difference(&desired, &same, MANAGER), None);
        assert_eq!(first_difference(&desired, &longer, MANAGER).unwrap(), "rules");
        assert_eq!(first_difference(&desired, &wider, MANAGER).unwrap(), "rules.[0].verbs");
    }

    #[test]
    fn empty_and_absent_are_the_same_for_maps_and_lists_that_the_server_drops() {
        let desired = json!({"metadata": {"labels": {}, "annotations": {}}, "imagePullSecrets": []});
        let found = json!({"metadata": {"managedFields": owned(&json!({}))}});
        assert_eq!(first_difference(&desired, &found, MANAGER), None);
    }

    #[test]
    fn a_service_port_without_protocol_is_a_tcp_port() {
        let desired = json!({"spec": {"ports": [{"port": 443, "targetPort": "https"}]}});
        let found = json!({"spec": {"ports": [{"port": 443, "targetPort": "https", "protocol": "TCP", "nodePort": 31000}]},
            "metadata": {"managedFields": owned(&json!({"f:spec": {"f:ports": {"k:{\"port\":443,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}}))}});
        assert_eq!(first_difference(&desired, &found, MANAGER), None);
    }

    #[test]
    fn an_amount_that_is_not_in_a_quantity_field_is_compared_to_the_letter() {
        let desired = json!({"data": {"size": "1Gi"}});
        let found = json!({"data": {"size": "1024Mi"}});
        assert_eq!(first_difference(&desired, &found, MANAGER).unwrap(), "data.size");
    }
}
