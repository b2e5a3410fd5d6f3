//! The command line against a registry that this machine reaches through the API server alone.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use e2e::program;
use serde_json::Value;

use crate::site::Place;

/// Calls `dcos-registry registry …` for the place's registry, with a kubeconfig and nothing else.
fn call(place: &Place, cli: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(cli);
    command.arg("registry").args(arguments).env_remove("KUBECONFIG");
    command.arg("--kubeconfig").arg(place.cluster().kubeconfig()).args(["--namespace", &place.namespace]);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(place: &Place, cli: &Path, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = call(place, cli, arguments);
    let (out, err) = (text(&stdout), text(&stderr));
    assert!(status.success(), "{arguments:?}: {out}{err}");
    (out, err)
}

/// While it lives, this machine has no way to the registry's Service; its nodes have their own.
struct Unreachable(String);

impl Unreachable {
    fn new(place: &Place) -> Self {
        let service = place.get("service", "dcos-registry").unwrap();
        let this = Self(format!("{}/32", service.text("/spec/clusterIP")));
        assert!(this.route("add"), "no route could be set for {}", this.0);
        this
    }

    fn route(&self, verb: &str) -> bool {
        Command::new("ip").args(["route", verb, "unreachable", &self.0]).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Unreachable {
    fn drop(&mut self) {
        self.route("del");
    }
}

#[test]
fn a_package_is_brought_run_taken_back_and_removed_with_a_kubeconfig_alone() {
    let place = Place::new("commandline");
    let cli = program::build("dcos-registry").unwrap();
    let file = format!("--dcos-file={}", place.site.bundle.path.display());
    let activate = call(&place, &cli, &["activate", "--timeout=90"]);
    assert!(activate.status.success(), "{}", text(&activate.stderr));
    assert!(text(&activate.stdout).contains("Package registry dcos-registry is ready."));
    let unreachable = place.cluster().is_ours().then(|| Unreachable::new(&place));
    let (added, said) = succeed(&place, &cli, &["add", &file, "--wait", "--json", "-v"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    assert_eq!((&added["packages"][0]["name"], &added["packages"][0]["status"]), (&"hello".into(), &"Added".into()));
    if unreachable.is_some() {
        assert!(said.contains("is reached through the API server"), "{said}");
    }
    let package = ["--package-name=hello", "--package-version=1.0"];
    let (described, _) = succeed(&place, &cli, &["describe", package[0], package[1], "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&described).unwrap()["status"], "Added");
    let node = place.cluster().nodes().unwrap().remove(0);
    let image = format!("dcos-registry.{}.svc/docker.io/example/hello:1.0", place.namespace);
    place.pod_answers("hello", &node, &image);
    let folder = tempfile::tempdir().unwrap();
    let output = format!("--output-directory={}", folder.path().display());
    succeed(&place, &cli, &["export", package[0], package[1], &output]);
    let exported = fs::read(folder.path().join("hello-1.0.dcos")).unwrap();
    assert!(exported == fs::read(&place.site.bundle.path).unwrap(), "byte for byte what was built");
    let (status, _) = succeed(&place, &cli, &["status"]);
    assert!(status.contains("NodesTrusted") && status.contains("Catalogue:"), "{status}");
    let (log, _) = succeed(&place, &cli, &["logs", "--tail=50"]);
    assert!(!log.is_empty());
    // The pod uses its image.
    succeed(&place, &cli, &["remove", package[0], package[1], "--force"]);
    let gone = call(&place, &cli, &["describe", package[0], package[1]]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("Version [1.0] of package [hello] not found"), "{}", text(&gone.stderr));
    place.leave();
}
