//! Section "Pushing manifests with subject", and the tags that clients keep where a registry has no list of referrers.

use serde_json::{Value, json};
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{INDEX, MANIFEST, REPO, descriptor, document};

crate::on_stores! {
    the_answer_says_that_the_subject_was_taken_note_of
    the_subject_need_not_be_there
    an_index_may_have_a_subject
    a_referrers_tag_of_a_client_is_a_tag_like_others
}

fn about(subject: &[u8], word: &str) -> Value {
    let mut signature = document("c", "l");
    signature["subject"] = descriptor(MANIFEST, subject);
    signature["artifactType"] = json!(format!("application/vnd.example.{word}"));
    signature
}

async fn blobs(registry: &Site) {
    registry.blob(REPO, b"c").await;
    registry.blob(REPO, b"l").await;
}

async fn the_answer_says_that_the_subject_was_taken_note_of(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    blobs(&registry).await;
    let signature = about(&image.bytes, "signature").to_string();
    let digest = Digest::sha256(signature.as_bytes()).to_string();
    let answer = registry.put(REPO, &digest, MANIFEST, signature).await;
    assert_eq!((answer.status.as_u16(), answer.header("oci-subject")), (201, &*image.digest.to_string()));
}

async fn the_subject_need_not_be_there(registry: Site) {
    blobs(&registry).await;
    let signature = about(b"comes later", "signature").to_string();
    let answer = registry.put(REPO, "signature", MANIFEST, signature).await;
    let subject = Digest::sha256(b"comes later");
    assert_eq!((answer.status.as_u16(), answer.header("oci-subject")), (201, &*subject.to_string()));
    let list = registry.get(&format!("/v2/{REPO}/referrers/{subject}")).await;
    assert_eq!(list.json()["manifests"].as_array().unwrap().len(), 1);
}

async fn an_index_may_have_a_subject(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": descriptor(MANIFEST, &image.bytes),
    });
    let answer = registry.put(REPO, "about", INDEX, index.to_string()).await;
    assert_eq!(answer.header("oci-subject"), image.digest.to_string());
    let list = registry.get(&format!("/v2/{REPO}/referrers/{}", image.digest)).await.json();
    // Neither has an artifact type of its own nor a config to take it from.
    assert_eq!(list["manifests"][0].get("artifactType"), None);
}

async fn a_referrers_tag_of_a_client_is_a_tag_like_others(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    blobs(&registry).await;
    let signature = about(&image.bytes, "signature");
    registry.accept(REPO, "signature", &signature).await;
    let tag = image.digest.to_string().replace(':', "-");
    let entry = descriptor(MANIFEST, signature.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    let digest = registry.accept(REPO, &tag, &index).await;
    let answer = registry.get(&format!("/v2/{REPO}/manifests/{tag}")).await;
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    // The list doesn't need it, and is not changed by it.
    let list = registry.get(&format!("/v2/{REPO}/referrers/{}", image.digest)).await.json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(registry.delete(&format!("/v2/{REPO}/manifests/{tag}")).await.status, 202);
    let list = registry.get(&format!("/v2/{REPO}/referrers/{}", image.digest)).await.json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}
