//! What is made of packages, for the clusters that ask: the same wherever they are kept.

use axum::body::Body;
use bundle::json::Json;
use http::{Method, StatusCode};

use crate::answer::read;
use crate::common::site::{Reach, Site};
use crate::fixtures;
use crate::packages::{all_show, publish, repo, text};

crate::on_stores! {
    on three_instances:
    everything_but_addresses_is_what_the_package_says
    a_cluster_gets_what_it_can_run_in_the_form_that_it_reads
    the_packages_of_one_name_are_a_document_too_and_heads_say_the_same
}

async fn everything_but_addresses_is_what_the_package_says(site: Site) {
    // universe.md 10, 14.1.
    let Some(packages) = fixtures::packages() else { return };
    let published = publish(&site, packages).await;
    all_show(&site, published.len()).await;
    let shown = read(&repo(&site, "v5", true, "").await).unwrap();
    for package in published {
        let metadata = &package.metadata;
        let same =
            |shown: &&Json| text(shown, "name") == metadata["name"] && text(shown, "version") == metadata["version"];
        let shown = shown.iter().find(same).unwrap();
        for (key, value) in metadata.as_object().unwrap() {
            match key.as_str() {
                "command" => assert_eq!(shown.get(key), None),
                "resource" => {
                    let cli = |path: &[&str]| shown.at(path).map(ToString::to_string);
                    let hash = ["resource", "cli", "binaries", "linux", "x86-64", "contentHash"];
                    let said = metadata.pointer(&format!("/{}", hash.join("/"))).map(ToString::to_string);
                    assert_eq!(cli(&hash), said);
                }
                _ => {
                    let text = serde_json::to_string(value).unwrap();
                    assert_eq!(shown.get(key).map(ToString::to_string), Some(text), "{key}");
                }
            }
        }
    }
}

async fn a_cluster_gets_what_it_can_run_in_the_form_that_it_reads(site: Site) {
    // universe.md 5, 6.3.
    let Some(packages) = fixtures::packages() else { return };
    let published = publish(&site, packages).await;
    all_show(&site, published.len()).await;
    let names = async |version, agent| {
        let read = read(&repo(&site, version, true, agent).await).unwrap();
        read.iter().map(|p| text(p, "name").to_owned()).collect::<Vec<_>>()
    };
    let all = names("v5", "cosmos/0.6.3").await;
    let new = names("v5", "cosmos/0.6.3 dcos/2.1.0").await;
    let old = names("v5", "cosmos/0.6.3 dcos/1.8").await;
    assert!(new.len() <= all.len() && old.len() < new.len(), "{} {} {}", all.len(), new.len(), old.len());
    assert!(all.contains(&"kubernetes-cluster".to_owned()));
    for version in ["v3", "v4"] {
        assert!(!names(version, "").await.contains(&"kubernetes-cluster".to_owned()), "{version}");
    }
    let three = read(&repo(&site, "v3", false, "dcos/1.9").await).unwrap();
    for package in &three {
        assert_eq!(text(package, "packagingVersion"), "3.0");
        assert!(package.get("upgradesFrom").is_none() && package.get("downgradesTo").is_none());
    }
    let four = read(&repo(&site, "v4", false, "dcos/1.10").await).unwrap();
    assert!(four.iter().any(|package| package.get("upgradesFrom").is_some()));
}

async fn the_packages_of_one_name_are_a_document_too_and_heads_say_the_same(site: Site) {
    // universe.md 6.3.
    let Some(packages) = fixtures::packages() else { return };
    let published = publish(&site, packages).await;
    all_show(&site, published.len()).await;
    let two = site.get("/package/hello-world").await;
    assert_eq!(read(&two).unwrap().len(), 2);
    assert_eq!(site.get("/package/nobody").await.status, StatusCode::NOT_FOUND);
    for (path, encoding) in [("/repo", "gzip"), ("/repo", "identity"), ("/package/hello-world", "gzip")] {
        let headers = [("accept-encoding", encoding)];
        let get = site.client().get_with(path, &headers).await;
        let head = site.call(Method::HEAD, path, &headers, Body::empty()).await;
        assert!(head.body.is_empty());
        for name in ["content-type", "content-length", "content-encoding", "etag", "vary"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path} {encoding} {name}");
        }
        assert_eq!(get.header("vary"), "Accept, User-Agent, Accept-Encoding");
        let tag = get.header("etag");
        let known = site.client().get_with(path, &[("accept-encoding", encoding), ("if-none-match", tag)]).await;
        assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    let tag = site.client().get_with("/repo", &[("accept-encoding", "gzip")]).await;
    let other = site.client().get_with("/repo", &[("if-none-match", tag.header("etag"))]).await;
    assert_eq!(other.status, StatusCode::OK, "other bytes have another tag");
}
