//! Step 1: reads what a Package refers to.

use std::{collections::BTreeMap, sync::Arc};

use crds::{Package, PackageRegistry, UrlSource};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, ResourceExt, runtime::reflector::ObjectRef};
use snafu::ResultExt;

use super::error::{Error, ReadSnafu};
use crate::context::Context;

/// What a Package refers to, as last seen.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// The registry; `None`: there is none of that name.
    pub registry: Option<Arc<PackageRegistry>>,
    /// All other Packages of that registry.
    pub siblings: Vec<Arc<Package>>,
}

/// Looks into the stores; asks nobody.
#[must_use]
pub fn dereference(package: &Package, context: &Context) -> Dereferenced {
    let namespace = package.namespace().unwrap_or_default();
    let registry = &package.spec.registry_ref.name;
    let uid = package.uid();
    Dereferenced {
        registry: context.registries.get(&ObjectRef::new(registry).within(&namespace)),
        siblings: context.packages.state_filter(|other: &Package| {
            other.spec.registry_ref.name == *registry
                && other.namespace().as_deref() == Some(namespace.as_str())
                && other.uid() != uid
        }),
    }
}

/// Keys and values of a Secret.
pub type SecretData = BTreeMap<String, ByteString>;

/// The Secrets of a source; `Some(None)` is one that doesn't exist.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Of `secretRef`, if there is one.
    pub credentials: Option<Option<SecretData>>,
    /// Of `certSecretRef`, if there is one.
    pub authorities: Option<Option<SecretData>>,
}

/// Reads the Secrets that `source` names, by their names alone.
///
/// # Errors
/// When the API server can't be asked. A Secret that doesn't exist is no error here.
pub async fn secrets(client: &Client, namespace: &str, source: &UrlSource) -> Result<Secrets, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let read = async |name: &str| -> Result<Option<SecretData>, Error> {
        let found = api.get_opt(name).await.context(ReadSnafu { what: format!("Secret {name}") })?;
        Ok(found.map(|secret| secret.data.unwrap_or_default()))
    };
    let mut secrets = Secrets::default();
    if let Some(reference) = &source.secret_ref {
        secrets.credentials = Some(read(&reference.name).await?);
    }
    if let Some(reference) = &source.cert_secret_ref {
        secrets.authorities = Some(read(&reference.name).await?);
    }
    Ok(secrets)
}
