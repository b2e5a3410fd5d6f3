//! Images of packages beside those of pushes. Packages own their images.

use http::StatusCode;
use serde_json::{Value, json};
use server::digest::Digest;
use server::storage::keys;

use crate::common::bundles::{Package, package};
use crate::common::site::Reach;
use crate::common::site::Site;
use crate::common::source::Source;
use crate::common::spec;
use crate::registry::{MANIFEST, codes, error, refused};

const REDIS: &str = "docker.io/library/redis";

crate::on_stores! {
    what_a_package_needs_is_not_deleted
    what_was_pushed_beside_a_package_is_deleted
    a_push_of_what_a_package_has_keeps_both
    what_a_package_brought_can_be_mounted_and_built_upon
    what_a_package_says_of_its_images_is_listed_as_long_as_it_is_there
    what_a_package_and_a_push_say_of_an_image_stays_until_neither_does
    what_a_package_keeps_under_tags_beside_its_images_is_there_as_long_as_it_is
}

async fn with_redis(registry: &Site) -> Package {
    let source = Source::start().await;
    let redis = package("redis", "1.0", "redis:5");
    registry.client().add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    redis
}

async fn manifest(registry: &Site, digest: &str) -> Vec<u8> {
    registry.get(&format!("/v2/{REDIS}/manifests/{digest}")).await.body.to_vec()
}

async fn stored(registry: &Site, key: &keys::Key) -> Value {
    let (bytes, _) = registry.client().storage.get(key, 1 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn what_a_package_needs_is_not_deleted(registry: Site) {
    let redis = with_redis(&registry).await;
    let digest = redis.manifest_digest("redis:5");
    let layer = Digest::sha256(b"layer of redis 1.0");
    let pushed = registry.put(REDIS, "5", MANIFEST, manifest(&registry, &digest).await).await;
    assert_eq!(pushed.status, 201);
    for path in ["manifests/5".to_owned(), format!("manifests/{digest}"), format!("blobs/{layer}")] {
        let answer = registry.delete(&format!("/v2/{REDIS}/{path}")).await;
        assert_eq!(refused(&answer), error(405, "DENIED"), "{path}");
        assert!(answer.text().contains("package redis 1.0 needs it: packages own their images"), "{}", answer.text());
        assert_eq!(registry.status(&format!("/v2/{REDIS}/{path}")).await, 200, "{path}");
    }
}

async fn what_was_pushed_beside_a_package_is_deleted(registry: Site) {
    with_redis(&registry).await;
    let image = registry.image(REDIS, "mine", "mine").await;
    for path in ["manifests/mine".to_owned(), format!("manifests/{}", image.digest), format!("blobs/{}", image.layer)] {
        assert_eq!(registry.delete(&format!("/v2/{REDIS}/{path}")).await.status, StatusCode::ACCEPTED, "{path}");
    }
    assert_eq!(registry.status(&format!("/v2/{REDIS}/manifests/5")).await, 200);
}

async fn a_push_of_what_a_package_has_keeps_both(registry: Site) {
    let redis = with_redis(&registry).await;
    let repository = REDIS.parse().unwrap();
    let (digest, layer) = (redis.manifest_digest("redis:5"), Digest::sha256(b"layer of redis 1.0"));
    let manifest_link = keys::manifest_link(&repository, &digest.parse().unwrap());
    let blob_link = keys::blob_link(&repository, &layer);
    let before = stored(&registry, &manifest_link).await;
    assert_eq!((before.get("pushed"), stored(&registry, &blob_link).await), (None, json!({})));

    registry.blob(REDIS, b"layer of redis 1.0").await;
    let bytes = manifest(&registry, &digest).await;
    assert_eq!(registry.put(REDIS, "mine", MANIFEST, bytes.clone()).await.status, 201);
    assert_eq!(registry.put(REDIS, "5", MANIFEST, bytes).await.status, 201);

    assert_eq!(stored(&registry, &blob_link).await, json!({ "pushed": true }));
    let after = stored(&registry, &manifest_link).await;
    assert_eq!((&after["mediaType"], &after["size"]), (&before["mediaType"], &before["size"]));
    let references = after["pushed"]["references"].as_array().unwrap();
    assert!(references.contains(&json!(layer.to_string())) && references.len() == 2, "{after}");
    let tag = |name: &str| keys::tag(&repository, &name.parse().unwrap());
    assert_eq!(stored(&registry, &tag("mine")).await["pushed"], json!(true));
    // A push of what is there doesn't make the package's tag its own.
    assert_eq!(stored(&registry, &tag("5")).await.get("pushed"), None);
}

async fn what_a_package_brought_can_be_mounted_and_built_upon(registry: Site) {
    let redis = with_redis(&registry).await;
    let layer = Digest::sha256(b"layer of redis 1.0");
    let path = format!("/v2/mine/blobs/uploads/?mount={layer}&from={REDIS}");
    let answer = registry.call(http::Method::POST, &path, &[], axum::body::Body::empty()).await;
    assert_eq!(answer.status, 201);
    let bytes = manifest(&registry, &redis.manifest_digest("redis:5")).await;
    let early = registry.put("mine", "1", MANIFEST, bytes.clone()).await;
    assert_eq!(codes(&early), ["MANIFEST_BLOB_UNKNOWN"]);
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    let config = config["config"]["digest"].as_str().unwrap();
    let path = format!("/v2/mine/blobs/uploads/?mount={config}&from={REDIS}");
    registry.call(http::Method::POST, &path, &[], axum::body::Body::empty()).await;
    assert_eq!(registry.put("mine", "1", MANIFEST, bytes).await.status, 201);
}

const SIGNATURE: &str = "application/vnd.example.signature";

/// A package whose image is signed by a manifest in its layout.
async fn with_signed_redis(registry: &Site) -> Package {
    let source = Source::start().await;
    let redis = package("redis", "1.0", "redis:5").referrer("redis:5", SIGNATURE, b"signature");
    registry.client().add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    redis
}

/// Withdraws the package, with all that it leaves for a while where several instances have the store.
async fn withdraw(registry: &Site) {
    registry.client().withdraw("u1").await;
    registry.keys_after_collection().await;
}

async fn referrers(registry: &Site, subject: &str) -> Vec<Value> {
    let answer = registry.get(&format!("/v2/{REDIS}/referrers/{subject}")).await;
    assert_eq!(answer.status, 200);
    answer.json()["manifests"].as_array().unwrap().clone()
}

async fn entries_of_referrers(registry: &Site) -> usize {
    registry.client().keys().await.iter().filter(|key| key.contains("/_referrers/")).count()
}

async fn what_a_package_says_of_its_images_is_listed_as_long_as_it_is_there(registry: Site) {
    let redis = with_signed_redis(&registry).await;
    let subject = redis.manifest_digest("redis:5");
    let signature = redis.referrer_bytes(0);
    let expected = json!({
        "mediaType": MANIFEST,
        "digest": Digest::sha256(&signature).to_string(),
        "size": signature.len(),
        "artifactType": SIGNATURE,
        "annotations": { "org.example.note": "of a package" },
    });
    assert_eq!(referrers(&registry, &subject).await, [expected]);
    assert_eq!(manifest(&registry, &Digest::sha256(&signature).to_string()).await, signature);
    withdraw(&registry).await;
    assert!(referrers(&registry, &subject).await.is_empty());
    assert_eq!(entries_of_referrers(&registry).await, 0);
}

async fn what_a_package_and_a_push_say_of_an_image_stays_until_neither_does(registry: Site) {
    let redis = with_signed_redis(&registry).await;
    let (subject, signature) = (redis.manifest_digest("redis:5"), redis.referrer_bytes(0));
    let digest = Digest::sha256(&signature).to_string();
    let pushed = registry.put(REDIS, &digest, MANIFEST, signature).await;
    assert_eq!((pushed.status.as_u16(), pushed.header("oci-subject")), (201, subject.as_str()));
    let listed = referrers(&registry, &subject).await;
    assert_eq!(listed.len(), 1);
    withdraw(&registry).await;
    assert_eq!(referrers(&registry, &subject).await, listed);
    assert_eq!(registry.delete(&format!("/v2/{REDIS}/manifests/{digest}")).await.status, 202);
    assert!(referrers(&registry, &subject).await.is_empty());
    assert_eq!(entries_of_referrers(&registry).await, 0);
}

async fn what_a_package_keeps_under_tags_beside_its_images_is_there_as_long_as_it_is(registry: Site) {
    let source = Source::start().await;
    let redis = package("redis", "1.0", "redis:5");
    let (redis, signature) = redis.attachment("redis:5", "sig", b"signature");
    let (redis, sbom) = redis.attachment("redis:5", "sbom", b"sbom");
    let client = registry.client();
    let declaration = client.add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    let images = declaration.package.unwrap().images;
    assert_eq!(images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["main"]);
    let mut tags = vec!["5".to_owned()];
    for name in [&sbom, &signature] {
        let tag = name.split(':').nth(1).unwrap();
        let bytes = manifest(&registry, tag).await;
        assert_eq!(Digest::sha256(&bytes).to_string(), redis.manifest_digest(name));
        let layer = serde_json::from_slice::<Value>(&bytes).unwrap()["layers"][0]["digest"].take();
        assert_eq!(registry.status(&format!("/v2/{REDIS}/blobs/{}", layer.as_str().unwrap())).await, 200);
        let refused = registry.delete(&format!("/v2/{REDIS}/manifests/{tag}")).await;
        assert!(refused.text().contains("packages own their images"), "{}", refused.text());
        tags.push(tag.to_owned());
    }
    assert_eq!(registry.get(&format!("/v2/{REDIS}/tags/list")).await.json()["tags"], json!(tags));
    withdraw(&registry).await;
    registry.gone(&format!("/v2/{REDIS}/tags/list")).await;
    for tag in &tags {
        registry.gone(&format!("/v2/{REDIS}/manifests/{tag}")).await;
    }
    assert_eq!(registry.keys().await.iter().filter(|key| key.starts_with("repositories/")).count(), 0);
}
