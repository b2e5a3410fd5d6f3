//! `/v2/`, `/repo`, `/resource` and `/health`, on packages that came in as bundles.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use axum::body::Body;
use common::bundles::{MANIFEST_TYPE, Package, package};
use common::source::Source;
use common::{Client, client, spec};
use http::{Method, StatusCode};
use server::digest::Digest;

const REDIS: &str = "docker.io/library/redis";

async fn with_redis() -> (Client, Package) {
    let (client, source) = (client().await, Source::start().await);
    let redis = package("redis", "1.0", "redis:5");
    client.add("u1", &spec(&source.bytes("redis", redis.bytes()))).await;
    (client, redis)
}

fn layer() -> (String, Vec<u8>) {
    let content = b"layer of redis 1.0".to_vec();
    (format!("/v2/{REDIS}/blobs/{}", Digest::sha256(&content)), content)
}

fn code(answer: &common::Answer) -> String {
    answer.json()["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let client = client().await;
    for path in ["/v2", "/v2/"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "{}"));
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(answer.header("content-length"), "2");
    }
}

#[tokio::test]
async fn a_manifest_is_served_by_tag_and_by_digest() {
    let (client, redis) = with_redis().await;
    let digest = redis.manifest_digest("redis:5");
    let by_tag = client.get(&format!("/v2/{REDIS}/manifests/5")).await;
    let by_digest = client.get(&format!("/v2/{REDIS}/manifests/{digest}")).await;
    for answer in [&by_tag, &by_digest] {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), MANIFEST_TYPE);
        assert_eq!(answer.header("docker-content-digest"), digest);
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(Digest::sha256(&answer.body).to_string(), digest);
    }
    let head = client.call(Method::HEAD, &format!("/v2/{REDIS}/manifests/5"), &[], Body::empty()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), by_tag.body.len().to_string());
    assert_eq!(head.header("docker-content-digest"), digest);
}

#[tokio::test]
async fn a_blob_is_served_whole_and_in_ranges() {
    let ((client, _), (path, content)) = (with_redis().await, layer());
    let answer = client.get(&path).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &content[..]));
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("content-length"), content.len().to_string());
    let size = content.len();
    for (range, part, named) in [
        ("bytes=0-4", &content[..5], format!("bytes 0-4/{size}")),
        ("bytes=6-", &content[6..], format!("bytes 6-{}/{size}", size - 1)),
        ("bytes=-3", &content[size - 3..], format!("bytes {}-{}/{size}", size - 3, size - 1)),
        ("bytes=2-999", &content[2..], format!("bytes 2-{}/{size}", size - 1)),
    ] {
        let answer = client.get_with(&path, &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(&answer.body[..], part, "{range}");
        assert_eq!(answer.header("content-range"), named);
        assert_eq!(answer.header("content-length"), part.len().to_string());
    }
    let head = client.call(Method::HEAD, &path, &[("range", "bytes=0-1")], Body::empty()).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, size.to_string().as_str()));
}

#[tokio::test]
async fn a_range_outside_of_a_blob_is_416_with_its_size() {
    let ((client, _), (path, content)) = (with_redis().await, layer());
    for range in ["bytes=999-", "bytes=-0"] {
        let answer = client.get_with(&path, &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes */{}", content.len()));
    }
    let several = client.get_with(&path, &[("range", "bytes=0-1,3-4")]).await;
    assert_eq!(several.status, StatusCode::OK);
    let changed = client.get_with(&path, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await;
    assert_eq!(changed.status, StatusCode::OK);
}

#[tokio::test]
async fn who_has_an_object_already_gets_304() {
    let ((client, redis), (path, _)) = (with_redis().await, layer());
    let tag = format!("\"{}\"", redis.manifest_digest("redis:5"));
    let manifest = client.get_with(&format!("/v2/{REDIS}/manifests/5"), &[("if-none-match", &tag)]).await;
    assert_eq!((manifest.status, manifest.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let etag = client.get(&path).await.header("etag").to_owned();
    let blob = client.get_with(&path, &[("if-none-match", &etag)]).await;
    assert_eq!(blob.status, StatusCode::NOT_MODIFIED);
    let other = client.get_with(&path, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn a_blob_is_served_only_by_repositories_that_have_it() {
    let (client, source) = (client().await, Source::start().await);
    let both = package("redis", "1.0", "redis:5").image("other", "nginx:1", b"nginx");
    client.add("u1", &spec(&source.bytes("x", both.bytes()))).await;
    let (path, _) = layer();
    assert_eq!(client.get(&path).await.status, StatusCode::OK);
    let foreign = path.replace(REDIS, "docker.io/library/nginx");
    for path in [foreign.clone(), foreign.replace("docker.io/library/nginx", "a")] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"));
    }
    let conditional = client.get_with(&foreign, &[("if-none-match", "*")]).await;
    assert_eq!(conditional.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_specifications_form() {
    let (client, _) = with_redis().await;
    let none = Digest::sha256(b"none");
    for (path, status, wanted) in [
        (format!("/v2/{REDIS}/manifests/6"), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/{REDIS}/manifests/{none}"), 404, "MANIFEST_UNKNOWN"),
        ("/v2/none/manifests/5".to_owned(), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/{REDIS}/blobs/{none}"), 404, "BLOB_UNKNOWN"),
        (format!("/v2/{REDIS}/blobs/sha256:12"), 400, "DIGEST_INVALID"),
        ("/v2/UPPER/manifests/5".to_owned(), 400, "NAME_INVALID"),
        ("/v2/a/%2e%2e/manifests/5".to_owned(), 400, "NAME_INVALID"),
        ("/v2/none/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        (format!("/v2/{REDIS}/tags/list?n=x"), 400, "UNSUPPORTED"),
    ] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, wanted), "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

#[tokio::test]
async fn tags_come_in_pages_with_a_path_to_the_next() {
    let (client, source) = (client().await, Source::start().await);
    let tags = ["1", "10", "2", "beta"];
    for tag in tags {
        let image = format!("redis:{tag}");
        let url = source.bytes(tag, package("redis", tag, &image).bytes());
        client.add(tag, &spec(&url)).await;
    }
    let whole = client.get(&format!("/v2/{REDIS}/tags/list")).await;
    assert_eq!(whole.json(), serde_json::json!({ "name": REDIS, "tags": tags }));
    assert_eq!(whole.header("link"), "");
    let (mut path, mut found) = (format!("/v2/{REDIS}/tags/list?n=3"), Vec::new());
    loop {
        let page = client.get(&path).await;
        found.extend(page.json()["tags"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()));
        let link = page.header("link");
        if link.is_empty() {
            break;
        }
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        assert!(path.starts_with("/v2/"), "{path}");
    }
    assert_eq!(found, tags);
    let none = client.get(&format!("/v2/{REDIS}/tags/list?n=0")).await;
    assert_eq!((none.json()["tags"].as_array().unwrap().len(), none.header("link")), (0, ""));
    let huge = client.get(&format!("/v2/{REDIS}/tags/list?n=1000000000000000000000")).await;
    assert_eq!(huge.json()["tags"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_catalog_lists_every_repository_once_in_pages() {
    let (client, source) = (client().await, Source::start().await);
    let mut all = Package::new("many", "1");
    let images = ["a.test/a", "a.test/a/b", "a.test/a/b/c", "a.test/a-b", "a.test/1", "b.test/x", "redis"];
    for (n, image) in images.iter().enumerate() {
        all = all.image(&format!("image{n}"), &format!("{image}:1"), image.as_bytes());
    }
    client.add("u1", &spec(&source.bytes("x", all.bytes()))).await;
    let mut wanted =
        vec!["a.test/1", "a.test/a-b", "a.test/a", "a.test/a/b", "a.test/a/b/c", "b.test/x", "docker.io/library/redis"];
    let list = |answer: &common::Answer| -> Vec<String> {
        let json = answer.json();
        json["repositories"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list(&client.get("/v2/_catalog").await), wanted);
    for n in 1..=3 {
        let (mut found, mut path) = (Vec::new(), format!("/v2/_catalog?n={n}"));
        loop {
            let page = client.get(&path).await;
            assert!(list(&page).len() <= n);
            found.extend(list(&page));
            match page.header("link").split_once('>') {
                Some((next, _)) => path = next[1..].to_owned(),
                None => break,
            }
        }
        assert_eq!(found, wanted, "pages of {n}");
    }
    wanted.retain(|name| *name > "a.test/a/b");
    assert_eq!(list(&client.get("/v2/_catalog?last=a.test/a/b").await), wanted);
}

#[tokio::test]
async fn the_repository_document_has_the_consumers_form() {
    let (client, redis) = with_redis().await;
    let answer = client.get("/repo").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("vary"), "Accept, User-Agent, Accept-Encoding");
    assert_eq!(answer.header("content-encoding"), "");
    let document = answer.json();
    let found = &document["packages"][0];
    assert_eq!((found["name"].as_str(), found["releaseVersion"].as_u64()), (Some("redis"), Some(1_700_000_000)));
    let image = found["resource"]["assets"]["container"]["docker"]["main"].as_str().unwrap();
    assert!(image.starts_with("registry.test/docker.io/library/redis"), "{image}");
    assert!(image.ends_with(&redis.manifest_digest("redis:5")), "{image}");
    let known = client.get_with("/repo", &[("if-none-match", answer.header("etag"))]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    let head = client.call(Method::HEAD, "/repo", &[], Body::empty()).await;
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
}

#[tokio::test]
async fn the_version_of_the_document_follows_accept() {
    let (client, source) = (client().await, Source::start().await);
    let mut five = Package::new("five", "1");
    five.metadata["packagingVersion"] = "5.0".into();
    client.add("u5", &spec(&source.bytes("5", five.bytes()))).await;
    let mut four = Package::new("four", "1");
    four.metadata["upgradesFrom"] = serde_json::json!(["*"]);
    client.add("u4", &spec(&source.bytes("4", four.bytes()))).await;
    for (version, names, packaging) in [("v5", 2, "4.0"), ("v4", 1, "4.0"), ("v3", 1, "3.0")] {
        let accept = format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version={version}");
        let answer = client.get_with("/repo", &[("accept", &accept)]).await;
        assert_eq!(answer.header("content-type"), accept);
        let packages = answer.json()["packages"].as_array().unwrap().clone();
        assert_eq!(packages.len(), names, "{version}");
        let four = packages.iter().find(|p| p["name"] == "four").unwrap();
        assert_eq!(four["packagingVersion"], packaging, "{version}");
    }
    assert_eq!(client.get_with("/repo", &[("accept", "text/html")]).await.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_package_is_hidden_from_clusters_that_are_too_old() {
    let (client, source) = (client().await, Source::start().await);
    let mut newer = Package::new("newer", "1");
    newer.metadata["minDcosReleaseVersion"] = "2.0".into();
    client.add("u1", &spec(&source.bytes("x", newer.bytes()))).await;
    let old = client.get_with("/repo", &[("user-agent", "cosmos/0.6.3 dcos/1.13")]).await;
    assert_eq!(old.text(), r#"{"packages":[]}"#);
    let new = client.get_with("/repo", &[("user-agent", "cosmos/0.6.3 dcos/2.1.0")]).await;
    assert_eq!(new.json()["packages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_name_alone_is_a_document_of_its_own() {
    let (client, _) = with_redis().await;
    assert_eq!(client.get("/package/redis").await.json()["packages"].as_array().unwrap().len(), 1);
    let unknown = client.get("/package/none").await;
    assert_eq!((unknown.status, unknown.json()["type"].as_str()), (StatusCode::NOT_FOUND, Some("NotFound")));
}

#[tokio::test]
async fn files_are_served_under_the_addresses_that_the_document_hands_out() {
    let (client, _) = with_redis().await;
    let document = client.get("/repo").await.json();
    let address = document["packages"][0]["resource"]["assets"]["uris"]["asset"].as_str().unwrap().to_owned();
    let path = address.strip_prefix("https://registry.test").unwrap();
    for path in [path.to_owned(), path.replace("sha256:", "sha256%3A")] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "asset of redis 1.0"));
        assert_eq!(answer.header("content-type"), "application/gzip");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("content-length"), "18");
        assert_eq!(answer.header("content-encoding"), "");
    }
    let part = client.get_with(path, &[("range", "bytes=0-4")]).await;
    assert_eq!((part.status, part.text()), (StatusCode::PARTIAL_CONTENT, "asset"));
    let outside = client.get_with(path, &[("range", "bytes=99-")]).await;
    assert_eq!((outside.status, outside.header("content-range")), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */18"));
    for wrong in [
        path.replace("asset.tar", "other.tar"),
        path.replacen("/resource/", "/resource/a", 1),
        path.replace("sha256:", "sha256:0"),
    ] {
        let answer = client.get(&wrong).await;
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (StatusCode::NOT_FOUND, Some("NotFound")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn health_counts_the_packages() {
    let wanted = r#"{"checks":{"/repo":{"Healthy":{"message":"Able to find 0 package(s)."}}}}"#;
    let empty = client().await;
    for path in ["/", "/health"] {
        let answer = empty.get(path).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, wanted));
    }
    let (client, _) = with_redis().await;
    assert!(client.get("/health").await.text().contains("Able to find 1 package(s)."));
}

#[tokio::test]
async fn the_api_describes_packages_and_the_server() {
    let (client, redis) = with_redis().await;
    let list = client.get("/api/v1/packages").await.json();
    let one = client.get("/api/v1/packages/redis/1.0").await.json();
    assert_eq!(list["packages"][0], one);
    assert_eq!((one["status"].as_str(), one["managedBy"].as_str()), (Some("Added"), Some("u1")));
    let reference = format!("{REDIS}:5@{}", redis.manifest_digest("redis:5"));
    assert_eq!(one["images"][0]["reference"], reference);
    assert_eq!(one["images"][0]["platforms"], serde_json::json!(["linux/amd64"]));
    let unknown = client.get("/api/v1/packages/redis/2.0").await;
    assert_eq!(unknown.json()["message"], "Version [2.0] of package [redis] not found");
    let status = client.get("/api/v1/status").await.json();
    assert_eq!(status["packages"], 1);
    assert!(status["usedBytes"].as_u64().unwrap() > 18);
}

#[tokio::test]
async fn what_no_route_knows_is_not_found_and_other_methods_are_named() {
    let client = client().await;
    assert_eq!(client.get("/nothing").await.status, StatusCode::NOT_FOUND);
    let answer = client.call(Method::POST, "/repo", &[], "x").await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}
