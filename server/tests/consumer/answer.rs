//! What the consumer takes as an answer (universe.md 7.3, first table).

use std::io::Read;

use bundle::json::Json;
use http::StatusCode;

use crate::common::Answer;
use crate::document;

const TYPE: &str = "application/vnd.dcos.universe.repo+json";

/// Reads an answer of `/repo`, or says what the consumer would refuse.
pub fn read(answer: &Answer) -> Result<Vec<Json>, String> {
    if answer.status != StatusCode::OK {
        return Err(format!("status {}", answer.status));
    }
    let version = version(answer.headers.get("content-type").map(|value| value.to_str().unwrap()))?;
    if answer.headers.contains_key("transfer-encoding") {
        return Err("chunked".to_owned());
    }
    let length = answer.header("content-length");
    if length != answer.body.len().to_string() {
        return Err(format!("Content-Length is {length:?}, {} bytes came", answer.body.len()));
    }
    let text = match answer.headers.get("content-encoding").map(|value| value.to_str().unwrap()) {
        None => answer.body.to_vec(),
        Some("gzip") => first_member(&answer.body)?,
        Some(other) => return Err(format!("Content-Encoding {other}")),
    };
    document::read(&text, &version)
}

/// The first member alone: what is behind it is lost on the consumer.
fn first_member(body: &[u8]) -> Result<Vec<u8>, String> {
    let (mut text, mut member) = (Vec::new(), flate2::bufread::GzDecoder::new(body));
    member.read_to_end(&mut text).map_err(|error| format!("gzip: {error}"))?;
    if member.into_inner().is_empty() { Ok(text) } else { Err("gzip: more than one member".to_owned()) }
}

/// The version that a content type names; without one it is v5.
pub fn version(content_type: Option<&str>) -> Result<String, String> {
    let content_type = content_type.ok_or("no Content-Type")?;
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case(TYPE) {
        return Err(format!("unsupported content type {content_type}"));
    }
    let mut version = "v5".to_owned();
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("parameter {part}"))?;
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("charset", value) if value.eq_ignore_ascii_case("utf-8") => {}
            ("version", known @ ("v3" | "v4" | "v5")) => known.clone_into(&mut version),
            _ => return Err(format!("unsupported content type parameter {part}")),
        }
    }
    Ok(version)
}
