//! Several registries in one cluster, and what one of them may not do.

use e2e::walk;

use crate::site::Place;

#[test]
fn two_registries_of_two_namespaces_are_both_trusted() {
    let first = Place::new("first");
    let second = Place::new("second");
    first.registry("");
    second.registry("");
    first.hello();
    second.hello();
    let nodes = first.cluster().nodes().unwrap();
    for place in [&first, &second] {
        place.package_has("hello", "Ready", "True");
        place.registry_has("NodesTrusted", "True");
        let image = format!("dcos-registry.{}.svc/docker.io/example/hello:1.0", place.namespace);
        for (number, node) in nodes.iter().enumerate() {
            let name = format!("hello-{number}");
            assert!(place.pod_answers(&name, node, &image).contains(&name));
        }
    }
    first.leave();
    second.leave();
}

#[test]
fn a_mirror_in_a_namespace_without_the_privilege_is_not_allowed_and_the_registrys_own_host_is_trusted_all_the_same() {
    let place = Place::new("unprivileged");
    place.registry("nodeTrust: {mirrors: [docker.io]}");
    place.hello();
    let registry = place.reason("packageregistry", "dcos-registry", "NodesTrusted", "NotAllowed");
    let (status, _, message) = registry.condition("NodesTrusted").unwrap();
    assert_eq!(status, "False", "{message}");
    assert!(message.contains("docker.io") && message.contains("--privileged-namespaces"), "{message}");
    place.package_has("hello", "Ready", "True");
    let nodes = place.cluster().nodes().unwrap();
    let image = "dcos-registry.unprivileged.svc/docker.io/example/hello:1.0";
    for (number, node) in nodes.iter().enumerate() {
        let name = format!("hello-{number}");
        assert!(place.pod_answers(&name, node, image).contains(&name));
        if let Some(hosts) = place.trusted_hosts(node) {
            assert!(!hosts.contains(&"docker.io".to_owned()), "{hosts:?}");
        }
    }
    place.leave();
}

#[test]
fn two_objects_for_one_package_leave_it_to_the_older_one_until_that_is_deleted() {
    let place = Place::new("declared-twice");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    place.package("again", &place.site.files.address("files/hello-1.0.dcos"), &place.site.bundle.sha256);
    let again = place.reason("package", "again", "Published", "AlreadyDeclared");
    assert!(again.has("Ready", "False"), "{}", again.summary());
    walk::delete(place.cluster(), "package", &place.namespace, "hello").unwrap();
    place.package_has("again", "Ready", "True");
    assert_eq!(place.catalogue(), ["hello"]);
    place.leave();
}
