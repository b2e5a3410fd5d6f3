//! Section "Listing referrers".

use serde_json::{Value, json};
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{INDEX, MANIFEST, REPO, document, error, next_page, refused};

crate::on_stores! {
    the_list_is_an_index_with_what_each_referrer_says_of_itself
    without_referrers_the_list_is_empty_never_404
    the_list_can_be_of_one_artifact_type
    a_digest_that_is_none_is_refused
    a_referrer_that_is_deleted_leaves_the_list
    a_long_list_comes_in_pages
    the_same_referrer_is_listed_once
}

fn about(subject: &Digest, config: &str, artifact_type: Option<&str>, annotation: &str) -> Value {
    let mut referrer = document(config, "l");
    referrer["subject"] = json!({ "mediaType": MANIFEST, "digest": subject.to_string(), "size": 1 });
    referrer["annotations"] = json!({ "org.example.note": annotation });
    if let Some(artifact_type) = artifact_type {
        referrer["artifactType"] = json!(artifact_type);
    }
    referrer
}

async fn prepared(registry: &Site) -> Digest {
    registry.blob(REPO, b"c").await;
    registry.blob(REPO, b"l").await;
    registry.image(REPO, "1", "a").await.digest
}

async fn list(registry: &Site, path: &str) -> Vec<Value> {
    let answer = registry.get(path).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, INDEX), "{path}");
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)));
    index["manifests"].as_array().unwrap().clone()
}

async fn the_list_is_an_index_with_what_each_referrer_says_of_itself(registry: Site) {
    let subject = prepared(&registry).await;
    let typed = about(&subject, "c", Some("application/vnd.example.sbom"), "one");
    let untyped = about(&subject, "c", None, "two");
    let mut wanted = Vec::new();
    for (referrer, artifact_type) in
        [(&typed, "application/vnd.example.sbom"), (&untyped, "application/vnd.oci.image.config.v1+json")]
    {
        let digest = registry.accept(REPO, "r", referrer).await;
        wanted.push(json!({
            "mediaType": MANIFEST,
            "digest": digest.to_string(),
            "size": referrer.to_string().len(),
            "artifactType": artifact_type,
            "annotations": referrer["annotations"],
        }));
    }
    wanted.sort_by_key(|descriptor| descriptor["digest"].to_string());
    assert_eq!(list(&registry, &format!("/v2/{REPO}/referrers/{subject}")).await, wanted);
    // Another repository knows nothing of it.
    assert!(list(&registry, &format!("/v2/other/referrers/{subject}")).await.is_empty());
}

async fn without_referrers_the_list_is_empty_never_404(registry: Site) {
    let subject = prepared(&registry).await;
    let none = Digest::sha256(b"none");
    for path in [
        format!("/v2/{REPO}/referrers/{subject}"),
        format!("/v2/{REPO}/referrers/{none}"),
        format!("/v2/none/referrers/{none}"),
    ] {
        assert!(list(&registry, &path).await.is_empty());
    }
}

async fn the_list_can_be_of_one_artifact_type(registry: Site) {
    let subject = prepared(&registry).await;
    for kind in ["sbom", "signature"] {
        let artifact_type = format!("application/vnd.example.{kind}");
        registry.accept(REPO, kind, &about(&subject, "c", Some(&artifact_type), kind)).await;
    }
    let path = format!("/v2/{REPO}/referrers/{subject}");
    let answer = registry.get(&format!("{path}?artifactType=application%2Fvnd.example.sbom")).await;
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    let found = answer.json()["manifests"].as_array().unwrap().clone();
    assert_eq!((found.len(), &found[0]["annotations"]["org.example.note"]), (1, &json!("sbom")));
    assert!(list(&registry, &format!("{path}?artifactType=a/b")).await.is_empty());
    assert_eq!(registry.get(&path).await.header("oci-filters-applied"), "");
}

async fn a_digest_that_is_none_is_refused(registry: Site) {
    for digest in ["x", "sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = registry.get(&format!("/v2/{REPO}/referrers/{digest}")).await;
        assert_eq!(refused(&answer), error(400, "DIGEST_INVALID"), "{digest}");
    }
}

async fn a_referrer_that_is_deleted_leaves_the_list(registry: Site) {
    let subject = prepared(&registry).await;
    let digest = registry.accept(REPO, "r", &about(&subject, "c", None, "one")).await;
    let path = format!("/v2/{REPO}/referrers/{subject}");
    assert_eq!(list(&registry, &path).await.len(), 1);
    assert_eq!(registry.delete(&format!("/v2/{REPO}/manifests/{digest}")).await.status, 202);
    assert!(list(&registry, &path).await.is_empty());
}

async fn a_long_list_comes_in_pages(registry: Site) {
    let subject = prepared(&registry).await;
    let long = "x".repeat(1_500_000);
    for n in 0..5 {
        registry.accept(REPO, "r", &about(&subject, "c", Some("a/b"), &format!("{n}{long}"))).await;
    }
    let (mut path, mut found) = (format!("/v2/{REPO}/referrers/{subject}?artifactType=a%2Fb"), Vec::new());
    let mut pages = 0;
    while !path.is_empty() {
        let answer = registry.get(&path).await;
        assert!(answer.body.len() <= 4 << 20);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        found.extend(answer.json()["manifests"].as_array().unwrap().iter().map(|m| m["digest"].to_string()));
        path = next_page(&answer);
        assert!(path.is_empty() || path.starts_with("/v2/"), "{path}");
        pages += 1;
    }
    found.dedup();
    assert_eq!((found.len(), pages), (5, 3));
}

async fn the_same_referrer_is_listed_once(registry: Site) {
    let subject = prepared(&registry).await;
    for tag in ["r", "s"] {
        registry.accept(REPO, tag, &about(&subject, "c", None, "one")).await;
    }
    assert_eq!(list(&registry, &format!("/v2/{REPO}/referrers/{subject}")).await.len(), 1);
}
