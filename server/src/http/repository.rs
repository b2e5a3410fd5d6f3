//! `/repo` and `/package/<name>`: the repository document.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bundle::universe::RepositoryVersion;
use futures::stream;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::accept::{dcos_version, media_type, takes_gzip, version};
use super::answer::{Label, Segments, api_error, store_failed};
use super::repository_stock::{Documents, Wanted};
use super::{Server, Settings};
use crate::auth::asked_authority;
use crate::catalogue::Catalogue;

const VARIES: HeaderValue = HeaderValue::from_static("Accept, User-Agent, Accept-Encoding");

/// The repository documents of one server.
#[derive(Clone)]
pub(super) struct Repository {
    settings: Arc<Settings>,
    documents: Documents,
}

impl Repository {
    pub(super) fn new(settings: Arc<Settings>, catalogue: Catalogue) -> Self {
        Self { settings, documents: Documents::new(catalogue) }
    }

    /// The routes of the repository.
    pub(super) fn routes(&self) -> Router<Server> {
        Router::new().route("/repo", get(repo)).route("/package/{name}", get(package)).with_state(self.clone())
    }

    /// Makes the pieces that current clusters need of every package, under the host that addresses are known to have; with
    /// thousands of packages the first `/repo` after a start would wait for seconds. Other pieces are made when they are asked
    /// for.
    pub(super) async fn warm_up(self) {
        let Some(host) = self.settings.public_host.clone() else { return };
        let scheme = self.settings.scheme;
        let wanted = Wanted { name: None, version: RepositoryVersion::V5, cluster: None, scheme, host };
        if let Err(error) = self.documents.get(wanted).await {
            tracing::warn!(%error, "/repo is put together when it is asked for");
        }
    }
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
    label.put(head);
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

#[cfg(test)]
mod tests {
    use bundle::universe::DcosVersion;

    use super::*;
    use crate::catalogue::entry::Entry;
    use crate::storage::memory::MemoryStorage;
    use crate::storage::{Condition, Storage, keys};

    fn entry() -> Entry {
        let metadata =
            r#"{"packagingVersion":"4.0","name":"tiny","version":"1","maintainer":"m","description":"d","tags":[]}"#;
        Entry { metadata: metadata.into(), ..Entry::bare("tiny") }
    }

    fn settings(public_host: Option<&str>) -> Arc<Settings> {
        let public_host = public_host.map(str::to_owned);
        Arc::new(Settings { scheme: "https", public_host, anonymous_pull: true, operator_managed: false })
    }

    #[tokio::test]
    async fn after_a_warm_up_no_entry_is_read_for_current_clusters() {
        let storage = Arc::new(MemoryStorage::new());
        let key = keys::entry(&entry().code().unwrap());
        storage.put(&key, serde_json::to_vec(&entry()).unwrap().into(), Condition::Absent).await.unwrap();
        let repository = Repository::new(settings(Some("r.test")), Catalogue::new(Arc::clone(&storage) as Arc<_>));
        repository.clone().warm_up().await;
        // Nobody else works on the store, so that nobody looks again; whoever read the entry now would find none.
        storage.delete(&key).await.unwrap();
        for (version, cluster) in [(RepositoryVersion::V5, None), (RepositoryVersion::V4, DcosVersion::parse("1.13.9"))]
        {
            let wanted = Wanted { name: None, version, cluster, scheme: "https", host: "r.test".into() };
            let document = repository.documents.get(wanted).await.unwrap().unwrap();
            let text: Vec<u8> = document.text().flat_map(|piece| piece.unwrap().to_vec()).collect();
            assert!(String::from_utf8(text).unwrap().contains("\"name\":\"tiny\""), "{version:?}");
        }
    }

    #[tokio::test]
    async fn without_a_public_host_nothing_is_made_before_it_is_asked_for() {
        let repository = Repository::new(settings(None), Catalogue::new(Arc::new(MemoryStorage::new())));
        repository.clone().warm_up().await;
        assert!(repository.documents.is_empty());
    }
}
