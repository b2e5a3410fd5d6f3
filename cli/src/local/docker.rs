//! The docker engine, over its socket.

use std::io::Write;
use std::path::Path;

use bundle::reference::Reference;
use snafu::{ResultExt, ensure};
use tempfile::NamedTempFile;

use super::{EngineSnafu, LocalError, NotThereSnafu, Saved, StoreSnafu, opened};
use crate::http::{RequestError, chain};
use crate::output::message;

/// `GET /images/get` of the engine's API: what `docker save` writes, one archive for all.
pub async fn save(socket: &Path, images: &[(String, Reference)], folder: &Path) -> Result<Saved, LocalError> {
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
