//! `/repo` and `/package/<name>`: the repository document, made anew for each request.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bundle::universe::{Addresses, RepositoryVersion, in_repository, repository_package};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::accept::{dcos_version, media_type, version};
use super::answer::{Label, api_error, insert, store_failed};
use super::{Server, Settings};
use crate::auth::asked_authority;
use crate::catalogue::entry::Entry;
use crate::digest::Digest;

const VARIES: HeaderValue = HeaderValue::from_static("Accept, User-Agent, Accept-Encoding");

/// `GET /repo`.
pub async fn repo(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&server, &uri, &headers, None).await
}

/// `GET /package/<name>`.
pub async fn package(State(server): State<Server>, Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&server, &uri, &headers, Some(&name)).await
}

async fn answer(server: &Server, uri: &Uri, headers: &HeaderMap, name: Option<&str>) -> Response {
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let Some(version) = version(&accept) else {
        let message = "Accept takes none of application/vnd.dcos.universe.repo+json in version v3, v4 or v5";
        return api_error(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message);
    };
    let mut packages = match server.catalogue.packages().await {
        Ok(packages) => packages,
        Err(error) => return store_failed(&error),
    };
    if let Some(name) = name {
        packages.retain(|entry| entry.name == name);
        if packages.is_empty() {
            return api_error(StatusCode::NOT_FOUND, "NotFound", &format!("there is no package {name:?}"));
        }
    }
    let host = public_host(&server.settings, uri, headers);
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let body = document(&packages, version, agent, server.settings.scheme, &host);
    let digest = Digest::sha256(&body).to_string();
    let label = Label { media_type: media_type(version), tag: &digest };
    if let Some(mut unmodified) = label.unmodified(headers) {
        unmodified.headers_mut().insert(VARY, VARIES);
        return unmodified;
    }
    let length = HeaderValue::from(body.len());
    let mut response = Body::from(body).into_response();
    let head = response.headers_mut();
    insert(head, CONTENT_TYPE, label.media_type);
    insert(head, ETAG, &format!("\"{digest}\""));
    head.insert(CONTENT_LENGTH, length);
    head.insert(VARY, VARIES);
    response
}

/// The host in addresses that are handed out.
fn public_host(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> String {
    settings.public_host.clone().unwrap_or_else(|| {
        asked_authority(uri, headers).map_or_else(|| "localhost".to_owned(), |asked| asked.to_string())
    })
}

fn document(packages: &[Entry], version: RepositoryVersion, agent: &str, scheme: &str, host: &str) -> Vec<u8> {
    let cluster = dcos_version(agent);
    let origin = format!("{scheme}://{host}");
    let mut body = br#"{"packages":["#.to_vec();
    let mut separator: &[u8] = b"";
    for entry in packages {
        let addresses = Addresses { origin: &origin, image_host: host, images: &entry.images };
        let full = match repository_package(entry.metadata.as_bytes(), entry.release_version, &addresses) {
            Ok(full) => full,
            Err(error) => {
                // One package that can't be read would make the whole document unreadable.
                tracing::error!(package.name = entry.name, package.version = entry.version, %error, "left out of /repo");
                continue;
            }
        };
        if let Some(package) = in_repository(&full, version, cluster.as_ref()) {
            body.extend_from_slice(separator);
            body.extend_from_slice(package.to_string().as_bytes());
            separator = b",";
        }
    }
    body.extend_from_slice(b"]}");
    body
}
