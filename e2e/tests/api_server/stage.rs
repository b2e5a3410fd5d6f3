//! What every scenario stands on: the API server, the operator installed on it, and namespaces.

use std::{
    cell::Cell,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use e2e::{
    api_server::{ApiServer, AuditLog, Controller, Moment, Operator, Request},
    cluster::Cluster,
    walk::{self, Object},
};
use snafu::{ResultExt as _, Whatever};

use crate::nodes;

/// Long enough for anything that works.
pub const WITHIN: Duration = Duration::from_secs(150);

/// Name of every registry.
pub const REGISTRY: &str = "main";

/// Namespaces whose registries may ask for mirrors and nodes' folders.
const PRIVILEGED: &[&str] = &["edited", "folder", "folder-kept"];

struct Site {
    server: ApiServer,
    operator: Operator,
}

/// One scenario's turn on the one site.
pub struct Stage {
    site: MutexGuard<'static, Site>,
    begin: Cell<Moment>,
}

impl Stage {
    /// Waits for the turn. What a failed scenario left is removed.
    pub fn begin() -> Self {
        static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
        let site = SITE.get_or_init(|| {
            let server = ApiServer::start().unwrap_or_else(|error| panic!("{}", chain(&error)));
            let operator = Operator::install(&server, PRIVILEGED).unwrap_or_else(|error| panic!("{}", chain(&error)));
            server.start_collectors().unwrap();
            Mutex::new(Site { server, operator })
        });
        let site = site.lock().unwrap_or_else(PoisonError::into_inner);
        remove_registries_by_force(site.server.cluster());
        let begin = Cell::new(site.server.audit_log().now().unwrap());
        Self { site, begin }
    }

    pub fn cluster(&self) -> &Cluster {
        self.site.server.cluster()
    }

    pub fn audit_log(&self) -> AuditLog {
        self.site.server.audit_log()
    }

    /// Starts a controller as the pod of that name.
    pub fn controller(&self, pod: &str) -> Controller {
        must(self.site.operator.start(pod))
    }

    /// Applies the operator's manifests again.
    pub fn apply_manifests(&self) {
        must(self.site.operator.apply_manifests(&self.site.server));
    }

    /// Makes a namespace.
    pub fn place(&self, namespace: &str) -> Place<'_> {
        let yaml = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
        must(walk::apply(self.cluster(), &yaml));
        Place { cluster: self.cluster(), namespace: namespace.to_owned() }
    }

    /// What the operator asked for since then.
    pub fn requests(&self, since: Moment) -> Vec<Request> {
        let mut requests = self.audit_log().since(since).unwrap();
        requests.retain(|request| request.user == Operator::user());
        requests
    }

    /// What it changed since then, the election aside.
    pub fn changes(&self, since: Moment) -> Vec<Request> {
        let mut requests = self.requests(since);
        requests.retain(|request| request.is_mutating() && request.resource != "leases");
        requests
    }

    /// What was refused until now was to be.
    pub fn forget_refusals(&self) {
        self.begin.set(self.audit_log().now().unwrap());
    }

    /// Deletes every registry, which the controller must let go, and stops it. It must not have asked for anything that its
    /// roles don't give it.
    pub fn finish(self, controller: Controller) {
        let cluster = self.cluster();
        for registry in walk::get_all(cluster, "packageregistry", "", "").unwrap() {
            let (namespace, name) = (registry.text("/metadata/namespace"), registry.text("/metadata/name"));
            walk::delete(cluster, "packageregistry", namespace, name).unwrap();
        }
        wait("every registry to go", || {
            nodes::trust(cluster)?;
            Ok(walk::get_all(cluster, "packageregistry", "", "")?.is_empty().then_some(()))
        });
        let mut refused = self.requests(self.begin.get());
        refused.retain(|request| matches!(request.code, 401 | 403));
        assert!(refused.is_empty(), "refused: {refused:#?}\n{}", log_end(&controller));
        assert!(!controller.log().contains("panicked"), "{}", log_end(&controller));
        let log = log_end(&controller);
        must(controller.stop().with_whatever_context::<_, _, Whatever>(|_| format!("it has logged:\n{log}")));
    }
}

/// The last lines of a controller's log.
pub fn log_end(controller: &Controller) -> String {
    let log = controller.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A namespace with a registry [`REGISTRY`].
pub struct Place<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
}

impl Place<'_> {
    /// Applies the registry with that spec (flow YAML).
    pub fn registry(&self, spec: &str) {
        self.apply(&format!(
            "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: {REGISTRY}, namespace: {}}}\n\
             spec: {{{spec}}}\n",
            self.namespace,
        ));
    }

    pub fn apply(&self, yaml: &str) {
        must(walk::apply(self.cluster, yaml));
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Object> {
        walk::get(self.cluster, kind, &self.namespace, name).unwrap()
    }

    /// Waits for a condition of the registry.
    pub fn has(&self, condition: &str, status: &str) -> Object {
        let object = ("packageregistry", self.namespace.as_str(), REGISTRY);
        must(walk::wait_for(self.cluster, object, (condition, status), WITHIN))
    }

    /// Waits for a reason of a condition of the registry.
    pub fn reason(&self, condition: &str, reason: &str) -> Object {
        let object = ("packageregistry", self.namespace.as_str(), REGISTRY);
        must(walk::wait_for_reason(self.cluster, object, (condition, reason), WITHIN))
    }

    /// Plays the nodes until the registry is ready, as it is declared now, and trusted where that is asked for.
    pub fn settle(&self) -> Object {
        let mut last = String::new();
        let found = walk::wait_until("the registry to be ready", WITHIN, || {
            let registry = nodes::play(self.cluster, &self.namespace)?;
            last = registry.as_ref().map(Object::summary).unwrap_or_default();
            let settled = |registry: &Object| {
                let trusted = registry.condition("NodesTrusted").is_none_or(|(status, ..)| status == "True");
                trusted && registry.has("Ready", "True") && registry.condition("Reconciling").is_none()
            };
            Ok(registry.filter(settled))
        });
        found.unwrap_or_else(|error| panic!("{}: {last}", chain(&error)))
    }

    /// Asks for a pass now, for what is looked at only from time to time.
    pub fn touch(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let value = format!("registry.dcos.io/requested-at={}", now.as_nanos());
        let arguments = ["annotate", "--overwrite", "packageregistry", REGISTRY, "-n", &self.namespace, &value];
        self.cluster.kubectl(&arguments).unwrap();
    }

    /// Deletes the registry and waits until it is gone.
    pub fn delete_registry(&self) {
        walk::delete(self.cluster, "packageregistry", &self.namespace, REGISTRY).unwrap();
        wait("the registry to go", || {
            nodes::trust(self.cluster)?;
            Ok((!walk::exists(self.cluster, "packageregistry", &self.namespace, REGISTRY)?).then_some(()))
        });
    }
}

/// Waits until there is an answer.
pub fn wait<T>(what: &str, ask: impl FnMut() -> Result<Option<T>, Whatever>) -> T {
    must(walk::wait_until(what, WITHIN, ask))
}

fn remove_registries_by_force(cluster: &Cluster) {
    for registry in walk::get_all(cluster, "packageregistry", "", "").unwrap() {
        let (namespace, name) = (registry.text("/metadata/namespace"), registry.text("/metadata/name"));
        walk::delete(cluster, "packageregistry", namespace, name).unwrap();
        let without = ["--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
        let patch = [&["patch", "packageregistry", "-n", namespace, name], without.as_slice()].concat();
        // It may be gone by now.
        let _ = cluster.kubectl(&patch);
    }
}

/// What came of something that must succeed.
pub fn must<T>(result: Result<T, Whatever>) -> T {
    result.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}
