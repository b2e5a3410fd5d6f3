//! `/repo` and `/package/<name>`: the repository document.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bundle::universe::{Addresses, DcosVersion, RepositoryVersion, in_repository, repository_package};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::accept::{dcos_version, media_type, version};
use super::answer::{Label, api_error, insert, store_failed};
use super::repository_cache::{Documents, Wanted};
use super::{Server, Settings};
use crate::auth::asked_authority;
use crate::catalogue::entry::Entry;

const VARIES: HeaderValue = HeaderValue::from_static("Accept, User-Agent, Accept-Encoding");

#[derive(Clone)]
struct Repository {
    settings: Arc<Settings>,
    documents: Documents,
}

/// The routes of the repository.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let (settings, documents) = (Arc::clone(&server.settings), Documents::new(server.catalogue.clone()));
    Router::new()
        .route("/repo", get(repo))
        .route("/package/{name}", get(package))
        .with_state(Repository { settings, documents })
}

/// `GET /repo`.
async fn repo(State(repository): State<Repository>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    answer(&repository, &method, &uri, &headers, None).await
}

/// `GET /package/<name>`.
async fn package(
    State(repository): State<Repository>,
    Path(name): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer(&repository, &method, &uri, &headers, Some(&name)).await
}

async fn answer(
    repository: &Repository,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    name: Option<&str>,
) -> Response {
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let Some(version) = version(&accept) else {
        let message = "Accept takes none of application/vnd.dcos.universe.repo+json in version v3, v4 or v5";
        return api_error(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message);
    };
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let wanted = Wanted {
        name: name.map(str::to_owned),
        version,
        cluster: dcos_version(agent),
        scheme: repository.settings.scheme,
        host: public_host(&repository.settings, uri, headers),
    };
    let document = match repository.documents.get(wanted).await {
        Ok(Some(document)) => document,
        Ok(None) => {
            let message = format!("there is no package {:?}", name.unwrap_or_default());
            return api_error(StatusCode::NOT_FOUND, "NotFound", &message);
        }
        Err(error) => return store_failed(&error),
    };
    let label = Label { media_type: media_type(version), tag: &document.tag };
    if let Some(mut unmodified) = label.unmodified(headers) {
        unmodified.headers_mut().insert(VARY, VARIES);
        return unmodified;
    }
    let body = if *method == Method::HEAD { Body::empty() } else { Body::from(document.body.clone()) };
    let mut response = body.into_response();
    let head = response.headers_mut();
    insert(head, CONTENT_TYPE, label.media_type);
    insert(head, ETAG, &format!("\"{}\"", document.tag));
    head.insert(CONTENT_LENGTH, HeaderValue::from(document.body.len()));
    head.insert(VARY, VARIES);
    response
}

/// The host in addresses that are handed out.
fn public_host(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> String {
    settings.public_host.clone().unwrap_or_else(|| {
        asked_authority(uri, headers).map_or_else(|| "localhost".to_owned(), |asked| asked.to_string())
    })
}

/// The document of these packages, as it is sent.
pub(super) fn document(
    packages: &[Entry],
    version: RepositoryVersion,
    cluster: Option<&DcosVersion>,
    scheme: &str,
    host: &str,
) -> Vec<u8> {
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
        if let Some(package) = in_repository(&full, version, cluster) {
            body.extend_from_slice(separator);
            body.extend_from_slice(package.to_string().as_bytes());
            separator = b",";
        }
    }
    body.extend_from_slice(b"]}");
    body
}
