//! Section "Listing tags", and the catalogue of repositories, which clients use although the specification has it no more.

use serde_json::json;

use crate::common::site::Site;
use crate::registry::{REPO, error, next_page, refused};

crate::on_stores! {
    tags_are_listed_in_the_order_of_their_bytes
    a_repository_without_tags_has_an_empty_list
    a_repository_that_is_not_there_is_404
    n_limits_the_page_and_a_link_leads_to_the_next
    n_0_is_an_empty_page_without_a_link
    last_begins_behind_a_tag_whether_it_is_there_or_not
    an_n_that_is_none_is_refused_and_a_huge_one_is_a_page
    repositories_are_listed_in_pages
}

async fn tagged(registry: &Site, tags: &[&str]) {
    let image = registry.image(REPO, tags[0], "a").await;
    for tag in &tags[1..] {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        assert_eq!(registry.put(REPO, tag, media_type, image.bytes.clone()).await.status, 201);
    }
}

async fn tags_are_listed_in_the_order_of_their_bytes(registry: Site) {
    tagged(&registry, &["b", "a", "10", "9", "B", "_x", "latest"]).await;
    let answer = registry.get(&format!("/v2/{REPO}/tags/list")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({ "name": REPO, "tags": ["10", "9", "B", "_x", "a", "b", "latest"] }));
    assert_eq!(answer.header("link"), "");
}

async fn a_repository_without_tags_has_an_empty_list(registry: Site) {
    registry.blob(REPO, b"content").await;
    let answer = registry.get(&format!("/v2/{REPO}/tags/list")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["tags"].clone()), (200, json!([])));
}

async fn a_repository_that_is_not_there_is_404(registry: Site) {
    registry.blob(REPO, b"content").await;
    // Neither one that nobody has pushed to, nor the folder of one.
    for name in ["none", "docker.io/library"] {
        let answer = registry.get(&format!("/v2/{name}/tags/list")).await;
        assert_eq!(refused(&answer), error(404, "NAME_UNKNOWN"), "{name}");
    }
}

async fn n_limits_the_page_and_a_link_leads_to_the_next(registry: Site) {
    let tags = ["a", "b", "c", "d", "e"];
    tagged(&registry, &tags).await;
    let (mut path, mut found) = (format!("/v2/{REPO}/tags/list?n=2"), Vec::new());
    for size in [2, 2, 1] {
        let page = registry.get(&path).await;
        let names: Vec<String> = serde_json::from_value(page.json()["tags"].clone()).unwrap();
        assert_eq!(names.len(), size);
        found.extend(names);
        path = next_page(&page);
    }
    assert_eq!((found, path.as_str()), (tags.map(str::to_owned).to_vec(), ""));
    let exact = registry.get(&format!("/v2/{REPO}/tags/list?n=5")).await;
    assert_eq!((exact.json()["tags"].as_array().unwrap().len(), exact.header("link")), (5, ""));
}

async fn n_0_is_an_empty_page_without_a_link(registry: Site) {
    tagged(&registry, &["a", "b"]).await;
    let answer = registry.get(&format!("/v2/{REPO}/tags/list?n=0")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["tags"].clone()), (200, json!([])));
    assert_eq!(answer.header("link"), "");
}

async fn last_begins_behind_a_tag_whether_it_is_there_or_not(registry: Site) {
    tagged(&registry, &["a", "b", "d"]).await;
    for (query, tags) in [
        ("last=a", json!(["b", "d"])),
        ("last=c", json!(["d"])),
        ("n=1&last=a", json!(["b"])),
        ("last=d", json!([])),
        ("last=zzz", json!([])),
        ("last=", json!(["a", "b", "d"])),
    ] {
        let answer = registry.get(&format!("/v2/{REPO}/tags/list?{query}")).await;
        assert_eq!(answer.json()["tags"], tags, "{query}");
    }
}

/// Fault 36, and as CVE-2023-2253: no number makes room in memory.
async fn an_n_that_is_none_is_refused_and_a_huge_one_is_a_page(registry: Site) {
    tagged(&registry, &["a", "b"]).await;
    for list in [format!("/v2/{REPO}/tags/list"), "/v2/_catalog".to_owned()] {
        for n in ["x", "-1", "1.5", ""] {
            let answer = registry.get(&format!("{list}?n={n}")).await;
            assert_eq!(refused(&answer), error(400, "UNSUPPORTED"), "{list} {n}");
        }
        for n in ["1000000000", "99999999999999999999999999"] {
            assert_eq!(registry.status(&format!("{list}?n={n}")).await, 200, "{list} {n}");
        }
    }
}

async fn repositories_are_listed_in_pages(registry: Site) {
    for name in ["a", "a/b", "c"] {
        registry.blob(name, b"content").await;
    }
    let first = registry.get("/v2/_catalog?n=2").await;
    assert_eq!(first.json(), json!({ "repositories": ["a", "a/b"] }));
    assert_eq!(first.header("link"), "</v2/_catalog?n=2&last=a%2Fb>; rel=\"next\"");
    let second = registry.get("/v2/_catalog?n=2&last=a%2Fb").await;
    assert_eq!((second.json(), second.header("link")), (json!({ "repositories": ["c"] }), ""));
}
