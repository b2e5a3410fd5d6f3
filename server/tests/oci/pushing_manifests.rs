//! Section "Pushing manifests".

use axum::body::Body;
use futures::stream;
use http::Method;
use serde_json::{Value, json};
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{CONFIG, INDEX, LAYER, MANIFEST, REPO, codes, descriptor, document, error, refused, sha512};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const LIMIT: usize = 4 << 20;

crate::on_stores! {
    a_manifest_is_201_and_says_where_it_is
    a_manifest_may_be_put_by_its_digest_alone
    a_digest_that_does_not_fit_is_refused
    what_a_manifest_needs_must_be_in_its_repository
    layers_that_may_not_be_passed_on_need_not_be_there
    the_manifests_of_an_index_must_be_there
    docker_images_and_lists_are_taken
    artifacts_are_taken
    parameters_of_the_media_type_are_ignored
    header_and_document_must_agree
    what_is_wrong_is_named_by_its_place
    a_document_that_could_be_two_things_is_refused
    a_manifest_may_have_4_mib_and_no_more
    a_tag_moves_to_what_is_pushed_last
    a_reference_that_is_none_is_refused
    an_image_may_have_no_layers
}

async fn a_manifest_is_201_and_says_where_it_is(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let answer = registry.put(REPO, "2", MANIFEST, image.bytes.clone()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v2/{REPO}/manifests/{}", image.digest));
    assert_eq!(answer.header("docker-content-digest"), image.digest.to_string());
    assert_eq!(answer.header("oci-subject"), "");
    assert_eq!(registry.get(answer.header("location")).await.body, image.bytes);
    assert_eq!(registry.get(&format!("/v2/{REPO}/manifests/2")).await.body, image.bytes);
}

async fn a_manifest_may_be_put_by_its_digest_alone(registry: Site) {
    for (config, layer) in [("c", "l"), ("c", "m")] {
        registry.blob(REPO, config.as_bytes()).await;
        registry.blob(REPO, layer.as_bytes()).await;
        let bytes = document(config, layer).to_string();
        for digest in [Digest::sha256(bytes.as_bytes()), sha512(bytes.as_bytes())] {
            let answer = registry.put(REPO, &digest.to_string(), MANIFEST, bytes.clone()).await;
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert_eq!(registry.get(&format!("/v2/{REPO}/manifests/{digest}")).await.text(), bytes);
        }
    }
    let tags = registry.get(&format!("/v2/{REPO}/tags/list")).await;
    assert_eq!(tags.json()["tags"], json!([]));
}

/// Fault 36.
async fn a_digest_that_does_not_fit_is_refused(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let wrong = Digest::sha256(b"other").to_string();
    let answer = registry.put(REPO, &wrong, MANIFEST, image.bytes).await;
    assert_eq!(refused(&answer), error(400, "DIGEST_INVALID"));
    assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/{wrong}")).await, 404);
    for digest in ["sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = registry.put(REPO, digest, MANIFEST, "{}").await;
        assert_eq!(refused(&answer), error(400, "DIGEST_INVALID"), "{digest}");
    }
}

async fn what_a_manifest_needs_must_be_in_its_repository(registry: Site) {
    registry.blob("other", b"c").await;
    registry.blob("other", b"l").await;
    let answer = registry.put(REPO, "1", MANIFEST, document("c", "l").to_string()).await;
    assert_eq!((answer.status.as_u16(), codes(&answer)), (404, vec!["MANIFEST_BLOB_UNKNOWN".to_owned(); 2]));
    let named: Vec<_> =
        answer.json()["errors"].as_array().unwrap().iter().map(|e| e["detail"]["digest"].clone()).collect();
    for content in ["c", "l"] {
        assert!(named.contains(&json!(Digest::sha256(content.as_bytes()).to_string())), "{named:?}");
    }
    assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/1")).await, 404);
    registry.blob(REPO, b"c").await;
    let answer = registry.put(REPO, "1", MANIFEST, document("c", "l").to_string()).await;
    assert_eq!(codes(&answer), ["MANIFEST_BLOB_UNKNOWN"]);
    registry.blob(REPO, b"l").await;
    registry.accept(REPO, "1", &document("c", "l")).await;
}

async fn layers_that_may_not_be_passed_on_need_not_be_there(registry: Site) {
    registry.blob(REPO, b"c").await;
    for foreign in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let mut image = document("c", "foreign");
        image["layers"][0]["mediaType"] = json!(foreign);
        image["layers"][0]["urls"] = json!(["https://elsewhere.test/layer"]);
        registry.accept(REPO, "1", &image).await;
    }
}

/// The specification lets a registry refuse an index whose manifests are not there; this one does.
async fn the_manifests_of_an_index_must_be_there(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let child = |bytes: &[u8]| {
        let mut child = descriptor(MANIFEST, bytes);
        child["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        child
    };
    let index = |children: Vec<Value>| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
    let sparse = index(vec![child(&image.bytes), child(b"none")]);
    let answer = registry.put(REPO, "all", INDEX, sparse.to_string()).await;
    assert_eq!((refused(&answer), codes(&answer).len()), (error(404, "MANIFEST_BLOB_UNKNOWN"), 1));
    // A blob of the same bytes is no manifest.
    registry.blob(REPO, b"none").await;
    let answer = registry.put(REPO, "all", INDEX, sparse.to_string()).await;
    assert_eq!(refused(&answer), error(404, "MANIFEST_BLOB_UNKNOWN"));
    let whole = index(vec![child(&image.bytes)]);
    registry.accept(REPO, "all", &whole).await;
    let mut nested = descriptor(INDEX, whole.to_string().as_bytes());
    nested["annotations"] = json!({ "a": "b" });
    registry.accept(REPO, "nested", &index(vec![nested])).await;
    registry.accept(REPO, "empty", &index(vec![])).await;
    // What build tools keep as a cache is an index of layers.
    let cache = index(vec![descriptor(LAYER, b"layer of a")]);
    registry.accept(REPO, "cache", &cache).await;
}

async fn docker_images_and_lists_are_taken(registry: Site) {
    registry.blob(REPO, b"c").await;
    registry.blob(REPO, b"l").await;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER,
        "config": descriptor("application/vnd.docker.container.image.v1+json", b"c"),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", b"l")],
    });
    registry.accept(REPO, "1", &image).await;
    let list = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [descriptor(DOCKER, image.to_string().as_bytes())],
    });
    registry.accept(REPO, "list", &list).await;
    for (reference, media_type) in [("1", DOCKER), ("list", DOCKER_LIST)] {
        let answer = registry.get(&format!("/v2/{REPO}/manifests/{reference}")).await;
        assert_eq!(answer.header("content-type"), media_type);
    }
    let first_schema = registry.put(REPO, "1", "application/vnd.docker.distribution.manifest.v1+prettyjws", "{}").await;
    assert_eq!(refused(&first_schema), error(400, "MANIFEST_INVALID"));
}

async fn artifacts_are_taken(registry: Site) {
    registry.blob(REPO, b"{}").await;
    registry.blob(REPO, b"content").await;
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.thing",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.example.content", b"content")],
        "something.of.its.own": { "a": [1, 2] },
    });
    registry.accept(REPO, "1", &artifact).await;
    let draft = json!({
        "mediaType": ARTIFACT,
        "artifactType": "application/vnd.example.thing",
        "blobs": [descriptor("application/vnd.example.content", b"content")],
    });
    registry.accept(REPO, "2", &draft).await;
    let missing = json!({ "mediaType": ARTIFACT, "blobs": [descriptor("a/b", b"none")] });
    let answer = registry.put(REPO, "3", ARTIFACT, missing.to_string()).await;
    assert_eq!(refused(&answer), error(404, "MANIFEST_BLOB_UNKNOWN"));
}

async fn parameters_of_the_media_type_are_ignored(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let answer = registry.put(REPO, "2", &format!("{MANIFEST}; charset=utf-8"), image.bytes).await;
    assert_eq!(answer.status, 201);
    assert_eq!(registry.get(&format!("/v2/{REPO}/manifests/2")).await.header("content-type"), MANIFEST);
}

async fn header_and_document_must_agree(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let answer = registry.put(REPO, "2", DOCKER, image.bytes.clone()).await;
    assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"));
    assert!(answer.text().contains("mediaType: "), "{}", answer.text());
    let path = format!("/v2/{REPO}/manifests/2");
    // The document says it alone.
    assert_eq!(registry.call(Method::PUT, &path, &[], image.bytes).await.status, 201);
}

async fn what_is_wrong_is_named_by_its_place(registry: Site) {
    let mut wrong = document("c", "l");
    wrong["layers"][0]["digest"] = json!("sha256:12");
    let answer = registry.put(REPO, "1", MANIFEST, wrong.to_string()).await;
    assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"));
    assert!(answer.text().contains("layers[0].digest"), "{}", answer.text());
    for text in ["", "{", "[]", "null", "{\"schemaVersion\":2}", &format!("{}{}", document("c", "l"), "x")] {
        let answer = registry.put(REPO, "1", MANIFEST, text.to_owned()).await;
        assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"), "{text}");
    }
    let deep = "[".repeat(200_000);
    let answer = registry.put(REPO, "1", MANIFEST, deep).await;
    assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"));
}

/// As CVE-2021-41190: who reads `manifests` must not see something else than who reads `layers`.
async fn a_document_that_could_be_two_things_is_refused(registry: Site) {
    let image = registry.image(REPO, "1", "a").await;
    let mut both: Value = serde_json::from_slice(&image.bytes).unwrap();
    both["manifests"] = json!([]);
    both.as_object_mut().unwrap().remove("mediaType");
    for media_type in [MANIFEST, INDEX, DOCKER, DOCKER_LIST] {
        let answer = registry.put(REPO, "2", media_type, both.to_string()).await;
        assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"), "{media_type}");
    }
}

/// Fault 36. Counted while it comes, whatever the headers say.
async fn a_manifest_may_have_4_mib_and_no_more(registry: Site) {
    registry.blob(REPO, b"c").await;
    registry.blob(REPO, b"l").await;
    let mut large = document("c", "l");
    large["annotations"] = json!({ "a": "" });
    let room = LIMIT - large.to_string().len();
    large["annotations"]["a"] = json!("x".repeat(room));
    assert_eq!(large.to_string().len(), LIMIT);
    registry.accept(REPO, "1", &large).await;
    large["annotations"]["a"] = json!("x".repeat(room + 1));
    let known = registry.put(REPO, "2", MANIFEST, large.to_string()).await;
    assert_eq!(refused(&known), error(413, "MANIFEST_INVALID"));
    let endless = Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])));
    let path = format!("/v2/{REPO}/manifests/2");
    let unknown = registry.call(Method::PUT, &path, &[("content-type", MANIFEST)], endless).await;
    assert_eq!(refused(&unknown), error(413, "MANIFEST_INVALID"));
}

async fn a_tag_moves_to_what_is_pushed_last(registry: Site) {
    let first = registry.image(REPO, "1", "a").await;
    let second = registry.image(REPO, "1", "b").await;
    let answer = registry.get(&format!("/v2/{REPO}/manifests/1")).await;
    assert_eq!(answer.header("docker-content-digest"), second.digest.to_string());
    assert_eq!(registry.status(&format!("/v2/{REPO}/manifests/{}", first.digest)).await, 200);
}

async fn a_reference_that_is_none_is_refused(registry: Site) {
    for tag in [".x", "-x", &"x".repeat(129), "a%20b", "%2e%2e"] {
        let answer = registry.put(REPO, tag, MANIFEST, "{}").await;
        assert_eq!(refused(&answer), error(400, "MANIFEST_INVALID"), "{tag}");
    }
}

async fn an_image_may_have_no_layers(registry: Site) {
    registry.blob(REPO, b"c").await;
    for layers in [json!([]), Value::Null] {
        let image = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, b"c"), "layers": layers,
        });
        registry.accept(REPO, "1", &image).await;
    }
}
