//! A Kubernetes cluster, found as kubectl finds it, and the registry in it.

use std::path::PathBuf;
use std::time::Duration;

use api::token_audience;
use clap::Args;
use crds::names::REGISTRY_LABEL;
use crds::{Package, PackageRegistry, condition};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use snafu::{OptionExt, ResultExt};

use super::error::{ConnectError, KubeconfigSnafu, KubernetesSnafu, NoClusterSnafu, NotFoundSnafu, NotReadySnafu};

/// Name of a registry, and of its service, when nothing else is said.
pub const DEFAULT_NAME: &str = "dcos-registry";
/// How long a token may be used.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// The serving pods' container and its port's name, as the operator makes them.
pub const CONTAINER: &str = "server";
const PORT_NAME: &str = "https";
const PORT: u16 = 8443;

/// Which cluster and namespace, by kubectl's flags.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArguments {
    /// The kubeconfig file [default: KUBECONFIG, else ~/.kube/config; in a pod, the pod's own account]
    #[arg(long, value_name = "FILE", env = "DCOS_REGISTRY_KUBECONFIG", hide_env = true)]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file [default: its current one]
    #[arg(long, value_name = "CONTEXT", env = "DCOS_REGISTRY_CONTEXT", hide_env = true)]
    pub context: Option<String>,
    /// The namespace of the registry [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE", env = "DCOS_REGISTRY_NAMESPACE", hide_env = true)]
    pub namespace: Option<String>,
}

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    /// Its API.
    pub client: Client,
    /// Where registries are looked for.
    pub namespace: String,
}

/// A registry of a cluster.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object.
    pub registry: PackageRegistry,
}

impl Found {
    fn new(registry: PackageRegistry) -> Self {
        Self { namespace: registry.namespace().unwrap_or_default(), name: registry.name_any(), registry }
    }

    /// What its condition `Ready` says.
    pub fn summary(&self) -> String {
        let conditions = self.registry.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == condition::READY);
        ready.map_or_else(|| "the operator has not looked at it yet".to_owned(), |ready| ready.message.clone())
    }
}

impl ClusterArguments {
    /// Whether a cluster was asked for.
    pub const fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || self.namespace.is_some()
    }

    /// Finds the cluster. Nothing is asked yet.
    pub async fn connect(&self) -> Result<Cluster, ConnectError> {
        let options = KubeConfigOptions { context: self.context.clone(), cluster: None, user: None };
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).context(KubeconfigSnafu)?;
                Config::from_custom_kubeconfig(file, &options).await.context(KubeconfigSnafu)?
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await.context(KubeconfigSnafu)?,
            None => Config::infer().await.context(NoClusterSnafu)?,
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context(KubernetesSnafu { what: "the cluster" })?;
        Ok(Cluster { client, namespace })
    }
}

impl Cluster {
    /// Finds a registry by its name or its service's; without one, `dcos-registry`, or the only one there is.
    pub async fn find(&self, name: Option<&str>) -> Result<Found, ConnectError> {
        let namespace = &self.namespace;
        let what = || format!("PackageRegistries of namespace {namespace}");
        let all: Api<PackageRegistry> = Api::namespaced(self.client.clone(), namespace);
        let all = match all.list(&ListParams::default()).await {
            // Kubernetes knows no such kind.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let problem =
                    "this cluster has no package registries yet; `activate` brings the operator and makes one";
                return NotFoundSnafu { problem }.fail();
            }
            answer => answer.with_context(|_| KubernetesSnafu { what: what() })?.items,
        };
        choose(all, namespace, name).map_or_else(|problem| NotFoundSnafu { problem }.fail(), |it| Ok(Found::new(it)))
    }

    /// A token for the registry's publisher, and how long it is good.
    pub async fn token(&self, registry: &Found) -> Result<(String, Duration), ConnectError> {
        let Found { namespace, name, .. } = registry;
        let account = format!("{name}-publisher");
        let what = || format!("a token for ServiceAccount {account} in namespace {namespace}");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let spec = TokenRequestSpec {
            audiences: vec![token_audience(namespace, name)],
            expiration_seconds: i64::try_from(TOKEN_LIFE.as_secs()).ok(),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let made = accounts.create_token_request(&account, &PostParams::default(), &request).await;
        let status = made.with_context(|_| KubernetesSnafu { what: what() })?.status;
        let problem = || format!("{}: the cluster gave none", what());
        Ok((status.with_context(|| NotFoundSnafu { problem: problem() })?.token, TOKEN_LIFE))
    }

    /// The pods of a namespace.
    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The registry's serving pods, by name.
    pub async fn serving_pods(&self, registry: &Found) -> Result<Vec<Pod>, ConnectError> {
        let Found { namespace, name, .. } = registry;
        let selector = format!("{REGISTRY_LABEL}={name},app.kubernetes.io/component={CONTAINER}");
        let pods = self.pods(namespace).list(&ListParams::default().labels(&selector)).await;
        let what = || format!("serving pods of PackageRegistry {name} in namespace {namespace}");
        let mut pods = pods.with_context(|_| KubernetesSnafu { what: what() })?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// A pod that is ready, and the port that it serves on.
    pub async fn serving_pod(&self, registry: &Found) -> Result<(String, u16), ConnectError> {
        let pods = self.serving_pods(registry).await?;
        let ready = pods.iter().find(|pod| is_ready(pod));
        let pod = ready.with_context(|| {
            let problem = format!("none of its {} serving pods is ready: {}", pods.len(), registry.summary());
            NotReadySnafu { namespace: &registry.namespace, name: &registry.name, problem }
        })?;
        Ok((pod.name_any(), port(pod)))
    }

    /// The Packages that belong to a registry.
    pub async fn packages(&self, registry: &Found) -> Result<Vec<Package>, ConnectError> {
        let Found { namespace, name, .. } = registry;
        let packages: Api<Package> = Api::namespaced(self.client.clone(), namespace);
        let fields = ListParams::default().fields(&format!("spec.registryRef.name={name}"));
        let what = || format!("Packages of namespace {namespace}");
        Ok(packages.list(&fields).await.with_context(|_| KubernetesSnafu { what: what() })?.items)
    }
}

/// The registry that is meant, or why that can't be told.
fn choose(all: Vec<PackageRegistry>, namespace: &str, name: Option<&str>) -> Result<PackageRegistry, String> {
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    let known = if names.is_empty() { "there is none".to_owned() } else { format!("there is {}", names.join(", ")) };
    let wanted = name.map(|name| name.trim_start_matches('/').replace('/', ""));
    let name = wanted.as_deref().unwrap_or(DEFAULT_NAME);
    let by_name = names.iter().position(|known| known == name);
    let service = |registry: &PackageRegistry| registry.spec.service.name.as_deref() == Some(name);
    let by_service = || all.iter().position(service);
    let alone = || (wanted.is_none() && all.len() == 1).then_some(0);
    match by_name.or_else(by_service).or_else(alone) {
        Some(index) => all.into_iter().nth(index).ok_or_else(String::new),
        None if wanted.is_none() && all.len() > 1 => Err(format!(
            "namespace {namespace} has several package registries, choose one with --name: {}",
            names.join(", ")
        )),
        None => Err(format!(
            "no PackageRegistry {name} in namespace {namespace}: {known}; another namespace is named with --namespace"
        )),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let leaving = pod.metadata.deletion_timestamp.is_some();
    !leaving && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.filter(|container| container.name == CONTAINER).flat_map(|it| it.ports.iter().flatten());
    let named = ports.into_iter().find(|port| port.name.as_deref() == Some(PORT_NAME));
    named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(PORT)
}

#[cfg(test)]
mod tests {
    use crds::{PackageRegistrySpec, Service};

    use super::*;

    fn registry(name: &str, service: Option<&str>) -> PackageRegistry {
        let service = Service { name: service.map(str::to_owned), ..Service::default() };
        PackageRegistry::new(name, PackageRegistrySpec { service, ..PackageRegistrySpec::default() })
    }

    fn chosen(all: &[(&str, Option<&str>)], name: Option<&str>) -> Result<String, String> {
        let all = all.iter().map(|(name, service)| registry(name, *service)).collect();
        choose(all, "apps", name).map(|registry| registry.name_any())
    }

    #[test]
    fn a_registry_is_found_by_its_name_then_its_service_then_alone() {
        let two = [("dcos-registry", None), ("blue", Some("images"))];
        assert_eq!(chosen(&two, None).unwrap(), "dcos-registry");
        assert_eq!(chosen(&two, Some("blue")).unwrap(), "blue");
        assert_eq!(chosen(&two, Some("images")).unwrap(), "blue");
        assert_eq!(chosen(&two[1..], None).unwrap(), "blue");
        // A service's id of old.
        assert_eq!(
            chosen(&[("mycustomdcos-registry", None)], Some("/my/custom/dcos-registry")).unwrap(),
            "mycustomdcos-registry"
        );
    }

    #[test]
    fn what_is_there_is_named_when_nothing_is_chosen() {
        let two = [("blue", None), ("green", None)];
        let several = chosen(&two, None).unwrap_err();
        assert!(several.contains("blue, green") && several.contains("--name"), "{several}");
        let unknown = chosen(&two, Some("red")).unwrap_err();
        assert!(unknown.contains("red") && unknown.contains("apps") && unknown.contains("blue"), "{unknown}");
        assert!(chosen(&[], None).unwrap_err().contains("there is none"));
    }
}
