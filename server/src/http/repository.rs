//! `/repo` and `/package/<name>`: the repository document.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::accept::{dcos_version, media_type, takes_gzip, version};
use super::answer::{Label, Segments, api_error, insert, store_failed};
use super::repository_stock::{Documents, Wanted};
use super::{Server, Settings};
use crate::auth::asked_authority;

const VARIES: HeaderValue = HeaderValue::from_static("Accept, User-Agent, Accept-Encoding");

#[derive(Clone)]
struct Repository {
    settings: Arc<Settings>,
    documents: Documents,
}

/// The routes of the repository.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let settings = Arc::clone(&server.settings);
    let documents = Documents::new(server.catalogue.clone());
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
    Segments(name): Segments<String>,
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
    let encodings: Vec<_> = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).collect();
    let gzip = takes_gzip(&encodings) && document.gzip_length < document.length;
    // Other bytes, another tag.
    let tag = if gzip { format!("{}-gzip", document.tag) } else { document.tag.clone() };
    let label = Label { media_type: media_type(version), tag: &tag };
    if let Some(mut unmodified) = label.unmodified(headers) {
        unmodified.headers_mut().insert(VARY, VARIES);
        return unmodified;
    }
    let length = if gzip { document.gzip_length } else { document.length };
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ if gzip => Body::from_stream(stream::iter(document.gzip())),
        _ => Body::from_stream(stream::iter(document.text())),
    };
    let mut response = body.into_response();
    let head = response.headers_mut();
    insert(head, CONTENT_TYPE, label.media_type);
    insert(head, ETAG, &format!("\"{tag}\""));
    head.insert(CONTENT_LENGTH, HeaderValue::from(length));
    head.insert(VARY, VARIES);
    if gzip {
        head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The host in addresses that are handed out.
fn public_host(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> String {
    settings.public_host.clone().unwrap_or_else(|| {
        asked_authority(uri, headers).map_or_else(|| "localhost".to_owned(), |asked| asked.to_string())
    })
}
