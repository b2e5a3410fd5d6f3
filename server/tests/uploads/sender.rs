//! What a client of uploads does.

use std::sync::Arc;
use std::time::Duration;

use api::{PackageContent, Upload};
use axum::body::Body;
use http::{Method, StatusCode};
use server::storage::Storage;
use server::storage::file::FileStorage;
use server::storage::memory::MemoryStorage;

use crate::common::bundles::Package;
use crate::common::{Answer, Client, Setup};

/// A server on each kind of store.
pub async fn each_store() -> Vec<(Client, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let file: Arc<dyn Storage> = Arc::new(FileStorage::open(folder.path()).unwrap());
    vec![
        (Setup::on(Arc::new(MemoryStorage::new())).start().await.unwrap(), None),
        (Setup::on(file).start().await.unwrap(), Some(folder)),
    ]
}

pub async fn announce(client: &Client, content: &PackageContent) -> Answer {
    client.call(Method::POST, "/api/v1/uploads", &[], serde_json::to_vec(content).unwrap()).await
}

/// Announces what must be taken.
pub async fn announced(client: &Client, content: &PackageContent) -> Upload {
    let answer = announce(client, content).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

pub async fn patch(client: &Client, id: &str, digest: &str, offset: u64, bytes: impl Into<Body>) -> Answer {
    let path = format!("/api/v1/uploads/{id}/blobs/{digest}");
    client.call(Method::PATCH, &path, &[("upload-offset", &offset.to_string())], bytes).await
}

pub async fn offset(client: &Client, id: &str, digest: &str) -> u64 {
    let answer = client.call(Method::HEAD, &format!("/api/v1/uploads/{id}/blobs/{digest}"), &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    answer.header("upload-offset").parse().unwrap()
}

/// Sends everything that is missing.
pub async fn send(client: &Client, package: &Package, upload: &Upload) {
    let parts = package.parts();
    for blob in &upload.missing {
        let rest = parts[&blob.digest][usize::try_from(blob.offset).unwrap()..].to_vec();
        let answer = patch(client, &upload.id, &blob.digest, blob.offset, rest).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        assert_eq!(answer.header("upload-offset"), blob.size.to_string());
    }
}

pub async fn complete(client: &Client, id: &str) -> Answer {
    client.call(Method::POST, &format!("/api/v1/uploads/{id}/complete"), &[], Body::empty()).await
}

pub async fn view(client: &Client, id: &str) -> Upload {
    let answer = client.get(&format!("/api/v1/uploads/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Asks until the upload is where it stays.
pub async fn settled(client: &Client, id: &str) -> Upload {
    for _ in 0..3000 {
        let upload = view(client, id).await;
        if upload.state.is_final() {
            return upload;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{id} never settles");
}

/// The whole way, to wherever it leads.
pub async fn bring(client: &Client, package: &Package) -> Upload {
    let upload = announced(client, &package.content()).await;
    send(client, package, &upload).await;
    let answer = complete(client, &upload.id).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    settled(client, &upload.id).await
}
