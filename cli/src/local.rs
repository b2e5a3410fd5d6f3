//! Images from an engine on this machine: docker over its socket, or containerd through its `ctr`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bundle::image::source::{ImageSource, SourceError};
use bundle::reference::Reference;
use bundle::stream::Limits;
use snafu::{OptionExt, ResultExt, Snafu, ensure};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::http::{RequestError, chain};
use crate::output::message;

/// Where docker listens when nothing else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where containerd listens when nothing else is said.
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// Where Kubernetes' images are, then those of people.
const NAMESPACES: [&str; 2] = ["k8s.io", "default"];

/// Why images can't be had from an engine.
#[derive(Debug, Snafu)]
pub enum LocalError {
    /// There is none.
    #[snafu(display(
        "--use-local: there is neither a docker engine at {docker} nor containerd with its ctr at {containerd}"
    ))]
    NoEngine {
        /// Where docker was looked for.
        docker: String,
        /// Where containerd was looked for.
        containerd: String,
    },
    /// An address that is not asked.
    #[snafu(display("--use-local: DOCKER_HOST is \"{given}\", must be unix:///PATH"))]
    DockerHost {
        /// What it is.
        given: String,
    },
    /// An image is not there.
    #[snafu(display("image {image} is not in {engine}; without --use-local it is pulled from its registry"))]
    NotThere {
        /// Which.
        image: String,
        /// What was asked.
        engine: String,
    },
    /// The engine can't be asked.
    #[snafu(display("{engine}: {reason}"))]
    Engine {
        /// Which.
        engine: String,
        /// Why.
        reason: String,
    },
    /// No place for what the engine gives.
    #[snafu(display("what {engine} gives can't be kept: {source}"))]
    Store {
        /// Which.
        engine: String,
        /// Why.
        source: io::Error,
    },
    /// The engine gives something else than images.
    #[snafu(display("{source}"))]
    Archive {
        /// Why.
        source: SourceError,
    },
}

/// Images that an engine gave, in a file that goes when this goes.
#[derive(Debug)]
pub struct Saved {
    /// The images.
    pub source: ImageSource,
    /// The file.
    pub file: NamedTempFile,
}

/// Takes images from the engine that has them all: docker where it listens, else containerd.
pub async fn save(images: &[(String, Reference)], folder: &Path) -> Result<Saved, LocalError> {
    let docker = docker_socket()?;
    let containerd = std::env::var_os("CONTAINERD_ADDRESS").map_or_else(|| CONTAINERD_SOCKET.into(), PathBuf::from);
    let mut absent = None;
    if docker.exists() {
        match from_docker(&docker, images, folder).await {
            Err(error @ LocalError::NotThere { .. }) => absent = Some(error),
            done => return done,
        }
    }
    if containerd.exists() {
        match from_containerd(&containerd, images, folder).await {
            Err(error @ LocalError::NotThere { .. }) => absent = absent.or(Some(error)),
            done => return done,
        }
    }
    let shown = |path: &Path| path.display().to_string();
    Err(absent.unwrap_or_else(|| LocalError::NoEngine { docker: shown(&docker), containerd: shown(&containerd) }))
}

fn docker_socket() -> Result<PathBuf, LocalError> {
    match std::env::var("DOCKER_HOST").unwrap_or_default().as_str() {
        "" => Ok(DOCKER_SOCKET.into()),
        given => given.strip_prefix("unix://").map(PathBuf::from).context(DockerHostSnafu { given }),
    }
}

/// `GET /images/get` of the engine's API: what `docker save` writes, one archive for all.
#[cfg(unix)]
async fn from_docker(socket: &Path, images: &[(String, Reference)], folder: &Path) -> Result<Saved, LocalError> {
    let engine = format!("the docker engine at {}", socket.display());
    let failed =
        |error: reqwest::Error| LocalError::Engine { engine: engine.clone(), reason: chain(&error.without_url()) };
    let client = reqwest::Client::builder().unix_socket(socket).build().map_err(failed)?;
    let mut names = url::form_urlencoded::Serializer::new(String::new());
    for (image, reference) in images {
        let known = client.get(format!("http://docker/images/{reference}/json")).send().await.map_err(failed)?;
        let there = known.status() != reqwest::StatusCode::NOT_FOUND;
        ensure!(there, NotThereSnafu { image, engine: &engine });
        names.append_pair("names", &reference.to_string());
    }
    message(&format!("Saving from {engine}"));
    let address = format!("http://docker/images/get?{}", names.finish());
    let mut answer = client.get(address).send().await.map_err(failed)?;
    let status = RequestError::status(&answer, String::new());
    ensure!(answer.status().is_success(), EngineSnafu { engine: &engine, reason: status.to_string() });
    let mut file = NamedTempFile::new_in(folder).context(StoreSnafu { engine: &engine })?;
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        file.write_all(&chunk).context(StoreSnafu { engine: &engine })?;
    }
    opened(file)
}

/// Docker's socket is a Unix socket.
#[cfg(not(unix))]
async fn from_docker(socket: &Path, _: &[(String, Reference)], _: &Path) -> Result<Saved, LocalError> {
    let reason = "this system has no Unix sockets".to_owned();
    Err(LocalError::Engine { engine: format!("the docker engine at {}", socket.display()), reason })
}

/// `ctr images export`: an OCI layout in an archive.
async fn from_containerd(address: &Path, images: &[(String, Reference)], folder: &Path) -> Result<Saved, LocalError> {
    let mut missing = None;
    for namespace in NAMESPACES {
        let engine = format!("containerd at {}, namespace {namespace},", address.display());
        let known = ctr(address, namespace, &["images", "ls", "-q"], &engine).await?;
        let names: Vec<String> = images.iter().map(|(_, reference)| reference.to_string()).collect();
        if let Some(index) = names.iter().position(|name| !known.lines().any(|line| line.trim() == name)) {
            missing = missing.or_else(|| images.get(index).map(|(image, _)| image.clone()));
            continue;
        }
        message(&format!("Saving from {engine}"));
        let file = NamedTempFile::new_in(folder).context(StoreSnafu { engine: &engine })?;
        let path = file.path().to_string_lossy().into_owned();
        let mut arguments = vec!["images", "export", path.as_str()];
        arguments.extend(names.iter().map(String::as_str));
        ctr(address, namespace, &arguments, &engine).await?;
        return opened(file);
    }
    let engine = format!("containerd at {}, namespaces {}", address.display(), NAMESPACES.join(" and "));
    NotThereSnafu { image: missing.unwrap_or_default(), engine }.fail()
}

async fn ctr(address: &Path, namespace: &str, arguments: &[&str], engine: &str) -> Result<String, LocalError> {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(address).args(["--namespace", namespace]).args(arguments).kill_on_drop(true);
    let ran = command.output().await;
    let ran = ran.or_else(|error| EngineSnafu { engine, reason: format!("ctr: {error}") }.fail())?;
    let reason = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    ensure!(ran.status.success(), EngineSnafu { engine, reason });
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

fn opened(file: NamedTempFile) -> Result<Saved, LocalError> {
    let given = format!("docker-archive:{}", file.path().display());
    let source = ImageSource::open(&given, &Limits::default()).context(ArchiveSnafu)?;
    Ok(Saved { source, file })
}
