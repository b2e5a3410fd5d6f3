//! What a client of uploads does.

use api::{PackageContent, Upload};
use axum::body::Body;
use http::{Method, StatusCode};

use super::Answer;
use super::bundles::Package;
use super::site::Reach;
use super::until::found;

pub async fn announce(at: &impl Reach, content: &PackageContent) -> Answer {
    at.client().call(Method::POST, "/api/v1/uploads", &[], serde_json::to_vec(content).unwrap()).await
}

/// Announces what must be taken.
pub async fn announced(at: &impl Reach, content: &PackageContent) -> Upload {
    let answer = announce(at, content).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

pub async fn patch(at: &impl Reach, id: &str, digest: &str, offset: u64, bytes: impl Into<Body>) -> Answer {
    let path = format!("/api/v1/uploads/{id}/blobs/{digest}");
    at.client().call(Method::PATCH, &path, &[("upload-offset", &offset.to_string())], bytes).await
}

pub async fn offset(at: &impl Reach, id: &str, digest: &str) -> u64 {
    let answer =
        at.client().call(Method::HEAD, &format!("/api/v1/uploads/{id}/blobs/{digest}"), &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    answer.header("upload-offset").parse().unwrap()
}

/// Sends everything that is missing.
pub async fn send(at: &impl Reach, package: &Package, upload: &Upload) {
    let parts = package.parts();
    for blob in &upload.missing {
        let rest = parts[&blob.digest][usize::try_from(blob.offset).unwrap()..].to_vec();
        let answer = patch(at, &upload.id, &blob.digest, blob.offset, rest).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        assert_eq!(answer.header("upload-offset"), blob.size.to_string());
    }
}

pub async fn complete(at: &impl Reach, id: &str) -> Answer {
    at.client().call(Method::POST, &format!("/api/v1/uploads/{id}/complete"), &[], Body::empty()).await
}

pub async fn view(at: &impl Reach, id: &str) -> Upload {
    let answer = at.client().get(&format!("/api/v1/uploads/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Asks until the upload is where it stays.
pub async fn settled(at: &impl Reach, id: &str) -> Upload {
    found("the upload settles", async || Some(view(at, id).await).filter(|upload| upload.state.is_final())).await
}

/// The whole way, to wherever it leads.
pub async fn bring(at: &impl Reach, package: &Package) -> Upload {
    let upload = announced(at, &package.content()).await;
    send(at, package, &upload).await;
    let answer = complete(at, &upload.id).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    settled(at, &upload.id).await
}
