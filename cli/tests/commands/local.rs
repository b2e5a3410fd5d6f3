//! `build --use-local`: images of an engine on this machine.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use crate::build::{layout, tarred};
use crate::program::{Ran, cache, finish, program, read_bundle};

const IMAGE: &str = "docker.io/acme/web:1";

fn define(folder: &Path, image: &str) {
    let definition = json!({"packagingVersion": "4.0", "name": "sample", "version": "1", "maintainer": "", "description": "",
        "tags": [], "resource": {"assets": {"container": {"docker": {"main": image}}}}});
    fs::write(folder.join("definition.json"), definition.to_string()).unwrap();
}

fn built(folder: &Path, docker: &str, containerd: &str) -> Ran {
    let arguments = ["registry", "build", "--build-definition-file=definition.json", "--use-local"];
    let mut command = program(folder, &arguments);
    finish(command.env("DOCKER_HOST", docker).env("CONTAINERD_ADDRESS", containerd))
}

/// An engine that has one image and gives an archive of it, as docker does on its socket.
fn engine(socket: &Path, archive: Vec<u8>) {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let answer = async move |RawQuery(query): RawQuery, request: Request| match request.uri().path() {
        path if path == format!("/images/{IMAGE}/json") => "{}".into_response(),
        "/images/get" => {
            assert_eq!(query.unwrap(), "names=docker.io%2Facme%2Fweb%3A1");
            archive.clone().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    };
    let app = Router::new().fallback(answer);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::UnixListener::from_std(listener).unwrap(), app).await.unwrap();
        });
    });
}

/// A folder outside of the one that is looked at.
fn beside(folder: &Path) -> PathBuf {
    let beside = cache(folder);
    fs::create_dir_all(&beside).unwrap();
    beside
}

#[test]
fn images_are_taken_from_the_docker_engine_that_listens_on_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let digest = layout(&beside(folder.path()).join("layout"), IMAGE);
    let archive = beside(folder.path()).join("layout.tar");
    tarred(&beside(folder.path()).join("layout"), archive.to_str().unwrap());
    let socket = place.path().join("docker.sock");
    engine(&socket, fs::read(archive).unwrap());
    let docker = format!("unix://{}", socket.display());
    define(folder.path(), "acme/web:1");
    let ran = built(folder.path(), &docker, "/nowhere");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(read_bundle(&folder.path().join("sample-1.dcos")).images[0].target.digest, digest);
    define(folder.path(), "acme/other:1");
    let ran = built(folder.path(), &docker, "/nowhere");
    assert!(ran.code == 1 && ran.err.contains("image acme/other:1 is not in the docker engine"), "{}", ran.err);
    let ran = built(folder.path(), "unix:///nowhere", "/nowhere/either");
    assert!(ran.code == 1 && ran.err.contains("/nowhere/either"), "{}", ran.err);
    let ran = built(folder.path(), "tcp://1.2.3.4:5", "/nowhere");
    assert!(ran.code == 1 && ran.err.contains("DOCKER_HOST") && ran.err.contains("unix://"), "{}", ran.err);
}

/// A containerd of this test's own; it ends with it.
struct Containerd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Containerd {
    /// `None` where it can't be run.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n",
            path("root"),
            path("state"),
            path("containerd.sock"),
        );
        fs::write(&config, text).unwrap();
        let started = Command::new("containerd").arg("--config").arg(&config).stderr(Stdio::null()).spawn();
        let Ok(child) = started else {
            eprintln!("skipped: no containerd");
            return None;
        };
        let mut containerd = Self { child, folder };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if containerd.child.try_wait().unwrap().is_some() {
                break;
            }
            if containerd.ctr(&["version"]) {
                return Some(containerd);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("skipped: containerd does not start here (it needs root), or has no ctr");
        None
    }

    fn address(&self) -> String {
        self.folder.path().join("containerd.sock").display().to_string()
    }

    fn ctr(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("ctr");
        command.args(["--address", &self.address(), "--namespace", "k8s.io"]).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn images_are_taken_from_containerd_where_docker_is_not_there() {
    let Some(containerd) = Containerd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let digest = layout(&beside(folder.path()).join("layout"), IMAGE);
    let archive = beside(folder.path()).join("layout.tar");
    tarred(&beside(folder.path()).join("layout"), archive.to_str().unwrap());
    assert!(containerd.ctr(&["images", "import", "--no-unpack", archive.to_str().unwrap()]));
    define(folder.path(), "acme/web:1");
    let ran = built(folder.path(), "unix:///nowhere", &containerd.address());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(read_bundle(&folder.path().join("sample-1.dcos")).images[0].target.digest, digest);
    define(folder.path(), "acme/other:1");
    let ran = built(folder.path(), "unix:///nowhere", &containerd.address());
    assert!(ran.code == 1 && ran.err.contains("image acme/other:1 is not in containerd"), "{}", ran.err);
}
