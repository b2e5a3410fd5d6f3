//! What every reconciler has at hand, and the names that they share.

use std::time::Duration;

use kube::{
    Client,
    runtime::{
        events::{Recorder, Reporter},
        reflector::Store,
    },
};

use crds::{Package, PackageRegistry};

use crate::{
    arguments::Settings, backoff::Backoffs, metrics::Metrics, server_client::Servers, token::Tokens,
    trust::agents::Agents, workloads::Workloads,
};

/// The one field manager, and the name that Events carry.
pub const FIELD_MANAGER: &str = "package-registry-controller";

/// Label of everything that the operator makes, with [`MANAGED_BY`] as value.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "package-registry-operator";
/// Label with what an object is part of, say `server` or `node-trust`.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label with [`NAME`].
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Value of [`NAME_LABEL`].
pub const NAME: &str = "package-registry";
/// Label with the name of the registry that an object belongs to.
pub const REGISTRY_LABEL: &str = crds::names::REGISTRY_LABEL;
/// Label with the namespace of that registry, on objects that live elsewhere.
pub const REGISTRY_NAMESPACE_LABEL: &str = crds::names::REGISTRY_NAMESPACE_LABEL;

/// Labels that together say that an object is the operator's, and for which registry.
pub const IDENTITY_LABELS: [&str; 4] = [MANAGED_BY_LABEL, COMPONENT_LABEL, REGISTRY_LABEL, REGISTRY_NAMESPACE_LABEL];

/// Longest time of a pass. The API client has no time limit of its own for answers, so a connection that was dropped on the way
/// would hold a pass up until the kernel gives in. One that gets answers needs seconds; the slowest reads every pod of a large
/// cluster, page by page.
pub const LONGEST_PASS: Duration = Duration::from_mins(2);

/// What every reconciler has at hand.
pub struct Context {
    /// Client whose writes pass only while this process leads.
    pub client: Client,
    /// The operator's settings.
    pub settings: Settings,
    /// How the agents on the nodes are run.
    pub agents: Agents,
    /// Publishes Events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Metrics,
    /// Time after which a pass is given up: [`LONGEST_PASS`], less in tests.
    pub longest_pass: Duration,
    /// Failures in a row, by [`crate::error::key`].
    pub backoff: Backoffs,
    /// All Package objects, as last seen.
    pub packages: Store<Package>,
    /// All PackageRegistry objects, as last seen.
    pub registries: Store<PackageRegistry>,
    /// Clients of the registries' servers.
    pub servers: Servers,
    /// Tokens for the registries' servers.
    pub tokens: Tokens,
    /// What runs in the cluster, as last seen.
    pub workloads: Workloads,
}

impl Context {
    /// A context; `instance` names this process in Events.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Metrics,
        instance: Option<String>,
        packages: Store<Package>,
        registries: Store<PackageRegistry>,
    ) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            settings,
            agents: Agents::default(),
            metrics,
            longest_pass: LONGEST_PASS,
            backoff: Backoffs::default(),
            packages,
            registries,
            servers: Servers::default(),
            tokens: Tokens::default(),
            workloads: Workloads::default(),
        }
    }

    /// The same with agents that are run so.
    #[must_use]
    pub fn with_agents(self, agents: Agents) -> Self {
        Self { agents, ..self }
    }
}
