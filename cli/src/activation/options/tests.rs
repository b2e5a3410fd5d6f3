use super::*;

fn planned(options: &Value) -> Plan {
    plan(Some(&options.to_string()), None, None).unwrap()
}

fn refused(options: &Value) -> String {
    plan(Some(&options.to_string()), None, None).unwrap_err().to_string()
}

#[test]
fn without_options_it_is_the_smallest_registry() {
    let Plan { object, notes } = plan(None, None, Some("apps")).unwrap();
    assert_eq!(object["metadata"], json!({"name": "dcos-registry", "namespace": "apps"}));
    assert_eq!((&object["spec"], notes.len()), (&json!({}), 0));
}

#[test]
fn every_option_has_its_field() {
    for (options, path, value) in [
        (json!({"service": {"name": "registry"}}), "/metadata/name", json!("registry")),
        (json!({"service": {"name": "/my/custom/dcos-registry"}}), "/metadata/name", json!("mycustomdcos-registry")),
        (json!({"service": {"instances": 1}}), "/spec/instances", json!(1)),
        (json!({"service": {"cpus": 0.5}}), "/spec/resources/requests/cpu", json!("500m")),
        (json!({"service": {"cpus": 2}}), "/spec/resources/limits/cpu", json!("2000m")),
        (json!({"service": {"mem": 2048}}), "/spec/resources/requests/memory", json!("2048Mi")),
        (json!({"service": {"mem": 2048}}), "/spec/resources/limits/memory", json!("2048Mi")),
        (json!({"service": {"disk": 10240}}), "/spec/storage/local/size", json!("10240Mi")),
        (json!({"spec": {"deletionPolicy": "Delete"}}), "/spec/deletionPolicy", json!("Delete")),
    ] {
        assert_eq!(planned(&options).object.pointer(path), Some(&value), "{options}");
    }
    let account = planned(&json!({"registry": {"service-account-secret-path": "dcos-registry-secret"}}));
    assert!(account.notes[0].contains("service-account-secret-path") && account.object["spec"] == json!({}));
}

#[test]
fn storage_that_this_version_lacks_is_reported_and_never_dropped() {
    for (options, field) in [
        (json!({"registry": {"s3": {"bucket": "packages", "path": "/blue/"}}}), "storage.s3.bucket"),
        (json!({"registry": {"mount-volume": {"container-path": "package-registry"}}}), "storage.volume.containerPath"),
        (json!({"registry": {"mount-volume": {"pinned-hostname": "10.0.0.4"}}}), "storage.volume.nodeName"),
    ] {
        let planned = plan(Some(&options.to_string()), None, None);
        let pointer = format!("/spec/{}", field.replace('.', "/"));
        match planned {
            Ok(plan) => assert!(has_field(field) && plan.object.pointer(&pointer).is_some(), "{options}"),
            Err(error) => {
                assert!(!has_field(field), "{options}: {error}");
                assert!(error.to_string().contains(field) && error.to_string().contains("registry."), "{error}");
            }
        }
    }
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    for (options, words) in [
        (json!({"registry": {"service": {"name": "x"}}}), &["registry.service", "beside \"registry\""][..]),
        (json!({"service": {"registry": {}}}), &["service.registry", "beside \"service\""]),
        (json!({"registry": {"mount-volume": {}, "s3": {"bucket": "b"}}}), &["mount-volume", "s3", "exactly one"]),
        (json!({"registry": {"s3": {"path": "p"}}}), &["registry.s3.bucket"]),
        (json!({"service": {"instances": 3}}), &["service.instances", "registry.s3"]),
        (json!({"service": {"instances": 0}}), &["service.instances", "above 0"]),
        (json!({"service": {"instances": 1.5}}), &["service.instances", "whole"]),
        (json!({"service": {"cpus": "1"}}), &["service.cpus", "number"]),
        (json!({"service": {"mem": -5}}), &["service.mem", "above 0"]),
        (json!({"service": {"name": 5}}), &["service.name", "string"]),
        (json!({"service": {"name": "/Registry"}}), &["service.name", "a-z"]),
        (json!({"service": {"size": 1}}), &["service.size", "disk"]),
        (json!({"registry": {"s4": {}}}), &["registry.s4", "mount-volume"]),
        (json!({"serivce": {}}), &["serivce", "service"]),
        (json!({"service": []}), &["service", "object"]),
        (json!([]), &["$", "object"]),
        (json!({"spec": {"storge": {}}}), &["spec.storge"]),
        (json!({"spec": {"storage": {"local": {"sise": "1Gi"}}}}), &["spec.storage.local.sise"]),
        (json!({"service": {"instances": 1}, "spec": {"instances": 2}}), &["spec.instances", "another option"]),
    ] {
        let said = refused(&options);
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
    }
}

#[test]
fn a_stray_quotation_mark_is_named_by_its_place() {
    let error = plan(Some("{\n  \"service\": {\"name\": \"x\"\"}\n}"), None, None).unwrap_err();
    assert!(matches!(error, OptionsError::Syntax { line: 2, .. }), "{error}");
}

#[test]
fn a_name_of_its_own_keeps_the_service_name_of_the_options() {
    let options = json!({"service": {"name": "registry"}}).to_string();
    let object = plan(Some(&options), Some("blue"), None).unwrap().object;
    assert_eq!(object["metadata"]["name"], "blue");
    assert_eq!(object["spec"]["service"]["name"], "registry");
}

#[test]
fn a_secrets_path_becomes_a_name() {
    assert_eq!(secret_name("/Team_A/s3.credentials"), "team-a-s3.credentials");
}
