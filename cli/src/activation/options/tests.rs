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
fn a_bucket_keeps_its_path_without_slashes_and_its_credentials_become_a_secret() {
    let s3 = json!({"bucket": "packages", "path": "/blue/", "credential-secret-path": "team/s3"});
    let Plan { object, notes } = planned(&json!({"registry": {"s3": s3}}));
    let expected = json!({"bucket": "packages", "path": "blue", "credentialsSecretRef": {"name": "team-s3"}});
    assert_eq!(object["spec"], json!({"storage": {"s3": expected}}));
    assert!(notes[0].contains("kubectl create secret generic team-s3"), "{notes:?}");
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    for (options, words) in [
        (json!({"registry": {"service": {"name": "x"}}}), &["registry.service", "beside \"registry\""][..]),
        (json!({"service": {"registry": {}}}), &["service.registry", "beside \"service\""]),
        (json!({"registry": {"mount-volume": {}, "s3": {"bucket": "b"}}}), &["mount-volume", "s3", "exactly one"]),
        (json!({"registry": {"s3": {"path": "p"}}}), &["registry.s3.bucket"]),
        (json!({"registry": {"mount-volume": {"container-path": "a"}}}), &["pinned-hostname", "claimName"]),
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
