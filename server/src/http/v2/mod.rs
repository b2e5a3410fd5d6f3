//! `/v2/`: images, as the OCI Distribution Specification 1.1 says.

mod catalog;
mod content_range;
pub(super) mod error;
mod manifests;
mod page;
mod path;
mod pull;
mod referrers;
mod uploads;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};

use super::Server;
use crate::auth::table::Verb;
use crate::auth::{AuthError, Identity};
use crate::images::Images;
use error::V2Error;
use path::Target;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A request on `/v2/`, and what its answer is made from.
struct Call<'a> {
    server: &'a Server,
    images: Images,
    parts: &'a Parts,
}

/// Everything under `/v2/`.
pub async fn serve(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let images = Images::new(server.catalogue.clone());
    let call = Call { server: &server, images, parts: &parts };
    let mut response = call.answer(body).await.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

impl Call<'_> {
    async fn answer(&self, body: Body) -> Result<Response, V2Error> {
        let put = self.parts.method == Method::PUT;
        let target = path::parse(self.parts.uri.path()).map_err(|error| match error {
            // What can't be a tag is not there, and can't be put there either.
            V2Error::ManifestUnknown(name) if put => {
                V2Error::TagInvalid(format!("{name:?} is neither a digest nor a tag"))
            }
            other => other,
        })?;
        let method = match self.parts.method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        match (method, target) {
            ("GET", Target::Base) => {
                let json = HeaderValue::from_static("application/json");
                Ok(([(CONTENT_TYPE, json)], Body::from("{}")).into_response())
            }
            ("GET", Target::Catalog) => catalog::catalog(self.server, &self.parts.uri).await,
            ("GET", Target::Tags(repository)) => page::tags(self.server, &repository, &self.parts.uri).await,
            ("GET", Target::Referrers(repository, digest)) => self.referrers(&repository, &digest).await,
            ("GET", Target::Manifest(repository, named)) => self.manifest(&repository, named).await,
            ("PUT", Target::Manifest(repository, named)) => self.put_manifest(&repository, &named, body).await,
            ("DELETE", Target::Manifest(repository, named)) => self.remove_manifest(&repository, named).await,
            ("GET", Target::Blob(repository, digest)) => self.blob(&repository, &digest).await,
            ("DELETE", Target::Blob(repository, digest)) => self.remove_blob(&repository, &digest).await,
            ("POST", Target::Uploads(repository)) => self.begin_upload(&repository, body).await,
            ("GET", Target::Upload(repository, id)) => self.upload_status(&repository, id).await,
            ("PATCH", Target::Upload(repository, id)) => self.append(&repository, id, body).await,
            ("PUT", Target::Upload(repository, id)) => self.finish_upload(&repository, id, body).await,
            ("DELETE", Target::Upload(repository, id)) => self.cancel_upload(&repository, id).await,
            (_, other) => Err(V2Error::Unsupported(other.methods())),
        }
    }

    /// Whether the caller has a right besides the one that the gate asked for. Where nobody is asked, everybody has it.
    async fn may(&self, verb: Verb) -> Result<(), AuthError> {
        let identity = self.parts.extensions.get::<Identity>().unwrap_or(&Identity::Anonymous);
        self.server.auth.authorize(identity, verb).await
    }
}
