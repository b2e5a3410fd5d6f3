use k8s_openapi::ByteString;

use super::*;
use crate::condition::{Verdict, set};

fn package(name: &str, uid: &str, second: i64) -> Package {
    serde_saphyr::from_str(&format!(
        r"
apiVersion: registry.dcos.io/v1alpha1
kind: Package
metadata: {{name: {name}, namespace: apps, uid: {uid}, generation: 1, creationTimestamp: '2026-01-01T00:00:{second:02}Z'}}
spec: {{registryRef: {{name: main}}, source: {{url: {{url: 'https://files.test/a.dcos'}}}}}}
"
    ))
    .unwrap()
}

fn declared(mut package: Package, verdict: &Verdict) -> Package {
    let mut status =
        crds::PackageStatus { name: Some("redis".into()), version: Some("5.0".into()), ..Default::default() };
    set(&mut status.conditions, condition::PUBLISHED, verdict, Some(1), jiff::Timestamp::UNIX_EPOCH);
    package.status = Some(status);
    package
}

fn yes() -> Verdict {
    Verdict::yes(reason::SUCCEEDED, "")
}

fn among(siblings: &[&Package]) -> Dereferenced {
    Dereferenced { registry: None, siblings: siblings.iter().map(|package| Arc::new((*package).clone())).collect() }
}

#[test]
fn of_two_objects_with_one_coordinate_the_oldest_wins() {
    let older = declared(package("one", "u2", 1), &yes());
    let younger = declared(package("two", "u1", 2), &yes());
    let error = precedence(&younger, &among(&[&older])).unwrap_err().to_string();
    assert!(error.contains("Package one") && error.contains("redis 5.0"), "{error}");
    precedence(&older, &among(&[&younger])).unwrap();
}

#[test]
fn within_a_second_the_uid_decides_so_that_exactly_one_wins() {
    let one = declared(package("one", "u1", 1), &yes());
    let two = declared(package("two", "u2", 1), &yes());
    assert!(precedence(&one, &among(&[&two])).is_ok() && precedence(&two, &among(&[&one])).is_err());
}

#[test]
fn an_older_object_that_was_kept_out_by_a_younger_one_counts_and_one_that_failed_does_not() {
    let younger = declared(package("two", "u2", 2), &yes());
    let kept_out = declared(package("one", "u1", 1), &Verdict::no(reason::ALREADY_DECLARED, ""));
    let broken = declared(package("one", "u1", 1), &Verdict::no(reason::INVALID_BUNDLE, ""));
    assert!(precedence(&younger, &among(&[&kept_out])).is_err());
    assert!(precedence(&younger, &among(&[&broken])).is_ok());
}

#[test]
fn a_changed_spec_is_tried_before_it_gives_way() {
    let older = declared(package("one", "u1", 1), &yes());
    let mut younger = declared(package("two", "u2", 2), &yes());
    younger.metadata.generation = Some(2);
    precedence(&younger, &among(&[&older])).unwrap();
}

#[test]
fn the_rival_is_the_one_that_the_server_names() {
    let one = declared(package("one", "u1", 1), &yes());
    let two = declared(package("two", "u2", 2), &yes());
    let found = among(&[&one, &two]);
    let named = |text: &str| rival(text, &found).map(|rival| rival.name_any());
    assert_eq!(named("redis 5.0 is declared by apps/two already (with other content)").as_deref(), Some("two"));
    assert_eq!(named("redis 5.0 is declared already").as_deref(), Some("one"));
    assert_eq!(named("redis-cluster 5.0.1 is declared by apps/three already"), None);
}

fn url_source(text: &str) -> UrlSource {
    serde_saphyr::from_str(text).unwrap()
}

fn data(pairs: &[(&str, &str)]) -> SecretData {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
}

fn with_credentials(data: Option<SecretData>) -> Result<ValidSource, Error> {
    let source_with = url_source("{url: 'https://files.test/a.dcos', secretRef: {name: login}}");
    source(&source_with, &Secrets { credentials: Some(data), authorities: None })
}

#[test]
fn credentials_are_a_user_with_a_password_or_a_token() {
    let basic = with_credentials(Some(data(&[("username", "ann"), ("password", "x\n")]))).unwrap();
    assert_eq!(basic.credentials, Some(Credentials::Basic { username: "ann".into(), password: "x".into() }));
    let bearer = with_credentials(Some(data(&[("token", "t")]))).unwrap();
    assert_eq!(bearer.credentials, Some(Credentials::Bearer { token: "t".into() }));
}

#[test]
fn a_wrong_secret_is_named_with_the_key_that_is_missing() {
    for (secret, words) in [
        (None, "there is no Secret login"),
        (Some(data(&[("username", "ann")])), "has no key password"),
        (Some(data(&[("password", "x"), ("username", "")])), "has no key username"),
        (Some(data(&[])), "username and password, or the key token"),
    ] {
        let error = with_credentials(secret).unwrap_err();
        assert!(matches!(error, Error::SecretInvalid { .. }));
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn authorities_must_be_pem() {
    let wanted = url_source("{url: 'https://files.test/a.dcos', certSecretRef: {name: ca}}");
    let with = |value: &str| {
        source(&wanted, &Secrets { credentials: None, authorities: Some(Some(data(&[("ca.crt", value)]))) })
    };
    assert!(with("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").unwrap().ca_bundle.is_some());
    assert!(with("rubbish").unwrap_err().to_string().contains("PEM"));
}

#[test]
fn an_address_with_a_password_is_refused() {
    for address in ["https://ann:x@files.test/a.dcos", "ftp://files.test/a.dcos", "nonsense"] {
        let error = source(&url_source(&format!("{{url: '{address}'}}")), &Secrets::default()).unwrap_err();
        assert!(matches!(error, Error::InvalidSpec { .. }), "{address}");
    }
}

fn a_registry(serving: &Verdict) -> Arc<PackageRegistry> {
    let mut registry = PackageRegistry::new("main", crds::PackageRegistrySpec::default());
    registry.metadata.namespace = Some("apps".into());
    let mut status = crds::PackageRegistryStatus { url: Some("https://main.apps.svc".into()), ..Default::default() };
    set(&mut status.conditions, condition::SERVING_READY, serving, Some(1), jiff::Timestamp::UNIX_EPOCH);
    registry.status = Some(status);
    Arc::new(registry)
}

#[test]
fn only_a_registry_that_serves_is_asked() {
    let object = package("one", "u1", 1);
    let found = |registry| Dereferenced { registry, siblings: Vec::new() };
    assert!(matches!(registry(&object, &found(None)).unwrap_err(), Error::RegistryMissing { .. }));
    let starting = a_registry(&Verdict::no(reason::PROGRESSING, "the pod starts"));
    let error = registry(&object, &found(Some(starting))).unwrap_err();
    assert_eq!(error.to_string(), "PackageRegistry main doesn't serve yet: the pod starts");
    let serving = registry(&object, &found(Some(a_registry(&yes())))).unwrap();
    assert_eq!(serving.authority, "main.apps.svc");
    let mut leaving = (*a_registry(&yes())).clone();
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
    let error = registry(&object, &found(Some(Arc::new(leaving)))).unwrap_err();
    assert!(matches!(error, Error::RegistryLeaving { .. }));
}

#[test]
fn of_several_pods_those_that_serve_are_enough_to_be_asked() {
    let with = |ready: i32, desired: i32| {
        let mut registry = (*a_registry(&Verdict::no(reason::PROGRESSING, "not all pods serve"))).clone();
        let mut status = registry.status.unwrap();
        status.instances = Some(crds::InstancesStatus { ready, desired });
        registry.status = Some(status);
        serving(&Arc::new(registry))
    };
    assert!(with(2, 3).is_ok() && with(1, 3).is_ok());
    assert!(with(0, 3).is_err());
    // The one pod of a volume that isn't as it should be is being exchanged.
    assert!(with(1, 1).is_err());
}
