//! Programs that are built from Go modules (one from C, one unpacked from Debian), once per machine and version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use snafu::ResultExt;

use super::{
    command::{create_folder, run, write},
    error::{FileSnafu, JsonSnafu, Result},
    paths,
    progress::Progress,
    versions::{
        CONFORMANCE, COREDNS, COSIGN, CRANE, DISTRIBUTION, DOCKER, HELM, KUBERNETES, LOCAL_PATH_PROVISIONER, MINIO,
        ORAS, PAUSE, VERSITYGW,
    },
};

/// Where clients of a registry are.
#[derive(Clone, Debug)]
pub struct Clients {
    /// crane.
    pub crane: PathBuf,
    /// ORAS.
    pub oras: PathBuf,
    /// Helm.
    pub helm: PathBuf,
    /// Folder of docker and its daemon.
    pub docker: PathBuf,
    /// The specification's own tests.
    pub conformance: PathBuf,
}

const KUBERNETES_BINARIES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Builds what the cache does not hold yet.
pub(crate) fn ensure_all(progress: &Progress) -> Result<()> {
    ensure_kubernetes(progress)?;
    ensure(progress, "coredns", COREDNS, "about 2 minutes", build_coredns)?;
    ensure(progress, "local-path-provisioner", LOCAL_PATH_PROVISIONER, "about a minute", build_local_path_provisioner)?;
    ensure(progress, "pause", PAUSE, "a second", build_pause)
}

/// Builds Kubernetes' own programs unless the cache holds them.
pub(crate) fn ensure_kubernetes(progress: &Progress) -> Result<()> {
    ensure(progress, "kubernetes", KUBERNETES, "about 5 minutes", build_kubernetes)
}

/// Builds `MinIO` unless the cache holds it. Not part of the cluster, so only tests that need it pay.
pub(crate) fn ensure_minio(progress: &Progress) -> Result<PathBuf> {
    ensure_module(progress, "minio", MINIO, "about 4 minutes", "github.com/minio/minio")
}

/// Builds the S3 server versitygw unless the cache holds it, and says where its program is.
pub(crate) fn ensure_versitygw(progress: &Progress) -> Result<PathBuf> {
    ensure_module(progress, "versitygw", VERSITYGW, "about 3 minutes", "github.com/versity/versitygw/cmd/versitygw")
}

/// Builds CNCF Distribution unless the cache holds it, and says where its program is.
pub(crate) fn ensure_distribution(progress: &Progress) -> Result<PathBuf> {
    ensure(progress, "distribution", DISTRIBUTION, "about a minute", |source, output| {
        install(source, output, "github.com/distribution/distribution/v3/cmd/registry", DISTRIBUTION)
    })?;
    Ok(paths::binaries("distribution", DISTRIBUTION).join("registry"))
}

/// Builds cosign unless the cache holds it, and says where its program is.
pub(crate) fn ensure_cosign(progress: &Progress) -> Result<PathBuf> {
    ensure_module(progress, "cosign", COSIGN, "about 5 minutes", "github.com/sigstore/cosign/v3/cmd/cosign")
}

/// Builds clients of a registry unless the cache holds them.
pub(crate) fn ensure_clients(progress: &Progress) -> Result<Clients> {
    let built = |name, version, cost, package| ensure_module(progress, name, version, cost, package);
    let conformance = "github.com/opencontainers/distribution-spec/conformance";
    let clients = Clients {
        crane: built("crane", CRANE, "about a minute", "github.com/google/go-containerregistry/cmd/crane")?,
        oras: built("oras", ORAS, "about a minute", "oras.land/oras/cmd/oras")?,
        helm: built("helm", HELM, "about 3 minutes", "helm.sh/helm/v4/cmd/helm")?,
        conformance: built("conformance", CONFORMANCE, "some seconds", conformance)?,
        docker: paths::binaries("docker", DOCKER),
    };
    ensure(progress, "docker", DOCKER, "some seconds", unpack_docker)?;
    Ok(clients)
}

/// Builds a program that its module lets be built as it is, unless the cache holds it, and says where it is.
fn ensure_module(progress: &Progress, name: &str, version: &str, cost: &str, package: &str) -> Result<PathBuf> {
    ensure(progress, name, version, cost, |source, output| install(source, output, package, version))?;
    Ok(paths::binaries(name, version).join(name))
}

/// Installed, docker would start its daemon, which changes the machine's packet filter.
fn unpack_docker(source: &Path, output: &Path) -> Result<()> {
    run(Command::new("apt-get").args(["download", "-q", "docker.io"]).current_dir(source))?;
    run(Command::new("sh").args(["-c", "dpkg-deb --extract docker.io_*.deb out"]).current_dir(source))?;
    for program in ["bin/docker", "sbin/dockerd"] {
        let path = source.join("out/usr").join(program);
        run(Command::new("mv").arg(path).arg(output))?;
    }
    Ok(())
}

/// Builds in a temporary folder and moves the result to its place whole, so that a build that was cut short leaves nothing.
fn ensure(
    progress: &Progress,
    name: &str,
    version: &str,
    cost: &str,
    build: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<()> {
    let target = paths::binaries(name, version);
    if target.exists() {
        return Ok(());
    }
    progress.say(&format!("building {name} {version}, once for this machine ({cost})"));
    let folder = paths::cache().join("build");
    // What builds left that were cut short; only one process builds at a time.
    if folder.exists() {
        fs::remove_dir_all(&folder).context(FileSnafu { act: "remove", path: &folder })?;
    }
    create_folder(&folder)?;
    let scratch = tempfile::tempdir_in(&folder).context(FileSnafu { act: "create", path: &folder })?;
    let (source, output) = (scratch.path().join("source"), scratch.path().join("output"));
    create_folder(&source)?;
    create_folder(&output)?;
    build(&source, &output)?;
    if let Some(parent) = target.parent() {
        create_folder(parent)?;
    }
    fs::rename(&output, &target).context(FileSnafu { act: "create", path: target })
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env("CGO_ENABLED", "0");
    command
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "Dir")]
    folder: PathBuf,
}

/// Downloads a module and returns the folder of its source.
fn download(module: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let answer = run(go(folder).args(["mod", "download", "-json", &format!("{module}@{version}")]))?;
    let module: Module = serde_json::from_str(&answer).context(JsonSnafu { what: "the answer of go mod download" })?;
    Ok(module.folder)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).context(FileSnafu { act: "read", path })
}

/// `k8s.io/kubernetes` cannot be installed as it is, since its go.mod points to folders of its own repository.
fn build_kubernetes(source: &Path, output: &Path) -> Result<()> {
    let upstream = download("k8s.io/kubernetes", KUBERNETES, source)?;
    write(&source.join("go.mod"), kubernetes_go_mod(&read(&upstream.join("go.mod"))?, KUBERNETES))?;
    write(&source.join("go.sum"), read(&upstream.join("go.sum"))?)?;
    let mut build = go(source);
    build.args(["build", "-mod=mod", "-trimpath", "-ldflags", &version_flags(KUBERNETES), "-o"]).arg(output);
    build.args(KUBERNETES_BINARIES.map(|binary| format!("k8s.io/kubernetes/cmd/{binary}")));
    run(&mut build)?;
    Ok(())
}

/// The go.mod of a module of our own that builds Kubernetes' commands: each `./staging` replacement becomes the published
/// module, whose version is Kubernetes' with 0 as major.
fn kubernetes_go_mod(upstream: &str, version: &str) -> String {
    let staging_version = version.replacen("v1.", "v0.", 1);
    let replaced =
        upstream.lines().map(|line| match (line.strip_prefix("module "), line.split_once("=> ./staging/src/")) {
            (Some(_), _) => "module package-registry.local/kubernetes".to_owned(),
            (None, Some((before, module))) => format!("{before}=> {module} {staging_version}"),
            (None, None) => line.to_owned(),
        });
    let required = format!("\nrequire k8s.io/kubernetes {version}\n");
    replaced.chain([required]).collect::<Vec<_>>().join("\n")
}

/// Linker flags: without a version the server reports one that kubectl cannot parse.
fn version_flags(version: &str) -> String {
    let minor = version.split('.').nth(1).unwrap_or_default();
    let package = "k8s.io/component-base/version";
    format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}")
}

fn build_coredns(source: &Path, output: &Path) -> Result<()> {
    let upstream = download("github.com/coredns/coredns", COREDNS, source)?;
    let module =
        format!("module package-registry.local/coredns\n\ngo 1.26.0\n\nrequire github.com/coredns/coredns {COREDNS}\n");
    write(&source.join("go.mod"), module)?;
    write(&source.join("go.sum"), read(&upstream.join("go.sum"))?)?;
    write(&source.join("main.go"), include_str!("coredns/main.go"))?;
    run(go(source)
        .args(["build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(output.join("coredns"))
        .arg("."))?;
    Ok(())
}

fn build_local_path_provisioner(source: &Path, output: &Path) -> Result<()> {
    install(source, output, "github.com/rancher/local-path-provisioner", LOCAL_PATH_PROVISIONER)
}

/// Builds a program that its module lets be built as it is.
fn install(source: &Path, output: &Path, package: &str, version: &str) -> Result<()> {
    let package = format!("{package}@{version}");
    run(go(source).env("GOBIN", output).args(["install", "-trimpath", "-ldflags", "-s -w", &package]))?;
    Ok(())
}

fn build_pause(source: &Path, output: &Path) -> Result<()> {
    let program = source.join("pause.c");
    write(&program, include_str!("pause/pause.c"))?;
    run(Command::new("cc").args(["-static", "-Os", "-s", "-Wall", "-o"]).arg(output.join("pause")).arg(program))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_folders_become_published_modules() {
        let upstream = "module k8s.io/kubernetes\n\ngo 1.25.0\n\nrequire k8s.io/api v0.0.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let own = kubernetes_go_mod(upstream, "v1.35.4");
        assert_eq!(
            own,
            "module package-registry.local/kubernetes\n\ngo 1.25.0\n\nrequire k8s.io/api v0.0.0\n\nreplace (\n\tk8s.io/api => k8s.io/api v0.35.4\n)\n\nrequire k8s.io/kubernetes v1.35.4\n"
        );
    }

    #[test]
    fn the_version_is_linked_into_the_binaries() {
        let flags = version_flags("v1.35.4");
        assert!(flags.contains("gitVersion=v1.35.4") && flags.ends_with("gitMinor=35"), "{flags}");
    }
}
