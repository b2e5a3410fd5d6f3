//! Images of packages beside those of pushes. Packages own their images.

use http::StatusCode;
use serde_json::{Value, json};
use server::digest::Digest;
use server::storage::keys;

use crate::common::bundles::{Package, package};
use crate::common::source::Source;
use crate::common::spec;
use crate::registry::{MANIFEST, Registry, codes, error, refused};

const REDIS: &str = "docker.io/library/redis";

on_registries! { {
    what_a_package_needs_is_not_deleted
    what_was_pushed_beside_a_package_is_deleted
    a_push_of_what_a_package_has_keeps_both
    what_a_package_brought_can_be_mounted_and_built_upon
} memory file }

async fn with_redis(registry: &Registry) -> Package {
    let source = Source::start().await;
    let redis = package("redis", "1.0", "redis:5");
    registry.client().add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    redis
}

async fn manifest(registry: &Registry, digest: &str) -> Vec<u8> {
    registry.get(&format!("/v2/{REDIS}/manifests/{digest}")).await.body.to_vec()
}

async fn stored(registry: &Registry, key: &keys::Key) -> Value {
    let (bytes, _) = registry.client().storage.get(key, 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn what_a_package_needs_is_not_deleted(registry: &Registry) {
    let redis = with_redis(registry).await;
    let digest = redis.manifest_digest("redis:5");
    let layer = Digest::sha256(b"layer of redis 1.0");
    let pushed = registry.put(REDIS, "5", MANIFEST, manifest(registry, &digest).await).await;
    assert_eq!(pushed.status, 201);
    for path in ["manifests/5".to_owned(), format!("manifests/{digest}"), format!("blobs/{layer}")] {
        let answer = registry.delete(&format!("/v2/{REDIS}/{path}")).await;
        assert_eq!(refused(&answer), error(405, "DENIED"), "{path}");
        assert!(answer.text().contains("package redis 1.0 needs it: packages own their images"), "{}", answer.text());
        assert_eq!(registry.status(&format!("/v2/{REDIS}/{path}")).await, 200, "{path}");
    }
}

async fn what_was_pushed_beside_a_package_is_deleted(registry: &Registry) {
    with_redis(registry).await;
    let image = registry.image(REDIS, "mine", "mine").await;
    for path in ["manifests/mine".to_owned(), format!("manifests/{}", image.digest), format!("blobs/{}", image.layer)] {
        assert_eq!(registry.delete(&format!("/v2/{REDIS}/{path}")).await.status, StatusCode::ACCEPTED, "{path}");
    }
    assert_eq!(registry.status(&format!("/v2/{REDIS}/manifests/5")).await, 200);
}

async fn a_push_of_what_a_package_has_keeps_both(registry: &Registry) {
    let redis = with_redis(registry).await;
    let repository = REDIS.parse().unwrap();
    let (digest, layer) = (redis.manifest_digest("redis:5"), Digest::sha256(b"layer of redis 1.0"));
    let manifest_link = keys::manifest_link(&repository, &digest.parse().unwrap());
    let blob_link = keys::blob_link(&repository, &layer);
    let before = stored(registry, &manifest_link).await;
    assert_eq!((before.get("pushed"), stored(registry, &blob_link).await), (None, json!({})));

    registry.blob(REDIS, b"layer of redis 1.0").await;
    let bytes = manifest(registry, &digest).await;
    assert_eq!(registry.put(REDIS, "mine", MANIFEST, bytes.clone()).await.status, 201);
    assert_eq!(registry.put(REDIS, "5", MANIFEST, bytes).await.status, 201);

    assert_eq!(stored(registry, &blob_link).await, json!({ "pushed": true }));
    let after = stored(registry, &manifest_link).await;
    assert_eq!((&after["mediaType"], &after["size"]), (&before["mediaType"], &before["size"]));
    let references = after["pushed"]["references"].as_array().unwrap();
    assert!(references.contains(&json!(layer.to_string())) && references.len() == 2, "{after}");
    let tag = |name: &str| keys::tag(&repository, &name.parse().unwrap());
    assert_eq!(stored(registry, &tag("mine")).await["pushed"], json!(true));
    // A push of what is there doesn't make the package's tag its own.
    assert_eq!(stored(registry, &tag("5")).await.get("pushed"), None);
}

async fn what_a_package_brought_can_be_mounted_and_built_upon(registry: &Registry) {
    let redis = with_redis(registry).await;
    let layer = Digest::sha256(b"layer of redis 1.0");
    let path = format!("/v2/mine/blobs/uploads/?mount={layer}&from={REDIS}");
    let answer = registry.call(http::Method::POST, &path, &[], axum::body::Body::empty()).await;
    assert_eq!(answer.status, 201);
    let bytes = manifest(registry, &redis.manifest_digest("redis:5")).await;
    let early = registry.put("mine", "1", MANIFEST, bytes.clone()).await;
    assert_eq!(codes(&early), ["MANIFEST_BLOB_UNKNOWN"]);
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    let config = config["config"]["digest"].as_str().unwrap();
    let path = format!("/v2/mine/blobs/uploads/?mount={config}&from={REDIS}");
    registry.call(http::Method::POST, &path, &[], axum::body::Body::empty()).await;
    assert_eq!(registry.put("mine", "1", MANIFEST, bytes).await.status, 201);
}
