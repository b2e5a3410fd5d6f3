//! Several registries in one cluster, and what one of them may not do.

use std::{fs, path::PathBuf};

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
    let somebodys = Somebodys::on_every_node(&place);
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
    }
    somebodys.check();
    place.leave();
}

#[test]
fn a_trust_folder_of_somebody_elses_is_refused_and_left_as_it_is() {
    let place = Place::new("foreign");
    if !place.cluster().is_ours() {
        println!("skipped: the nodes' files of another cluster can't be reached");
        return place.leave();
    }
    let somebodys = Somebodys::on_every_node(&place);
    place.registry("nodeTrust: {mirrors: [docker.io]}");
    let registry = place.reason("packageregistry", "dcos-registry", "NodesTrusted", "NameTaken");
    let (status, _, message) = registry.condition("NodesTrusted").unwrap();
    assert!(status == "False" && message.contains("docker.io"), "{message}");
    somebodys.check();
    drop(somebodys);
    place.registry_has("NodesTrusted", "True");
    place.leave();
}

/// A `docker.io` folder that an administrator made on every node of the project's own cluster; removed at the end.
struct Somebodys(Vec<PathBuf>);

const SOMEBODYS: &str = "server = \"https://mirror.example.com\"\n";

impl Somebodys {
    fn on_every_node(place: &Place) -> Self {
        let mut folders = Vec::new();
        if place.cluster().is_ours() {
            for node in place.cluster().nodes().unwrap() {
                let folder = place.cluster().node_root_path(&node, "/etc/containerd/certs.d/docker.io").unwrap();
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("hosts.toml"), SOMEBODYS).unwrap();
                folders.push(folder);
            }
        }
        Self(folders)
    }

    fn check(&self) {
        for folder in &self.0 {
            assert_eq!(fs::read_to_string(folder.join("hosts.toml")).unwrap(), SOMEBODYS);
            assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "nothing was put beside it");
        }
    }
}

impl Drop for Somebodys {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir_all(folder);
        }
    }
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
