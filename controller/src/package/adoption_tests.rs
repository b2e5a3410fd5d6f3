use serde_json::Value;

use super::*;

fn registry() -> PackageRegistry {
    let mut registry = PackageRegistry::new("main", crds::PackageRegistrySpec::default());
    registry.metadata.namespace = Some("apps".into());
    registry
}

fn digest(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
}

fn entry(name: &str, version: &str, number: u8, more: &Value) -> Entry {
    let mut entry = json!({"name": name, "version": version, "status": "Added", "releaseVersion": 1, "size": 1,
        "digest": digest(number), "source": "upload", "removalRequested": false});
    entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    serde_json::from_value(entry).unwrap()
}

fn upload(name: &str, version: &str, number: u8) -> Entry {
    entry(name, version, number, &json!({}))
}

/// The object that the operator makes for an upload, as it is after its first pass.
fn standing(entry: &Entry) -> Arc<Package> {
    let steps = plan(std::slice::from_ref(entry), &[], &registry());
    let [Step::Create(package)] = steps.as_slice() else { panic!("{steps:?}") };
    let mut package = package.as_ref().clone();
    package.metadata.uid = Some("uid".into());
    package.status = Some(crds::PackageStatus {
        name: Some(entry.name.clone()),
        version: Some(entry.version.clone()),
        ..Default::default()
    });
    Arc::new(package)
}

fn created(steps: &[Step]) -> Vec<String> {
    let name = |step: &Step| match step {
        Step::Create(package) => Some(package.name_any()),
        _ => None,
    };
    steps.iter().filter_map(name).collect()
}

#[test]
fn an_upload_without_an_object_gets_one_that_names_its_content() {
    let steps = plan(&[upload("redis", "5.0.0-1", 1)], &[], &registry());
    let [Step::Create(package)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((package.name_any().as_str(), package.namespace().as_deref()), ("redis-5.0.0-1", Some("apps")));
    assert_eq!(package.spec.registry_ref.name, "main");
    assert_eq!(uploaded(package), Some(digest(1).as_str()));
    package.validate_cel().unwrap();
}

#[test]
fn nothing_is_done_for_what_has_its_object_is_declared_or_is_not_there_whole() {
    let one = upload("redis", "5.0.0", 1);
    assert_eq!(plan(std::slice::from_ref(&one), &[standing(&one)], &registry()), []);
    let declared = entry("redis", "5.0.0", 1, &json!({"managedBy": "u1"}));
    let fetched = entry("redis", "5.0.0", 1, &json!({"source": "url", "managedBy": "u1"}));
    let unsaid = entry("redis", "5.0.0", 1, &json!({"source": null}));
    let coming = entry("redis", "5.0.0", 1, &json!({"status": "Storing"}));
    for entry in [declared, fetched, unsaid, coming] {
        assert_eq!(plan(&[entry], &[], &registry()), []);
    }
}

#[test]
fn a_removal_that_was_asked_for_deletes_the_object_once_and_the_content_where_there_is_none() {
    let asked = entry("redis", "5.0.0", 1, &json!({"removalRequested": true}));
    let object = standing(&upload("redis", "5.0.0", 1));
    let entries = std::slice::from_ref(&asked);
    assert_eq!(plan(entries, &[Arc::clone(&object)], &registry()), [Step::Delete(Arc::clone(&object))]);
    let mut leaving = object.as_ref().clone();
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(plan(entries, &[Arc::new(leaving)], &registry()), []);
    assert_eq!(plan(entries, &[], &registry()), [Step::Withdraw { name: "redis".into(), version: "5.0.0".into() }]);
}

#[test]
fn content_that_is_gone_unasked_takes_no_object_with_it() {
    let object = standing(&upload("redis", "5.0.0", 1));
    assert_eq!(plan(&[], &[object], &registry()), []);
}

#[test]
fn content_that_was_replaced_keeps_its_object() {
    let object = standing(&upload("redis", "5.0.0", 1));
    let steps = plan(&[upload("redis", "5.0.0", 2)], &[Arc::clone(&object)], &registry());
    assert_eq!(steps, [Step::Update { object, digest: digest(2) }]);
}

#[test]
fn a_name_that_no_object_may_have_gets_a_hash_and_so_does_one_that_is_taken() {
    let cases = [
        ("redis", "5.0.0", "redis-5.0.0"),
        ("redis", "v1_Beta", "redis-v1-beta-"),
        ("redis", "1.0+build", "redis-1.0-build-"),
        ("redis", "1..0", "redis-1.0-"),
        ("redis", "1.-", "redis-1-"),
        ("ü", "ö", "package-"),
    ];
    for (name, version, expected) in cases {
        let made = created(&plan(&[upload(name, version, 1)], &[], &registry())).remove(0);
        let hashed = expected.ends_with('-');
        assert!(made.starts_with(expected) && made.len() == expected.len() + usize::from(hashed) * 8, "{made}");
    }
    let mut other = standing(&upload("redis", "5.0.0", 1)).as_ref().clone();
    other.spec.registry_ref.name = "second".into();
    let made = created(&plan(&[upload("redis", "5.0.0", 1)], &[Arc::new(other)], &registry()));
    assert!(made[0].starts_with("redis-5.0.0-") && made[0].len() == "redis-5.0.0-".len() + 8, "{made:?}");
}

#[test]
fn names_that_fold_to_the_same_stay_apart_and_long_ones_are_cut() {
    let made = created(&plan(&[upload("a", "1_0", 1), upload("a", "1+0", 2)], &[], &registry()));
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), 2);
    let long = "x".repeat(300);
    let made = created(&plan(&[upload(&long, "1", 1)], &[], &registry()));
    assert_eq!(made[0].len(), LONGEST_NAME);
}
