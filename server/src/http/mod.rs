//! The server's routes. [`app`] puts them together behind the gate.

mod accept;
mod answer;
mod api_v1;
mod arriving;
mod document;
mod health;
pub mod openapi;
mod package_list;
mod packages;
mod range;
mod repository;
mod repository_fragment;
mod repository_stock;
mod resource;
mod resource_files;
mod token;
mod uploads;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, head, post};

pub use answer::refusal;

use crate::audit::Audit;
use crate::auth::{Auth, gate};
use crate::catalogue::Catalogue;
use crate::declarations::Declarations;
use crate::metrics::Metrics;
use crate::uploads::Uploads;
use repository::Repository;

/// What answers depend on besides the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http` or `https`, as clients see it.
    pub scheme: &'static str,
    /// Host, with port where it isn't the scheme's, in addresses that are handed out; that of the request where it is
    /// not set.
    pub public_host: Option<String>,
    /// Whether images may be pulled without a token.
    pub anonymous_pull: bool,
    /// Whether removals of uploaded packages are for the operator to carry out.
    pub operator_managed: bool,
}

/// Everything that handlers work with.
#[derive(Clone)]
pub struct Server {
    /// What answers depend on.
    pub settings: Arc<Settings>,
    /// The packages.
    pub catalogue: Catalogue,
    /// What is declared.
    pub declarations: Declarations,
    /// What is brought.
    pub uploads: Uploads,
    /// Turns for reading what uploads consist of.
    pub readers: Readers,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// The audit trail.
    pub audit: Audit,
    /// The figures.
    pub metrics: Metrics,
    /// Bytes in use, as last counted.
    pub usage: api_v1::Usage,
}

/// The server as a service: all routes, behind the gate.
pub fn app(server: Server) -> Router {
    prepared(server).0
}

/// As [`app`], with what is to be done in the background once it serves, so that the first who asks for `/repo` needn't wait.
pub fn prepared(server: Server) -> (Router, impl Future<Output = ()> + Send + 'static) {
    let repository = Repository::new(Arc::clone(&server.settings), server.catalogue.clone());
    let router = Router::new()
        .route("/", get(health::health))
        .route("/health", get(health::health))
        .merge(repository.routes())
        .merge(resource::routes(&server))
        .route("/auth/token", get(token::token))
        .route("/v2", any(v2::serve))
        .route("/v2/", any(v2::serve))
        .route("/v2/{*rest}", any(v2::serve))
        .route("/api/v1/packages", get(package_list::list))
        .route("/api/v1/packages/{name}/{version}", get(packages::describe).delete(packages::remove))
        .route("/api/v1/packages/{name}/{version}/content", get(packages::content))
        .route("/api/v1/packages/{name}/{version}/blobs/{digest}", get(packages::blob))
        .route("/api/v1/uploads", post(uploads::announce))
        .route("/api/v1/uploads/{id}", get(uploads::view).delete(uploads::abandon))
        .route("/api/v1/uploads/{id}/complete", post(uploads::complete))
        .route("/api/v1/uploads/{id}/blobs/{digest}", head(uploads::offset).patch(uploads::append))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/status", get(api_v1::status))
        .route("/api/v1/declarations/{id}", get(api_v1::declaration).put(api_v1::declare).delete(api_v1::withdraw))
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(middleware::from_fn_with_state(server.clone(), gate))
        .with_state(server);
    (router, repository.warm_up())
}

pub use api_v1::Usage;
pub use uploads::Readers;
