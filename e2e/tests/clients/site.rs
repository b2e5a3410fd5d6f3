//! A server, an image to push, and commands against both.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use e2e::clients::{Server, Tools, Transport, ensure};
use e2e::image::{Entry, Image};
use e2e::program;
use serde_json::{Value, json};
use tempfile::TempDir;

static TOOLS: LazyLock<Tools> = LazyLock::new(|| ensure().unwrap());

/// The name that the image has in its archive.
pub const NAME: &str = "docker.io/library/greeting:1";

/// What a client's test works with.
pub struct Site {
    pub tools: &'static Tools,
    pub server: Server,
    folder: TempDir,
}

/// Runs a test against a server without TLS, then against one with it.
pub fn on_both(test: impl Fn(&Site)) {
    for transport in [Transport::Plain, Transport::Tls] {
        test(&Site::start(transport));
    }
}

impl Site {
    /// An empty server and an empty folder.
    pub fn start(transport: Transport) -> Self {
        Self { tools: &TOOLS, server: Server::start(transport).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    /// Makes a package with the image out of what an engine has, which `environment` names, and adds it to the server; the
    /// name that the image has there.
    pub fn add_from_engine(&self, environment: (&str, &str)) -> String {
        let dcos_registry = program::build("dcos-registry").unwrap();
        let registry = |arguments: &[&str]| {
            let mut command = Command::new(&dcos_registry);
            command.arg("registry").args(arguments).arg("--json").env("XDG_CACHE_HOME", self.path("cache"));
            // The other engine must not be found by chance.
            command.env("DOCKER_HOST", "unix:///nonexistent").env("CONTAINERD_ADDRESS", "/nonexistent");
            let out = run(command.env(environment.0, environment.1));
            serde_json::from_str::<Value>(&out).unwrap()
        };
        let made = |answer: &Value| answer["name"].as_str().unwrap().to_owned();
        fs::create_dir(self.path("package")).unwrap();
        let package = json!({"packagingVersion": "4.0", "name": "greeting", "version": "1", "maintainer": "a@example.com",
            "description": "Greets.", "tags": [], "minDcosReleaseVersion": "1.10"});
        let resource = json!({"assets": {"container": {"docker": {"greeting": NAME}}}});
        fs::write(self.path("package/package.json"), package.to_string()).unwrap();
        fs::write(self.path("package/resource.json"), resource.to_string()).unwrap();
        let output = format!("--output-directory={}", self.text("."));
        let definition =
            made(&registry(&["migrate", &format!("--package-directory={}", self.text("package")), &output]));
        let built = registry(&["build", &format!("--build-definition-file={definition}"), &output, "--use-local"]);
        let bundle = format!("--dcos-file={}", made(&built));
        let url = format!("--url={}://{}", self.flag("http", "https"), self.server.host());
        let authority = format!("--ca-file={}", self.authority());
        let trust = (self.server.transport() == Transport::Tls).then_some(authority.as_str());
        let add = ["add", "--wait", &bundle, &url].into_iter().chain(trust);
        assert_eq!(registry(&add.collect::<Vec<_>>())["packages"][0]["status"], "Added");
        self.reference(NAME)
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A name in the registry.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.server.host())
    }

    /// One of two flags, as the server talks.
    pub fn flag<'a>(&self, plain: &'a str, tls: &'a str) -> &'a str {
        match self.server.transport() {
            Transport::Plain => plain,
            Transport::Tls => tls,
        }
    }

    /// The file with the authority's certificate.
    pub fn authority(&self) -> String {
        self.server.certificates().join("ca.crt").display().to_string()
    }

    /// An archive as `docker save` writes it, with one image.
    pub fn archive(&self) -> String {
        image().write_docker_archive(&self.path("image.tar")).unwrap();
        self.text("image.tar")
    }

    /// An OCI layout with one image; its digest beside it.
    pub fn layout(&self) -> (String, String) {
        let digest = image().write_oci_layout(&self.path("layout")).unwrap();
        (self.text("layout"), digest)
    }
}

/// An image with a small and a larger file.
fn image() -> Image {
    let mut large = vec![0; 3 << 20];
    large.iter_mut().enumerate().for_each(|(index, byte)| *byte = (index / 97).to_le_bytes()[0]);
    Image {
        reference: NAME.to_owned(),
        entries: vec![Entry::bytes("greeting", "hello\n"), Entry::bytes("large", large)],
        entrypoint: vec!["/greeting".to_owned()],
        ..Image::default()
    }
}

/// Runs a command that must succeed and returns what it wrote.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {error}{out}");
    out.into_owned()
}

/// Runs a command that must fail and returns what it said.
pub fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(!output.status.success(), "{command:?} did not fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
