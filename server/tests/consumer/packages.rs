//! Every fixture, uploaded and declared, at every version, packed and not, through three instances.

use std::collections::BTreeSet;

use bundle::json::Json;

use crate::answer::read;
use crate::common::bundles::Package;
use crate::common::sender::bring;
use crate::common::site::{Reach, Site};
use crate::common::source::Source;
use crate::common::until::until;
use crate::common::{Answer, spec};
use crate::fixtures;
use crate::proxy::fetch_all;

const ORIGIN: &str = "https://registry.test";

pub async fn repo(at: &impl Reach, version: &str, gzip: bool, agent: &str) -> Answer {
    let accept = format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version={version}");
    let mut headers = vec![("accept", accept.as_str()), ("user-agent", agent)];
    if gzip {
        headers.push(("accept-encoding", "gzip"));
    }
    at.client().get_with("/repo", &headers).await
}

pub fn text<'a>(package: &'a Json, key: &str) -> &'a str {
    package.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Publishes each package once: half of them by upload, half by declaration. Of two with one coordinate, the first.
pub async fn publish(site: &Site, packages: Vec<Package>) -> Vec<Package> {
    let source = Source::start().await;
    let (mut published, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, package) in packages.into_iter().enumerate() {
        let coordinate = (package.metadata["name"].to_string(), package.metadata["version"].to_string());
        if !seen.insert(coordinate) {
            continue;
        }
        if index % 2 == 0 {
            let upload = bring(site, &package).await;
            assert_eq!(upload.state, api::State::Added, "{upload:?}");
        } else {
            let url = source.bytes(&index.to_string(), package.bytes());
            site.client().add(&format!("u{index}"), &spec(&url)).await;
        }
        published.push(package);
    }
    published
}

/// Waits until every instance shows so many packages: what it saw of a shared store may be a second old.
pub async fn all_show(site: &Site, count: usize) {
    for instance in site.instances() {
        until("an instance shows everything", async || instance.catalogue().await.len() == count).await;
    }
}

crate::on_stores! {
    every_fixture_is_read_at_every_version_through_every_instance
}

async fn every_fixture_is_read_at_every_version_through_every_instance(site: Site) {
    let Some(packages) = fixtures::packages() else { return };
    assert!(packages.len() > 15);
    let published = publish(&site, packages).await;
    all_show(&site, published.len()).await;
    let count = |versions: &[&str]| {
        published.iter().filter(|p| versions.contains(&p.metadata["packagingVersion"].as_str().unwrap())).count()
    };
    let mut fetched = BTreeSet::new();
    for (version, expected) in [("v3", count(&["3.0", "4.0"])), ("v4", count(&["3.0", "4.0"])), ("v5", published.len())]
    {
        let mut answers = Vec::new();
        for client in site.instances() {
            for gzip in [false, true] {
                let answer = repo(client, version, gzip, "cosmos/0.6.3").await;
                assert_eq!(answer.headers.contains_key("content-encoding"), gzip);
                let read = read(&answer).unwrap_or_else(|why| panic!("{version}: {why}"));
                assert_eq!(read.len(), expected, "{version}");
                answers.push(read);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "every instance says the same");
        for package in &answers[0] {
            fetch_all(&site, package, ORIGIN, &mut fetched).await.unwrap();
        }
    }
    assert!(fetched.len() > 100, "{}", fetched.len());
}
