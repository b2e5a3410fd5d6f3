//! Step 1: reads what the later steps need to know. Nothing is changed.

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Secret};
use kube::{Api, Client, ResourceExt, api::ListParams};
use snafu::ResultExt;

use super::{
    build::labels,
    error::{Error, ReadSnafu},
    names::Names,
};

/// Children whose present content decides what should be.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The claim.
    pub claim: Option<PersistentVolumeClaim>,
    /// The authority's Secret.
    pub authority: Option<Secret>,
    /// The serving Secret.
    pub serving: Option<Secret>,
}

/// Reads them.
///
/// # Errors
/// When the API server can't be asked.
pub async fn live(client: &Client, namespace: &str, names: &Names) -> Result<Live, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (claim_name, authority_name, serving_name) = (names.claim(), names.authority(), names.serving());
    let read = |what: &str, name: &str| ReadSnafu { what: format!("{what} {name}") };
    let (claim, authority, serving) =
        tokio::join!(claims.get_opt(&claim_name), secrets.get_opt(&authority_name), secrets.get_opt(&serving_name));
    Ok(Live {
        claim: claim.context(read("PersistentVolumeClaim", &claim_name))?,
        authority: authority.context(read("Secret", &authority_name))?,
        serving: serving.context(read("Secret", &serving_name))?,
    })
}

/// What tells why something isn't ready.
#[derive(Clone, Debug, Default)]
pub struct Symptoms {
    /// The serving pods, read only while the Deployment isn't available.
    pub pods: Vec<Pod>,
    /// The newest warning about the claim, read only while it isn't bound.
    pub claim_warning: Option<String>,
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
