//! What the tests share: a server in memory, a place to fetch bundles from, and bundles.
#![expect(dead_code, reason = "every test file uses its part")]

pub mod bundles;
pub mod faulty;
pub mod kubernetes;
pub mod process;
pub mod s3_proxy;
pub mod s3_server;
pub mod s3_store;
pub mod sender;
pub mod shared;
pub mod site;
pub mod skip;
pub mod source;
pub mod stores;
pub mod until;

use std::sync::Arc;

use api::{Declaration, DeclarationSpec, State, UrlSource};
use axum::Router;
use axum::body::Body;
use bundle::stream::Limits;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use server::audit::Audit;
use server::auth::Auth;
use server::catalogue::{Catalogue, Options};
use server::declarations::Declarations;
use server::http::{Readers, Server, Settings, Usage, app};
use server::ingest::Ingest;
use server::ingest::policy::SourcePolicy;
use server::metrics::Metrics;
use server::storage::Storage;
use server::uploads::{Pace, Uploads};
use tower::ServiceExt;

use until::{found, until};

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A server without ports.
#[derive(Clone)]
pub struct Client {
    pub app: Router,
    pub storage: Arc<dyn Storage>,
    pub audit: Audit,
    pub uploads: Uploads,
    pub packages: Catalogue,
}

pub struct Setup {
    pub storage: Arc<dyn Storage>,
    pub auth: Auth,
    pub policy: SourcePolicy,
    pub anonymous_pull: bool,
    pub options: Options,
    pub operator_managed: bool,
    pub pace: Pace,
}

impl Setup {
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        let policy = SourcePolicy { ranges: vec!["127.0.0.1/32".parse().unwrap()], ..SourcePolicy::default() };
        Self {
            storage,
            auth: Auth::None,
            policy,
            anonymous_pull: true,
            operator_managed: false,
            pace: Pace::default(),
            options: Options::default(),
        }
    }

    pub async fn start(self) -> Result<Client, server::catalogue::SweepError> {
        // The second and later ones find it installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let catalogue = Catalogue::with(Arc::clone(&self.storage), self.options);
        let (audit, metrics) = (Audit::keeping(), Metrics::default());
        let uploads = Uploads::new(catalogue.clone(), Limits::default(), self.pace, audit.clone(), metrics.clone());
        let restored = catalogue.restore().await?;
        let ingest = Ingest { catalogue: catalogue.clone(), policy: Arc::new(self.policy), limits: Limits::default() };
        let settings = Settings {
            scheme: "https",
            public_host: None,
            anonymous_pull: self.anonymous_pull,
            operator_managed: self.operator_managed,
        };
        let server = Server {
            settings: Arc::new(settings),
            declarations: Declarations::restore(ingest, restored, audit.clone(), metrics.clone()),
            uploads: uploads.clone(),
            readers: Readers::default(),
            catalogue: catalogue.clone(),
            auth: Arc::new(self.auth),
            audit: audit.clone(),
            metrics,
            usage: Usage::default(),
        };
        Ok(Client { app: app(server), storage: self.storage, audit, uploads, packages: catalogue })
    }
}

/// A server on an empty store in memory that lets everybody do everything.
pub async fn client() -> Client {
    Setup::on(Arc::new(server::storage::memory::MemoryStorage::new())).start().await.unwrap()
}

impl Client {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "registry.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(Method::GET, path, headers, Body::empty()).await
    }

    pub async fn put(&self, id: &str, spec: &DeclarationSpec) -> Answer {
        let body = serde_json::to_vec(spec).unwrap();
        self.call(Method::PUT, &format!("/api/v1/declarations/{id}"), &[], body).await
    }

    /// Asks until the declaration is where it stays.
    pub async fn settled(&self, id: &str) -> Declaration {
        found(&format!("{id} settles"), async || {
            let answer = self.get(&format!("/api/v1/declarations/{id}")).await;
            let declaration: Declaration = serde_json::from_slice(&answer.body).unwrap();
            Some(declaration).filter(|declaration| declaration.state.is_final())
        })
        .await
    }

    pub async fn declare(&self, id: &str, spec: &DeclarationSpec) -> Declaration {
        let answer = self.put(id, spec).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        self.settled(id).await
    }

    /// Declares what must succeed.
    pub async fn add(&self, id: &str, spec: &DeclarationSpec) -> Declaration {
        let declaration = self.declare(id, spec).await;
        assert_eq!(declaration.state, State::Added, "{declaration:?}");
        declaration
    }

    /// Withdraws and waits until the declaration is gone.
    pub async fn withdraw(&self, id: &str) {
        let path = format!("/api/v1/declarations/{id}");
        let answer = self.call(Method::DELETE, &path, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        until(&format!("{id} goes"), async || self.get(&path).await.status == StatusCode::NOT_FOUND).await;
    }

    /// Everything that links and tags lead to can be pulled.
    pub async fn pullable(&self) {
        for key in self.keys().await {
            let Some(rest) = key.strip_prefix("repositories/") else { continue };
            let path = rest.replace("/_manifests/sha256/", "/manifests/sha256:");
            let path = path.replace("/_blobs/sha256/", "/blobs/sha256:").replace("/_tags/", "/manifests/");
            assert_eq!(self.get(&format!("/v2/{path}")).await.status, StatusCode::OK, "{key}");
        }
    }

    /// All keys of the store.
    pub async fn keys(&self) -> Vec<String> {
        keys(self.storage.as_ref()).await
    }

    /// `name version` of everything in the catalogue.
    pub async fn catalogue(&self) -> Vec<String> {
        let answer = self.get("/repo").await;
        assert_eq!(answer.status, StatusCode::OK);
        let document = answer.json();
        let packages = document["packages"].as_array().unwrap().iter();
        packages.map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["version"].as_str().unwrap())).collect()
    }
}

pub async fn keys(storage: &dyn Storage) -> Vec<String> {
    let mut keys = Vec::new();
    server::storage::for_each_object(storage, "", |key, _| {
        keys.push(key);
        std::future::ready(Ok::<_, server::storage::StorageError>(()))
    })
    .await
    .unwrap();
    keys
}

/// A small object as text.
pub async fn text(storage: &dyn Storage, key: &server::storage::Key) -> String {
    let reading = storage.read(key, server::storage::ByteRange::Whole).await.unwrap();
    let chunks: Vec<Bytes> = futures::TryStreamExt::try_collect(reading.body).await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

/// A declaration of an address, without a digest.
pub fn spec(url: &str) -> DeclarationSpec {
    let url = UrlSource { url: url.to_owned(), sha256: None, credentials: None, ca_bundle: None };
    DeclarationSpec { url, release_version: None, release_version_from: 1_700_000_000, declared_by: "apps/it".into() }
}
