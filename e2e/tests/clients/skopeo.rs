//! skopeo, as Debian has it.

use std::process::Command;

use crate::site::{NAME, Site, fails, on_both, run};

fn skopeo(arguments: &[&str]) -> Command {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(arguments);
    command
}

fn from(site: &Site) -> String {
    site.flag("--src-tls-verify=false", "--src-cert-dir=").to_owned() + &certificates(site)
}

fn to(site: &Site) -> String {
    site.flag("--dest-tls-verify=false", "--dest-cert-dir=").to_owned() + &certificates(site)
}

fn at(site: &Site) -> String {
    site.flag("--tls-verify=false", "--cert-dir=").to_owned() + &certificates(site)
}

fn certificates(site: &Site) -> String {
    site.flag("", &site.server.certificates().display().to_string()).to_owned()
}

#[test]
fn skopeo_pushes_pulls_lists_and_deletes() {
    on_both(|site| {
        let (layout, digest) = site.layout();
        let image = format!("docker://{}", site.reference("skopeo/greeting:1"));
        // Else it compresses the layer, and the manifest is another one.
        run(&mut skopeo(&["copy", "--preserve-digests", &to(site), &format!("oci:{layout}:{NAME}"), &image]));
        let inspected = run(&mut skopeo(&["inspect", &at(site), &image]));
        assert!(inspected.contains(&digest), "{inspected}");
        let copy = format!("docker://{}", site.reference("skopeo/copy:2"));
        run(&mut skopeo(&["copy", "--preserve-digests", &from(site), &to(site), &image, &copy]));
        let pulled = format!("oci:{}:x", site.text("pulled"));
        run(&mut skopeo(&["copy", "--preserve-digests", &from(site), &copy, &pulled]));
        let index = std::fs::read_to_string(site.path("pulled/index.json")).unwrap();
        assert!(index.contains(&digest), "{index}");
        let tags = run(&mut skopeo(&["list-tags", &at(site), &image.replace(":1", "")]));
        assert!(tags.contains("\"1\""), "{tags}");
        run(&mut skopeo(&["delete", &at(site), &copy]));
        let error = fails(&mut skopeo(&["inspect", &at(site), &copy]));
        assert!(error.contains("manifest unknown") || error.contains("there is no manifest"), "{error}");
    });
}

#[test]
fn skopeo_pushes_what_docker_saved_as_docker_images() {
    on_both(|site| {
        let image = format!("docker://{}", site.reference("skopeo/docker:1"));
        run(&mut skopeo(&["copy", "--format=v2s2", &to(site), &format!("docker-archive:{}", site.archive()), &image]));
        let manifest = run(&mut skopeo(&["inspect", "--raw", &at(site), &image]));
        assert!(manifest.contains("application/vnd.docker.distribution.manifest.v2+json"), "{manifest}");
    });
}
