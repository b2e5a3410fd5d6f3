//! The file server in the cluster that bundles are fetched from.

use std::{path::Path, process::Command};

use snafu::{ResultExt as _, Whatever, whatever};

use super::{apply, deliver, images::Delivery, manifest, out, root};
use crate::{
    cluster::Cluster,
    image::{Entry, Image},
};

/// Address of the server inside the cluster, as `packages.sources.allowedHosts` names it.
const HOST: &str = "files.site.svc:8080";

/// The running file server.
#[derive(Clone, Debug)]
pub struct Files {
    cluster: Cluster,
}

impl Files {
    /// Builds the server's image, brings it to the nodes and waits until the server is ready.
    ///
    /// # Errors
    /// When a build or kubectl fails.
    pub fn start(cluster: &Cluster, delivery: &Delivery) -> Result<Self, Whatever> {
        let archive = out().join("files-image.tar");
        std::fs::create_dir_all(out()).whatever_context("cannot make the output folder")?;
        let reference = "docker.io/library/package-registry-files:demo";
        image(reference, &program()?).write_docker_archive(&archive).whatever_context("cannot write the image")?;
        let reference = deliver(delivery, &archive, "files", reference)?;
        apply(cluster, &manifest("files.yaml", &[("FILES_IMAGE", &reference)])?)?;
        cluster
            .kubectl(&["rollout", "status", "deployment/files", "-n", "site", "--timeout=60s"])
            .whatever_context("the file server doesn't come up")?;
        Ok(Self { cluster: cluster.clone() })
    }

    /// Puts a file there; its address comes back.
    ///
    /// # Errors
    /// What the server or kubectl says.
    pub fn put(&self, name: &str, file: &Path) -> Result<String, Whatever> {
        let address = format!("/api/v1/namespaces/site/services/files:http/proxy/files/{name}");
        let file = file.display().to_string();
        self.cluster
            .kubectl(&["replace", "--raw", &address, "-f", &file])
            .whatever_context(format!("cannot put {name} on the file server"))?;
        Ok(self.address(&format!("files/{name}")))
    }

    /// Address of a path on the server, as pods see it.
    #[must_use]
    pub fn address(&self, path: &str) -> String {
        format!("http://{HOST}/{path}")
    }
}

/// Builds `files` as a static program, with what the operator's image was built with.
fn program() -> Result<std::path::PathBuf, Whatever> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--package", "files", "--target", &target]);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(root());
    if !cargo.status().whatever_context("cannot start cargo")?.success() {
        whatever!("cargo build -p files failed");
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Ok(folder.join(target).join("release/files"))
}

fn image(reference: &str, program: &Path) -> Image {
    Image {
        reference: reference.to_owned(),
        entries: vec![Entry::program("files", program)],
        entrypoint: vec!["/files".to_owned()],
        user: "65532:65532".to_owned(),
        env: Vec::new(),
    }
}
