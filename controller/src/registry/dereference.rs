//! Step 1: reads what the later steps need to know. Nothing is changed.

use std::{collections::BTreeMap, fmt};

use crds::{CaBundleKind, PackageRegistry, S3Storage};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use snafu::ResultExt;

use super::{
    build::labels,
    error::{Error, ReadSnafu},
    names::Names,
};
use crate::server_client::StorageReport;

/// Children whose present content decides what should be.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The claim.
    pub claim: Option<PersistentVolumeClaim>,
    /// The authority's Secret.
    pub authority: Option<Secret>,
    /// The serving Secret.
    pub serving: Option<Secret>,
    /// What `storage.s3` refers to.
    pub bucket: BucketObjects,
}

/// Keys and values of a Secret or a ConfigMap.
pub type Data = BTreeMap<String, ByteString>;

/// What `storage.s3` refers to; `None` where it isn't there.
#[derive(Clone, Default)]
pub struct BucketObjects {
    /// Of `credentialsSecretRef`.
    pub credentials: Option<Data>,
    /// Of `caBundleRef`.
    pub ca_bundle: Option<Data>,
}

impl fmt::Debug for BucketObjects {
    /// Without what is in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketObjects")
            .field("credentials", &self.credentials.is_some())
            .field("ca_bundle", &self.ca_bundle.is_some())
            .finish()
    }
}

/// Reads them.
///
/// # Errors
/// When the API server can't be asked.
pub async fn live(client: &Client, registry: &PackageRegistry, namespace: &str, names: &Names) -> Result<Live, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (claim_name, authority_name, serving_name) = (names.claim(), names.authority(), names.serving());
    let read = |what: &str, name: &str| ReadSnafu { what: format!("{what} {name}") };
    let claim = async {
        match &registry.spec.storage.s3 {
            Some(_) => Ok(None),
            None => claims.get_opt(&claim_name).await,
        }
    };
    let (claim, authority, serving, bucket) = tokio::join!(
        claim,
        secrets.get_opt(&authority_name),
        secrets.get_opt(&serving_name),
        bucket(client, namespace, registry.spec.storage.s3.as_ref())
    );
    Ok(Live {
        claim: claim.context(read("PersistentVolumeClaim", &claim_name))?,
        authority: authority.context(read("Secret", &authority_name))?,
        serving: serving.context(read("Secret", &serving_name))?,
        bucket: bucket?,
    })
}

/// Reads what a bucket's spec names, by its name alone.
async fn bucket(client: &Client, namespace: &str, spec: Option<&S3Storage>) -> Result<BucketObjects, Error> {
    let mut found = BucketObjects::default();
    let Some(spec) = spec else { return Ok(found) };
    if let Some(reference) = &spec.credentials_secret_ref {
        found.credentials = secret(client, namespace, &reference.name).await?;
    }
    if let Some(reference) = &spec.ca_bundle_ref {
        found.ca_bundle = match reference.kind {
            CaBundleKind::Secret => secret(client, namespace, &reference.name).await?,
            CaBundleKind::ConfigMap => config_map(client, namespace, &reference.name).await?,
        };
    }
    Ok(found)
}

async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Data>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.context(ReadSnafu { what: format!("Secret {name}") })?;
    Ok(found.map(|secret| secret.data.unwrap_or_default()))
}

async fn config_map(client: &Client, namespace: &str, name: &str) -> Result<Option<Data>, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.context(ReadSnafu { what: format!("ConfigMap {name}") })?;
    Ok(found.map(|map| {
        let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
        text.chain(map.binary_data.unwrap_or_default()).collect()
    }))
}

/// What tells why something isn't ready.
#[derive(Clone, Debug, Default)]
pub struct Symptoms {
    /// The serving pods, read only while the Deployment isn't available.
    pub pods: Vec<Pod>,
    /// The newest warning about the claim, read only while it isn't bound.
    pub claim_warning: Option<String>,
    /// What the pods say of the bucket, where there is one.
    pub bucket: Option<StorageReport>,
}

/// The serving pods.
///
/// # Errors
/// When the API server can't be asked.
pub async fn pods(client: &Client, namespace: &str, names: &Names) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector: Vec<String> =
        labels::server_selector(names.registry()).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let found = api
        .list(&ListParams::default().labels(&selector.join(",")))
        .await
        .context(ReadSnafu { what: "serving pods" })?;
    Ok(found.items)
}

/// What the newest warning about `claim` says.
///
/// # Errors
/// When the API server can't be asked.
pub async fn claim_warning(client: &Client, claim: &PersistentVolumeClaim) -> Result<Option<String>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    let fields =
        format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={},type=Warning", claim.name_any());
    let mut found = api
        .list(&ListParams::default().fields(&fields))
        .await
        .context(ReadSnafu { what: "events of the claim" })?
        .items;
    found.retain(|event| event.involved_object.uid == claim.uid());
    found.sort_by_key(|event| event.last_timestamp.clone());
    Ok(found.pop().and_then(|event| event.message))
}
