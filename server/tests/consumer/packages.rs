//! Every fixture, uploaded and declared, at every version, packed and not, through three instances.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundle::json::Json;
use http::{Method, StatusCode};
use server::storage::memory::MemoryStorage;

use crate::answer::read;
use crate::common::bundles::Package;
use crate::common::faulty::Faulty;
use crate::common::source::Source;
use crate::common::{Answer, Client, Setup, spec};
use crate::fixtures;
use crate::proxy::fetch_all;
use crate::sender::bring;

const ORIGIN: &str = "https://registry.test";

async fn instances() -> Vec<Client> {
    let storage = MemoryStorage::new();
    let mut instances = Vec::new();
    for _ in 0..3 {
        let shared = Arc::new(Faulty::shared(Arc::new(storage.clone())));
        instances.push(Setup::on(shared).start().await.unwrap());
    }
    instances
}

async fn repo(client: &Client, version: &str, gzip: bool, agent: &str) -> Answer {
    let accept = format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version={version}");
    let mut headers = vec![("accept", accept.as_str()), ("user-agent", agent)];
    if gzip {
        headers.push(("accept-encoding", "gzip"));
    }
    client.get_with("/repo", &headers).await
}

fn text<'a>(package: &'a Json, key: &str) -> &'a str {
    package.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Publishes each package once: half of them by upload, half by declaration. Of two with one coordinate, the first.
async fn publish(clients: &[Client], packages: Vec<Package>) -> Vec<Package> {
    let source = Source::start().await;
    let (mut published, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, package) in packages.into_iter().enumerate() {
        let coordinate = (package.metadata["name"].to_string(), package.metadata["version"].to_string());
        if !seen.insert(coordinate) {
            continue;
        }
        let client = &clients[index % clients.len()];
        if index % 2 == 0 {
            let upload = bring(client, &package).await;
            assert_eq!(upload.state, api::State::Added, "{upload:?}");
        } else {
            let url = source.bytes(&index.to_string(), package.bytes());
            client.add(&format!("u{index}"), &spec(&url)).await;
        }
        published.push(package);
    }
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_is_read_at_every_version_through_every_instance() {
    let Some(packages) = fixtures::packages() else { return };
    assert!(packages.len() > 15);
    let clients = instances().await;
    let published = publish(&clients, packages).await;
    // As old as a look at a shared store may be.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let count = |versions: &[&str]| {
        published.iter().filter(|p| versions.contains(&p.metadata["packagingVersion"].as_str().unwrap())).count()
    };
    for (version, expected) in [("v3", count(&["3.0", "4.0"])), ("v4", count(&["3.0", "4.0"])), ("v5", published.len())]
    {
        let mut answers = Vec::new();
        for client in &clients {
            for gzip in [false, true] {
                let answer = repo(client, version, gzip, "cosmos/0.6.3").await;
                assert_eq!(answer.headers.contains_key("content-encoding"), gzip);
                let read = read(&answer).unwrap_or_else(|why| panic!("{version}: {why}"));
                assert_eq!(read.len(), expected, "{version}");
                answers.push(read);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "every instance says the same");
        let mut fetched = 0;
        for (package, client) in answers[0].iter().zip(clients.iter().cycle()) {
            fetched += fetch_all(client, package, ORIGIN).await.unwrap();
        }
        assert!(fetched > 100, "{fetched}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_addresses_is_what_the_package_says() {
    // universe.md 10, 14.1.
    let Some(packages) = fixtures::packages() else { return };
    let client = instances().await.remove(0);
    let published = publish(std::slice::from_ref(&client), packages).await;
    let shown = read(&repo(&client, "v5", true, "").await).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gets_what_it_can_run_in_the_form_that_it_reads() {
    // universe.md 5, 6.3.
    let Some(packages) = fixtures::packages() else { return };
    let client = instances().await.remove(0);
    publish(std::slice::from_ref(&client), packages).await;
    let names = async |version, agent| {
        let read = read(&repo(&client, version, true, agent).await).unwrap();
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
    let three = read(&repo(&client, "v3", false, "dcos/1.9").await).unwrap();
    for package in &three {
        assert_eq!(text(package, "packagingVersion"), "3.0");
        assert!(package.get("upgradesFrom").is_none() && package.get("downgradesTo").is_none());
    }
    let four = read(&repo(&client, "v4", false, "dcos/1.10").await).unwrap();
    assert!(four.iter().any(|package| package.get("upgradesFrom").is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_of_one_name_are_a_document_too_and_heads_say_the_same() {
    // universe.md 6.3.
    let Some(packages) = fixtures::packages() else { return };
    let client = instances().await.remove(0);
    publish(std::slice::from_ref(&client), packages).await;
    let two = client.get("/package/hello-world").await;
    assert_eq!(read(&two).unwrap().len(), 2);
    assert_eq!(client.get("/package/nobody").await.status, StatusCode::NOT_FOUND);
    for (path, encoding) in [("/repo", "gzip"), ("/repo", "identity"), ("/package/hello-world", "gzip")] {
        let headers = [("accept-encoding", encoding)];
        let get = client.get_with(path, &headers).await;
        let head = client.call(Method::HEAD, path, &headers, axum::body::Body::empty()).await;
        assert!(head.body.is_empty());
        for name in ["content-type", "content-length", "content-encoding", "etag", "vary"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path} {encoding} {name}");
        }
        assert_eq!(get.header("vary"), "Accept, User-Agent, Accept-Encoding");
        let tag = get.header("etag");
        let known = client.get_with(path, &[("accept-encoding", encoding), ("if-none-match", tag)]).await;
        assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    let tag = client.get_with("/repo", &[("accept-encoding", "gzip")]).await;
    let other = client.get_with("/repo", &[("if-none-match", tag.header("etag"))]).await;
    assert_eq!(other.status, StatusCode::OK, "other bytes have another tag");
}
