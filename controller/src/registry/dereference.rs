//! Step 1: reads what the later steps need to know. Nothing is changed.

use std::{collections::BTreeMap, fmt};

use crds::{CaBundleKind, PackageRegistry, S3Storage, Storage, VolumeStorage};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use snafu::ResultExt;

use super::{
    build::labels,
    error::{Error, ReadSnafu},
    names::Names,
    reports::StorageReport,
};

/// Children whose present content decides what should be.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The claim that pods mount.
    pub claim: Option<PersistentVolumeClaim>,
    /// The authority's Secret.
    pub authority: Option<Secret>,
    /// The serving Secret.
    pub serving: Option<Secret>,
    /// The volume of a node's folder, where `storage.volume.hostPath` asks for one.
    pub volume: Option<PersistentVolume>,
    /// The node `storage.volume.nodeName`.
    pub node: Option<Node>,
    /// What `storage.s3` refers to.
    pub bucket: BucketObjects,
    /// Accounts with the labels of the registry's children; an earlier spec may have named that of the pods otherwise.
    pub accounts: Vec<ServiceAccount>,
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
    let (authority_name, serving_name) = (names.authority(), names.serving());
    let claim_name = claim_name(&registry.spec.storage, names);
    let read = |what: &str, name: &str| ReadSnafu { what: format!("{what} {name}") };
    let claim = async {
        match &claim_name {
            Some(name) => claims.get_opt(name).await.context(read("PersistentVolumeClaim", name)),
            None => Ok(None),
        }
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let children = ListParams::default().labels(&labels::children(names.registry()));
    let (claim, folder, authority, serving, bucket, accounts) = tokio::join!(
        claim,
        folder(client, registry.spec.storage.volume.as_ref(), names),
        secrets.get_opt(&authority_name),
        secrets.get_opt(&serving_name),
        bucket(client, namespace, registry.spec.storage.s3.as_ref()),
        accounts.list(&children)
    );
    let (volume, node) = folder?;
    Ok(Live {
        claim: claim?,
        authority: authority.context(read("Secret", &authority_name))?,
        serving: serving.context(read("Secret", &serving_name))?,
        volume,
        node,
        bucket: bucket?,
        accounts: accounts.context(ReadSnafu { what: "the registry's accounts" })?.items,
    })
}

fn claim_name(storage: &Storage, names: &Names) -> Option<String> {
    match (&storage.volume, &storage.s3) {
        (Some(volume), _) => Some(volume.claim_name.clone().unwrap_or_else(|| names.folder_claim())),
        (None, Some(_)) => None,
        (None, None) => Some(names.claim()),
    }
}

/// Reads what a node's folder needs: its volume, as far as that was made, and the node.
async fn folder(
    client: &Client,
    spec: Option<&VolumeStorage>,
    names: &Names,
) -> Result<(Option<PersistentVolume>, Option<Node>), Error> {
    let Some(node_name) = spec.filter(|spec| spec.host_path.is_some()).and_then(|spec| spec.node_name.as_ref()) else {
        return Ok((None, None));
    };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let nodes: Api<Node> = Api::all(client.clone());
    let volume_name = names.folder_volume();
    let (volume, node) = tokio::join!(volumes.get_opt(&volume_name), nodes.get_opt(node_name));
    Ok((
        volume.context(ReadSnafu { what: format!("PersistentVolume {volume_name}") })?,
        node.context(ReadSnafu { what: format!("Node {node_name}") })?,
    ))
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
    /// Why the volume of `storage.volume` can't be mounted, read only while the Deployment isn't available.
    pub mount_warning: Option<String>,
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
    let found = warnings(client, "PersistentVolumeClaim", claim).await?;
    Ok(found.into_iter().next_back().and_then(|event| event.message))
}

/// Why the volume of `claim` can't be mounted into `pod`, by the newest warning about that; none once its containers run.
///
/// # Errors
/// When the API server can't be asked.
pub async fn mount_warning(client: &Client, pod: &Pod, claim: &PersistentVolumeClaim) -> Result<Option<String>, Error> {
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    let (Some(volume), true) = (volume, is_being_created(pod)) else { return Ok(None) };
    let mut found = warnings(client, "Pod", pod).await?;
    found.retain(|event| event.reason.as_deref() == Some("FailedMount"));
    let messages = found.into_iter().rev().filter_map(|event| event.message);
    // Others of its volumes may have been late.
    Ok(messages.into_iter().find(|message| message.contains(volume)))
}

fn is_being_created(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let waiting = statuses.filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    waiting.into_iter().any(|reason| reason == "ContainerCreating")
}

/// Warnings about exactly that object, the oldest first.
async fn warnings<K: ResourceExt>(client: &Client, kind: &str, object: &K) -> Result<Vec<Event>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let fields = format!("involvedObject.kind={kind},involvedObject.name={},type=Warning", object.name_any());
    let mut found = api
        .list(&ListParams::default().fields(&fields))
        .await
        .with_context(|_| ReadSnafu { what: format!("events of {kind} {}", object.name_any()) })?
        .items;
    found.retain(|event| event.involved_object.uid == object.uid());
    found.sort_by_key(|event| event.last_timestamp.clone());
    Ok(found)
}
