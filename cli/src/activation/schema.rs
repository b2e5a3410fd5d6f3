//! The exhaustive options, from the schema of the PackageRegistry kind.

use crds::PackageRegistry;
use crds::options::{field, schema_of};
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::connection::DEFAULT_NAME;

/// What `--options` takes, as a JSON schema: the original's options, and under `spec` everything that a PackageRegistry has.
pub fn options_schema() -> Value {
    let text = |words: &str| json!({"type": "string", "description": words});
    let above_zero =
        |words: &str| json!({"type": "number", "exclusiveMinimum": true, "minimum": 0, "description": words});
    let object = |words: &str, properties: Value| json!({"type": "object", "description": words, "additionalProperties": false, "properties": properties});
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "Options of the package registry",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "service": object("The service, as the original package registry had it.", json!({
                "name": {"type": "string", "default": DEFAULT_NAME, "description": note("service.name")},
                "instances": {"type": "integer", "minimum": 1, "default": 1, "description": note("service.instances")},
                "cpus": above_zero(&note("service.cpus")),
                "mem": above_zero(&format!("MiB. {}", note("service.mem"))),
                "disk": above_zero(&format!("MiB. {}", note("service.disk"))),
            })),
            "registry": object("The registry, as the original had it.", json!({
                "service-account-secret-path": text(&note("registry.service-account-secret-path")),
                "mount-volume": object("A volume that exists already.", json!({
                    "container-path": text(&note("registry.mount-volume.container-path")),
                    "pinned-hostname": text(&note("registry.mount-volume.pinned-hostname")),
                })),
                "s3": object("A bucket. Not together with mount-volume.", json!({
                    "credential-secret-path": text(&note("registry.s3.credential-secret-path")),
                    "credential-profile-name": text(&note("registry.s3.credential-profile-name")),
                    "bucket": text(&note("registry.s3.bucket")),
                    "path": text(&note("registry.s3.path")),
                    "endpoint": text(&note("registry.s3.endpoint")),
                })),
            })),
            "spec": spec(),
        },
    })
}

/// Whether a PackageRegistry has a field `a.b.c` under `spec`.
pub fn has_field(path: &str) -> bool {
    let crd = PackageRegistry::crd();
    let Some(schema) = schema_of(&crd) else { return false };
    // Inside of Kubernetes' own types and of maps, any name goes.
    let known = |path: &str| field(schema, path);
    let parents = std::iter::successors(path.rsplit_once('.'), |(parent, _)| parent.rsplit_once('.'));
    known(path).is_some()
        || parents
            .map(|(parent, _)| parent)
            .any(|parent| known(parent).is_some_and(|it| it.additional_properties.is_some()))
}

/// The path of the first field under `spec` that a PackageRegistry does not have.
pub fn unknown_field(given: &Value) -> Option<String> {
    unknown(given, &spec(), "spec")
}

fn unknown(given: &Value, schema: &Value, path: &str) -> Option<String> {
    match given {
        Value::Object(given) => given.iter().find_map(|(key, value)| {
            let at = format!("{path}.{key}");
            match (schema.pointer("/properties"), schema.get("additionalProperties")) {
                (Some(Value::Object(known)), _) => {
                    known.get(key).map_or(Some(at.clone()), |it| unknown(value, it, &at))
                }
                (_, Some(each)) => unknown(value, each, &at),
                _ => None,
            }
        }),
        Value::Array(items) => {
            let each = schema.get("items").unwrap_or(&Value::Null);
            items.iter().enumerate().find_map(|(index, item)| unknown(item, each, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

/// The schema of `spec`, without what only the API server understands.
fn spec() -> Value {
    let crd = PackageRegistry::crd();
    let schema = schema_of(&crd).and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default();
    plain(schema.pointer("/properties/spec").cloned().unwrap_or_default())
}

fn plain(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(key, _)| !key.starts_with("x-kubernetes-") && key != "nullable");
            Value::Object(kept.map(|(key, value)| (key, plain(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

fn note(option: &str) -> String {
    let known = crds::options::ORIGINAL_OPTIONS.iter().find(|known| known.name == option);
    let Some(known) = known else { return String::new() };
    format!("{} (spec.{})", known.note, known.field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_every_option_of_the_original_and_every_field() {
        let schema = options_schema();
        for option in crds::options::ORIGINAL_OPTIONS {
            let pointer = format!("/properties/{}", option.name.replace('.', "/properties/"));
            let description = schema.pointer(&pointer).unwrap_or_else(|| panic!("no {}", option.name));
            assert!(description["description"].as_str().is_some_and(|words| words.len() > 10), "{}", option.name);
        }
        let spec = &schema["properties"]["spec"]["properties"];
        assert_eq!(spec["deletionPolicy"]["default"], "Retain");
        assert!(!schema.to_string().contains("x-kubernetes-"));
    }

    #[test]
    fn fields_inside_of_maps_and_kubernetes_types_are_known() {
        for path in ["instances", "storage.local.size", "resources.requests.cpu", "serviceAccount.annotations.x"] {
            assert!(has_field(path), "{path}");
        }
        assert!(!has_field("storage.tape.label"));
        assert_eq!(unknown_field(&json!({"podTemplate": {"labels": {"any": "thing"}}})), None);
        let wrong = json!({"podTemplate": {"tolerations": [{"keyy": "x"}]}});
        assert_eq!(unknown_field(&wrong).unwrap(), "spec.podTemplate.tolerations[0].keyy");
    }
}
