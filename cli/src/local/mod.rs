//! Images from an engine on this machine: docker over its socket, or containerd through its `ctr`.

mod containerd;
#[cfg(unix)]
mod docker;

use std::io;
use std::path::{Path, PathBuf};

use bundle::image::source::{ImageSource, SourceError};
use bundle::reference::Reference;
use bundle::stream::Limits;
use snafu::{OptionExt, ResultExt, Snafu};
use tempfile::NamedTempFile;

/// Where docker listens when nothing else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where containerd listens when nothing else is said.
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Why images can't be had from an engine.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
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
    // Docker listens on a Unix socket: elsewhere there is none to ask.
    let mut absent = None;
    #[cfg(unix)]
    if docker.exists() {
        match docker::save(&docker, images, folder).await {
            Err(error @ LocalError::NotThere { .. }) => absent = Some(error),
            done => return done,
        }
    }
    if containerd.exists() {
        match containerd::save(&containerd, images, folder).await {
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

fn opened(file: NamedTempFile) -> Result<Saved, LocalError> {
    let given = format!("docker-archive:{}", file.path().display());
    let source = ImageSource::open(&given, &Limits::default()).context(ArchiveSnafu)?;
    Ok(Saved { source, file })
}
