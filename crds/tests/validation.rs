//! The CEL rules of both kinds, run as the API server runs them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

use crds::{Package, PackageRegistry, PackageSource, UploadSource};

fn registry(spec: &str) -> PackageRegistry {
    named("dcos-registry", spec)
}

fn named(name: &str, spec: &str) -> PackageRegistry {
    let text = format!(
        "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: {name}, namespace: apps}}\nspec: {spec}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn package(registry: &str) -> Package {
    let text = format!(
        "apiVersion: registry.dcos.io/v1alpha1\nkind: Package\nmetadata: {{name: p, namespace: apps}}\n\
         spec: {{registryRef: {{name: {registry}}}, source: {{url: {{url: 'https://a.test/p.dcos'}}}}}}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn refusal<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    format!("{:?}", result.expect_err("the rule must refuse this"))
}

#[test]
fn an_empty_spec_is_a_local_registry_with_all_defaults() {
    let registry = registry("{}");
    registry.validate_cel().unwrap();
    assert_eq!(registry.spec.instances, 1);
    assert_eq!(registry.spec.storage.local.unwrap().size.0, "10Gi");
    assert!(registry.spec.node_trust.enabled);
    assert!(registry.spec.packages.sources.require_digest);
}

#[test]
fn a_name_over_forty_characters_is_refused() {
    assert!(refusal(named(&"a".repeat(41), "{}").validate_cel()).contains("at most 40"));
}

#[test]
fn a_name_with_a_dot_is_refused_since_it_becomes_a_host_name() {
    assert!(refusal(named("docker.io", "{}").validate_cel()).contains("metadata.name"));
}

#[test]
fn storage_without_a_kind_is_refused() {
    assert!(refusal(registry("{storage: {}}").validate_cel()).contains("exactly one storage"));
}

#[test]
fn a_storage_class_can_not_be_changed_added_or_dropped() {
    let with = |class: &str| registry(&format!("{{storage: {{local: {{size: 1Gi, storageClassName: {class}}}}}}}"));
    let without = registry("{storage: {local: {size: 1Gi}}}");
    with("fast").validate_cel_update(&with("fast")).unwrap();
    for (new, old) in [(with("slow"), with("fast")), (with("fast"), without.clone()), (without, with("fast"))] {
        assert!(refusal(new.validate_cel_update(&old)).contains("immutable"));
    }
}

#[test]
fn a_leaf_that_outlives_its_authority_is_refused() {
    let text = "{tls: {selfManaged: {caDuration: 2h, duration: 3h}}}";
    assert!(refusal(registry(text).validate_cel()).contains("caDuration"));
}

#[test]
fn a_package_can_not_move_to_another_registry() {
    package("a").validate_cel_update(&package("a")).unwrap();
    assert!(refusal(package("b").validate_cel_update(&package("a"))).contains("immutable"));
}

#[test]
fn a_package_without_a_source_is_refused() {
    let mut package = package("a");
    package.spec.source.url = None;
    assert!(refusal(package.validate_cel()).contains("exactly one source"));
}

const S3: &str = "{instances: 3, storage: {s3: {bucket: packages}}}";

#[test]
fn several_instances_need_a_storage_that_they_can_share() {
    registry(S3).validate_cel().unwrap();
    assert!(refusal(registry("{instances: 2}").validate_cel()).contains("needs spec.storage.s3"));
}

#[test]
fn two_storages_at_once_are_refused() {
    let both = "{storage: {local: {size: 1Gi}, s3: {bucket: packages}}}";
    assert!(refusal(registry(both).validate_cel()).contains("exactly one storage"));
}

#[test]
fn the_kind_of_storage_can_not_be_changed() {
    let (local, s3) = (registry("{}"), registry("{storage: {s3: {bucket: packages}}}"));
    s3.validate_cel_update(&s3).unwrap();
    assert!(refusal(s3.validate_cel_update(&local)).contains("kind of storage is immutable"));
    assert!(refusal(local.validate_cel_update(&s3)).contains("kind of storage is immutable"));
}

#[test]
fn a_bucket_and_the_path_in_it_can_not_be_changed() {
    let at = |place: &str| registry(&format!("{{storage: {{s3: {{{place}}}}}}}"));
    let cases = [
        ("bucket: one", "bucket: two", "bucket is immutable"),
        ("bucket: one", "bucket: one, path: a", "path is immutable"),
        ("bucket: one, path: a", "bucket: one, path: b", "path is immutable"),
    ];
    for (old, new, words) in cases {
        assert!(refusal(at(new).validate_cel_update(&at(old))).contains(words), "{old} to {new}");
    }
    let moved = at("bucket: one, endpoint: 'https://new.example', profile: other");
    moved.validate_cel_update(&at("bucket: one, endpoint: 'https://old.example'")).unwrap();
}

#[test]
fn a_collection_has_no_interval_below_a_minute_and_no_negative_grace_period() {
    registry("{garbageCollection: {interval: 1h30m, gracePeriod: 0s}}").validate_cel().unwrap();
    let short = "{garbageCollection: {interval: 10s}}";
    assert!(refusal(registry(short).validate_cel()).contains("interval must be at least 1m"));
    let negative = "{garbageCollection: {gracePeriod: -1h}}";
    assert!(refusal(registry(negative).validate_cel()).contains("gracePeriod must not be negative"));
}

fn upload() -> Package {
    let mut package = package("a");
    package.spec.source =
        PackageSource { url: None, upload: Some(UploadSource { digest: format!("sha256:{}", "0".repeat(64)) }) };
    package
}

#[test]
fn a_package_with_two_sources_is_refused() {
    upload().validate_cel().unwrap();
    let mut both = upload();
    both.spec.source.url = package("a").spec.source.url;
    assert!(refusal(both.validate_cel()).contains("exactly one source"));
}

#[test]
fn an_upload_stays_an_upload() {
    upload().validate_cel_update(&upload()).unwrap();
    assert!(refusal(package("a").validate_cel_update(&upload())).contains("can't become another kind of source"));
    assert!(refusal(upload().validate_cel_update(&package("a"))).contains("can't become another kind of source"));
}

fn on_volume(volume: &str) -> PackageRegistry {
    registry(&format!("{{storage: {{volume: {{{volume}}}}}}}"))
}

#[test]
fn a_volume_is_either_a_claim_or_a_folder_with_its_node() {
    for right in ["claimName: packages", "hostPath: /srv/packages, nodeName: n1"] {
        on_volume(right).validate_cel().unwrap();
    }
    for (wrong, word) in [
        ("", "exactly one volume"),
        ("claimName: packages, hostPath: /srv/packages, nodeName: n1", "exactly one volume"),
        ("hostPath: /srv/packages", "belong together"),
        ("claimName: packages, nodeName: n1", "belong together"),
    ] {
        let said = refusal(on_volume(wrong).validate_cel());
        assert!(said.contains(word), "{wrong}: {said}");
    }
    assert!(
        refusal(registry("{storage: {volume: {claimName: a}, local: {}}}").validate_cel())
            .contains("exactly one storage")
    );
    assert!(
        refusal(registry("{instances: 2, storage: {volume: {claimName: a}}}").validate_cel())
            .contains("needs spec.storage.s3")
    );
}

#[test]
fn a_folder_that_the_node_needs_itself_is_refused() {
    let at = |path: &str| on_volume(&format!("hostPath: {path}, nodeName: n1")).validate_cel();
    for right in ["/srv/packages", "/var/lib/package-registry", "/dcos/volume0", "/data", "/mnt/a", "/library", "/etcd"]
    {
        at(right).unwrap();
    }
    for wrong in
        ["/etc", "/etc/kubernetes", "/usr/share/a", "/var", "/var/lib", "/var/lib/kubelet/pods", "/mnt", "/run/a"]
    {
        assert!(refusal(at(wrong)).contains("for this registry alone"), "{wrong}");
    }
}

#[test]
fn a_place_in_the_container_that_hides_what_it_needs_is_refused() {
    let at = |path: &str| on_volume(&format!("claimName: a, containerPath: {path}")).validate_cel();
    for right in ["package-registry", "/var/lib/packages", "/srv", "/data/etc", "etc"] {
        at(right).unwrap();
    }
    for wrong in
        ["/etc", "/etc/package-registry/tls", "/tmp", "/var", "/var/run/secrets", "/package-registry-server", "/proc/1"]
    {
        assert!(refusal(at(wrong)).contains("would hide"), "{wrong}");
    }
}

#[test]
fn a_volume_can_not_be_changed_but_for_its_place_in_the_container() {
    let folder = on_volume("hostPath: /srv/a, nodeName: n1");
    on_volume("hostPath: /srv/a, nodeName: n1, containerPath: packages").validate_cel_update(&folder).unwrap();
    let claim = on_volume("claimName: a");
    for (new, old, word) in [
        (on_volume("claimName: b"), &claim, "claimName is immutable"),
        (on_volume("hostPath: /srv/b, nodeName: n1"), &folder, "hostPath is immutable"),
        (on_volume("hostPath: /srv/a, nodeName: n2"), &folder, "nodeName is immutable"),
        (claim.clone(), &folder, "immutable"),
        (registry("{}"), &claim, "kind of storage is immutable"),
        (registry("{storage: {s3: {bucket: packages}}}"), &claim, "kind of storage is immutable"),
    ] {
        let said = refusal(new.validate_cel_update(old));
        assert!(said.contains(word), "{said}");
    }
}
