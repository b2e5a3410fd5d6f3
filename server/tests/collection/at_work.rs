//! Collectors at work while others publish, withdraw and push.

use std::sync::Arc;
use std::time::Duration;

use server::catalogue::entry::BlobLink;
use server::catalogue::links::Held;
use server::catalogue::{Catalogue, Options, PublishError};
use server::storage::keys;
use tokio_util::sync::CancellationToken;

use crate::common::keys as all_keys;
use crate::common::stores::{Store, Stores};
use crate::content::{
    SHORT, blob, blob_link, collect_after_a_while, manifest_link, publish, pushed, put, tag, target, whole, withdraw,
};

crate::on_stores! {
    on three_instances shared_file:
    collectors_take_nothing_that_publications_and_pushes_count_on
}

async fn collectors_take_nothing_that_publications_and_pushes_count_on(stores: Stores) {
    at_work(stores, SHORT, 12).await;
}

mod in_a_bucket {
    use super::{Duration, Stores, at_work};

    crate::on_stores! {
        on minio versitygw:
        collectors_take_nothing_that_publications_and_pushes_count_on
    }

    /// The age of an object is told in whole seconds.
    async fn collectors_take_nothing_that_publications_and_pushes_count_on(stores: Stores) {
        at_work(stores, Duration::from_secs(5), 3).await;
    }
}

/// Three instances publish and withdraw packages that share content, a client pushes; every few milliseconds one of them
/// collects.
async fn at_work(stores: Stores, grace_period: Duration, rounds: usize) {
    let options = Options { grace_period, ..Options::default() };
    let instances: Vec<_> = (0..3).map(|_| Catalogue::with(stores.next(), options)).collect();
    let stop = CancellationToken::new();
    let collectors: Vec<_> = instances
        .iter()
        .map(|instance| {
            let (instance, stop) = (instance.clone(), stop.clone());
            tokio::spawn(async move {
                let mut removed = 0;
                while !stop.is_cancelled() {
                    let done = instance.collect().await.unwrap();
                    removed += done.blobs + done.small;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                removed
            })
        })
        .collect();
    let publishers = instances.iter().enumerate().map(|(number, instance)| {
        let (instance, store) = (instance.clone(), stores.next());
        tokio::spawn(async move {
            let name = format!("package-{number}");
            let mut published = 0;
            for round in 0..rounds {
                // The same layers come and go in all three.
                let layer = format!("layer {}", round % 3);
                match publish(&instance, &name, "1", &layer).await {
                    Ok(entry) => {
                        published += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        whole(&store, &entry).await;
                        // Longer than the grace period: what is needed stays however old it is.
                        if round % 4 == 0 {
                            tokio::time::sleep(grace_period * 2).await;
                            whole(&store, &entry).await;
                        }
                    }
                    // Too slow, or overtaken by others all the time: it says so, and nothing is there of it.
                    Err(PublishError::Outrun { .. } | PublishError::Lacking { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                withdraw(&instance, &name, "1").await;
            }
            published
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let pushes = push_for_a_while(&stores.next(), grace_period).await;
    let mut published = 0;
    for publisher in publishers {
        published += publisher.await.unwrap();
    }
    stop.cancel();
    let mut removed = 0;
    for collector in collectors {
        removed += collector.await.unwrap();
    }
    assert!(
        published > rounds && pushes > 0 && removed > 0,
        "{published} published, {pushes} pushed, {removed} removed"
    );
    collect_after_a_while(&instances[0]).await;
    let store = stores.next();
    let left = all_keys(store.as_ref()).await;
    assert_eq!(left.len(), pushes * 5, "{left:?}");
    assert!(what_a_start_finds(&store).await.is_empty());
}

/// Pushes images as a client does, each with the time between its blob and its manifest that the grace period allows.
async fn push_for_a_while(store: &Store, grace_period: Duration) -> usize {
    const PUSHES: usize = 6;
    for number in 0..PUSHES {
        let layer = blob(store, format!("pushed {number}").as_bytes()).await;
        put(store, &blob_link(&layer), &Held::Blob(BlobLink { pushed: true })).await;
        tokio::time::sleep(grace_period / 4).await;
        for key in [blob_link(&layer).key(), keys::blob(&layer)] {
            assert!(store.renew(&key).await.unwrap(), "{key}");
        }
        let manifest = blob(store, format!("manifest {number}").as_bytes()).await;
        put(store, &manifest_link(&manifest), &pushed(&[&layer])).await;
        put(store, &tag(&format!("pushed-{number}")), &target(&manifest)).await;
    }
    PUSHES
}

async fn what_a_start_finds(store: &Store) -> Vec<String> {
    let catalogue = Catalogue::new(Arc::clone(store));
    catalogue.restore().await.unwrap().into_iter().map(|found| found.id).collect()
}
