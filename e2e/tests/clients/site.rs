//! A server, an image to push, and commands against both.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use e2e::clients::{Server, Tools, Transport, ensure};
use e2e::image::{Entry, Image};
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
        let tools = &*TOOLS;
        let site = Site { tools, server: Server::start(transport).unwrap(), folder: tempfile::tempdir().unwrap() };
        test(&site);
    }
}

impl Site {
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
