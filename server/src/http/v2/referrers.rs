//! `GET /v2/<name>/referrers/<digest>`: an image index of what says something about a manifest.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue};
use serde_json::json;
use url::form_urlencoded;

use super::super::answer::insert;
use super::Call;
use super::error::V2Error;
use crate::digest::Digest;
use crate::images::manifest::OCI_INDEX;
use crate::names::Repository;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl Call<'_> {
    /// The index. A repository or a subject that isn't there has no referrers, which is no error.
    pub(super) async fn referrers(&self, repository: &Repository, subject: &Digest) -> Result<Response, V2Error> {
        let artifact_type = self.query("artifactType").filter(|wanted| !wanted.is_empty());
        let after = self.query("last").map(|last| last.parse::<Digest>()).transpose();
        let after = after.map_err(|_| V2Error::PageInvalid("last must be a digest"))?;
        let found = self.images.referrers(repository, subject, artifact_type.as_deref(), after.as_ref()).await?;
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found.manifests });
        let mut response = Body::from(index.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
        if artifact_type.is_some() {
            headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let Some(next) = found.next {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(artifact_type) = &artifact_type {
                query.append_pair("artifactType", artifact_type);
            }
            let query = query.append_pair("last", &next.to_string()).finish();
            insert(headers, LINK, &format!("<{}?{query}>; rel=\"next\"", self.parts.uri.path()));
        }
        Ok(response)
    }
}
