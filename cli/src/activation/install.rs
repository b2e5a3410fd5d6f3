//! The operator, brought where it is missing. The command carries its manifests, so that nothing has to be fetched.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt, discovery};
use serde_json::Value;
use snafu::{ResultExt, Snafu};

use super::{FIELD_MANAGER, PAUSE};
use crate::http::{PATIENT_ATTEMPTS, chain, repeat};
use crate::output::message;

const MANIFESTS: &str = include_str!("../../../manifests/install.yaml");
const REGISTRIES: &str = "packageregistries.registry.dcos.io";
const OPERATOR: &str = "package-registry-controller";

/// Why the operator is not there.
#[derive(Debug, Snafu)]
pub enum InstallError {
    /// The command's own manifests.
    #[snafu(display("the manifests of this command: {reason}"))]
    Manifests {
        /// What is wrong with them.
        reason: String,
    },
    /// The cluster does not take something.
    #[snafu(display("{what}: {}", chain(source)))]
    Kubernetes {
        /// What.
        what: String,
        /// What it says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The operator does not start.
    #[snafu(display("the operator is not available after {} seconds: {reason}", limit.as_secs()))]
    Late {
        /// What its Deployment says.
        reason: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Installs CRDs and operator unless the cluster has them. `image` is where the cluster finds the operator's image.
pub async fn install_if_missing(client: &Client, image: Option<&str>, limit: Duration) -> Result<(), InstallError> {
    if is_there(client).await? {
        return Ok(());
    }
    message("The operator is missing, it is installed from this command's manifests");
    for mut object in objects()? {
        if let Some(image) = image.filter(|_| object.types.as_ref().is_some_and(|it| it.kind == "Deployment")) {
            set_image(&mut object.data, image);
        }
        apply(client, &object).await?;
    }
    available(client, limit).await
}

/// Whether the cluster knows the kinds and runs the operator. Who may not see Deployments of other namespaces did not install it.
async fn is_there(client: &Client) -> Result<bool, InstallError> {
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    match kinds.get_opt(REGISTRIES).await {
        Ok(None) => return Ok(false),
        Ok(Some(_)) => {}
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(true),
        Err(error) => {
            return Err(error).context(KubernetesSnafu { what: format!("CustomResourceDefinition {REGISTRIES}") });
        }
    }
    let all: Api<Deployment> = Api::all(client.clone());
    match all.list(&ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}"))).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(true),
        found => Ok(!found.context(KubernetesSnafu { what: format!("Deployment {OPERATOR}") })?.items.is_empty()),
    }
}

fn objects() -> Result<Vec<DynamicObject>, InstallError> {
    let wrong = |reason: String| InstallError::Manifests { reason };
    let documents: Vec<Value> = serde_saphyr::from_multiple(MANIFESTS).map_err(|error| wrong(error.to_string()))?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents.map(|document| serde_json::from_value(document).map_err(|error| wrong(error.to_string()))).collect()
}

fn set_image(deployment: &mut Value, image: &str) {
    let containers = deployment.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        container["image"] = image.into();
    }
}

async fn apply(client: &Client, object: &DynamicObject) -> Result<(), InstallError> {
    let types = object.types.clone().unwrap_or_default();
    let what = || format!("{} {}", types.kind, object.name_any());
    let kind = GroupVersionKind::try_from(&types)
        .map_err(|error| InstallError::Manifests { reason: format!("{}: {error}", what()) })?;
    let found = discovery::pinned_kind(client, &kind).await;
    let (resource, _) = found.with_context(|_| KubernetesSnafu { what: what() })?;
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&object.name_any(), &parameters, &Patch::Apply(object)).await;
    applied.with_context(|_| KubernetesSnafu { what: what() })?;
    message(&format!("  {}", what()));
    Ok(())
}

async fn available(client: &Client, limit: Duration) -> Result<(), InstallError> {
    let all: Api<Deployment> = Api::all(client.clone());
    let parameters = ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}"));
    let mut reason = "it is not there yet".to_owned();
    let waiting = async {
        loop {
            let found = repeat(PATIENT_ATTEMPTS, async || all.list(&parameters).await).await;
            let found = found.with_context(|_| KubernetesSnafu { what: format!("Deployment {OPERATOR}") })?;
            let conditions = found.items.iter().filter_map(|it| it.status.as_ref()?.conditions.as_ref()).flatten();
            if let Some(condition) = conditions.into_iter().find(|condition| condition.type_ == "Available") {
                if condition.status == "True" {
                    return Ok(());
                }
                if let Some(message) = &condition.message {
                    reason.clone_from(message);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(limit, waiting).await;
    waited.unwrap_or_else(|_| LateSnafu { reason, limit }.fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_have_the_kinds_the_operator_and_its_image() {
        let mut objects = objects().unwrap();
        let has = |kind: &str, name: &str| {
            objects.iter().any(|object| object.types.as_ref().unwrap().kind == kind && object.name_any() == name)
        };
        assert!(has("CustomResourceDefinition", REGISTRIES) && has("Deployment", OPERATOR));
        let deployment = objects
            .iter_mut()
            .find(|object| object.name_any() == OPERATOR && object.data.pointer("/spec/template").is_some());
        let data = &mut deployment.unwrap().data;
        set_image(data, "registry.example/all:2");
        assert_eq!(data.pointer("/spec/template/spec/containers/0/image").unwrap(), "registry.example/all:2");
    }
}
