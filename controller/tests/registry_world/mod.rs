//! A cluster in this process, small enough to be read whole: it stores what is applied, hands out addresses and uids, and
//! counts what is written. Nothing runs in it; tests say what became ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use controller::{
    arguments::Settings,
    context::{Context, FIELD_MANAGER},
    metrics::Metrics,
    registry::{Error, RegistryContext, reconcile},
    trust::Trust,
};
use crds::PackageRegistry;
use http::{Method, Request, Response, header::CONTENT_TYPE, request::Parts};
use kube::{
    Client,
    client::Body,
    runtime::{
        controller::Action,
        reflector::{self, Store, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Map, Value, json};

/// Path of the registry.
pub const REGISTRY: &str = "/apis/registry.dcos.io/v1alpha1/namespaces/demo/packageregistries/registry";
/// Path of its Service.
pub const SERVICE: &str = "/api/v1/namespaces/demo/services/registry";
/// Path of its claim.
pub const CLAIM: &str = "/api/v1/namespaces/demo/persistentvolumeclaims/registry";
/// Path of its Deployment.
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/demo/deployments/registry";
/// Path of its authority.
pub const AUTHORITY: &str = "/api/v1/namespaces/demo/secrets/registry-ca";
/// Path of its serving Secret.
pub const SERVING: &str = "/api/v1/namespaces/demo/secrets/registry-tls";
/// Path of its authority's public half.
pub const CA_CONFIG_MAP: &str = "/api/v1/namespaces/demo/configmaps/registry-ca";
/// Path of its serving pods' account.
pub const ACCOUNT: &str = "/api/v1/namespaces/demo/serviceaccounts/registry";
/// Path of its account for publishing.
pub const PUBLISHER: &str = "/api/v1/namespaces/demo/serviceaccounts/registry-publisher";
/// Path of the binding of that account.
pub const PUBLISHER_BINDING: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/demo/rolebindings/registry-publisher";
/// Path of the binding of its serving pods.
pub const REVIEWER: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/package-registry:demo:registry";
/// Path of its disruption budget.
pub const BUDGET: &str = "/apis/policy/v1/namespaces/demo/poddisruptionbudgets/registry";
/// Path of the Secret with the credentials of its bucket, in the scenarios that have one.
pub const CREDENTIALS: &str = "/api/v1/namespaces/demo/secrets/store";
/// Path of the list of what nodes trust.
pub const TRUST_LIST: &str = "/api/v1/namespaces/ops-node-trust/configmaps/package-registry-node-trust";
/// Path of the agents.
pub const AGENTS: &str = "/apis/apps/v1/namespaces/ops-node-trust/daemonsets/package-registry-node-trust";

/// What the API server holds.
#[derive(Default)]
pub struct Cluster {
    /// Objects by path.
    pub objects: BTreeMap<String, Value>,
    /// Every mutating call but Events.
    pub writes: Vec<String>,
    /// Paths that nobody may write.
    pub forbidden: BTreeSet<String>,
    /// Paths of which calls are never answered.
    pub silent: BTreeSet<String>,
    created: u32,
}

/// The cluster, and what the reconciler needs.
pub struct World {
    /// The cluster.
    pub cluster: Arc<Mutex<Cluster>>,
    /// The reconciler's context.
    pub context: Arc<RegistryContext>,
    /// The registries as the reconciler has seen them.
    pub store: Store<PackageRegistry>,
    registries: Writer<PackageRegistry>,
}

impl World {
    /// A cluster with the registry `demo/registry` of that spec.
    pub fn begin(spec: &Value) -> Self {
        Self::with(spec, settings())
    }

    /// The same where registries of that namespace may ask for more than ordinary ones.
    pub fn privileged(spec: &Value) -> Self {
        Self::with(spec, Settings { privileged_namespaces: vec!["demo".into()], ..settings() })
    }

    fn with(spec: &Value, settings: Settings) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = Arc::new(Mutex::new(Cluster::default()));
        let (store, registries) = reflector::store();
        let (packages, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::InitDone);
        let shared =
            Context::new(client(Arc::clone(&cluster)), settings, Metrics::new(), None, packages, store.clone());
        let mut world = Self {
            cluster,
            context: Arc::new(RegistryContext::new(Arc::new(shared), Arc::new(Trust::default()))),
            store,
            registries,
        };
        world.registries.apply_watcher_event(&Event::InitDone);
        world.put(
            REGISTRY,
            json!({
                "apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageRegistry",
                "metadata": {"name": "registry", "namespace": "demo", "uid": "registry-uid", "generation": 1,
                    "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": spec
            }),
        );
        world
    }

    /// Replaces an object behind the operator's back.
    pub fn put(&mut self, path: &str, object: Value) {
        self.cluster.lock().unwrap().objects.insert(path.to_owned(), object);
        self.observe();
    }

    /// Changes a field, or adds one, behind the operator's back.
    pub fn edit(&mut self, path: &str, pointer: &str, value: Value) {
        let mut cluster = self.cluster.lock().unwrap();
        let object = cluster.objects.get_mut(path).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match object.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            map => map[name] = value,
        }
        drop(cluster);
        self.observe();
    }

    /// Deletes an object behind the operator's back.
    pub fn remove(&self, path: &str) -> Value {
        self.cluster.lock().unwrap().objects.remove(path).unwrap()
    }

    /// An object; `None`: there is none.
    pub fn object(&self, path: &str) -> Option<Value> {
        self.cluster.lock().unwrap().objects.get(path).cloned()
    }

    /// Lets the reconciler see the registry as it is.
    pub fn observe(&mut self) {
        if let Some(object) = self.object(REGISTRY) {
            let object = serde_json::from_value(object).unwrap();
            self.registries.apply_watcher_event(&Event::Apply(object));
        }
    }

    /// One pass.
    pub async fn pass(&mut self) -> Result<Action, Error> {
        let object = serde_json::from_value(self.object(REGISTRY).unwrap()).unwrap();
        let result = reconcile(Arc::new(object), Arc::clone(&self.context)).await;
        self.observe();
        result
    }

    /// Passes until everything is applied: the finalizer, then the children.
    pub async fn settle(&mut self) {
        for _ in 0..3 {
            self.pass().await.unwrap();
        }
        self.writes();
    }

    /// Lets a pass wait for answers only for so long.
    pub fn hurry(&mut self, longest: Duration) {
        let context = Arc::get_mut(&mut self.context).unwrap();
        Arc::get_mut(&mut context.shared).unwrap().longest_pass = longest;
    }

    /// Takes the mutating calls so far.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.cluster.lock().unwrap().writes)
    }

    /// Lets the volume be bound and the pods serve.
    pub fn start(&mut self) {
        let mut cluster = self.cluster.lock().unwrap();
        cluster.objects.get_mut(CLAIM).unwrap()["status"] = json!({"phase": "Bound"});
        let deployment = cluster.objects.get_mut(DEPLOYMENT).unwrap();
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"], "availableReplicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "replicas": 1
        });
    }

    /// `(status, reason, message)` of a condition of the registry.
    pub fn condition(&self, type_: &str) -> (String, String, String) {
        let object = self.object(REGISTRY).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == type_);
        found.map_or_else(Default::default, |condition| {
            let text = |key: &str| condition[key].as_str().unwrap().to_owned();
            (text("status"), text("reason"), text("message"))
        })
    }
}

fn settings() -> Settings {
    Settings {
        operator_namespace: "ops".into(),
        node_trust_namespace: "ops-node-trust".into(),
        image: "all:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        privileged_namespaces: vec!["ops".into()],
        cluster_domain: Some("cluster.local".into()),
        containerd_certs_dir: "/etc/containerd/certs.d".into(),
        containerd_config_dir: "/etc/containerd".into(),
    }
}

fn client(cluster: Arc<Mutex<Cluster>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (parts, body) = request.into_parts();
            let is_silent = cluster.lock().unwrap().silent.contains(parts.uri.path());
            if is_silent {
                std::future::pending::<()>().await;
            }
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (status, answer) = cluster.lock().unwrap().answer(&parts, &body);
            let text = serde_json::to_vec(&answer).unwrap();
            let response = Response::builder().status(status).body(Body::from(text));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    Client::new(service, "demo")
}

impl Cluster {
    fn answer(&mut self, Parts { method, uri, headers, .. }: &Parts, body: &Value) -> (u16, Value) {
        let path = uri.path();
        if path.starts_with("/apis/events.k8s.io/") {
            return (201, body.clone());
        }
        if *method == Method::GET {
            return self.read(path, uri.query().unwrap_or_default());
        }
        if path.ends_with("/token") {
            return failure(404, "NotFound", "nobody serves here");
        }
        self.writes.push(format!("{method} {path}"));
        if self.forbidden.contains(path) {
            return failure(403, "Forbidden", "not now");
        }
        if *method == Method::DELETE {
            return self.delete(path, body);
        }
        if let Some(path) = path.strip_suffix("/status") {
            let Some(object) = self.objects.get_mut(path) else { return failure(404, "NotFound", "none") };
            object["status"] = body["status"].clone();
            return (200, object.clone());
        }
        if headers.get(CONTENT_TYPE).is_some_and(|form| form == "application/merge-patch+json") {
            return self.merge(path, body);
        }
        if body.is_array() { self.change_finalizers(path, body) } else { self.apply(path, body) }
    }

    fn read(&self, path: &str, query: &str) -> (u16, Value) {
        if let Some(object) = self.objects.get(path) {
            return (200, object.clone());
        }
        let is_object = self.objects.keys().any(|at| at.rsplit_once('/').is_some_and(|(list, _)| list == path));
        let plural = path.rsplit('/').next().unwrap_or_default();
        if !is_object && !matches!(plural, "pods" | "events" | "services" | "serviceaccounts" | "poddisruptionbudgets")
        {
            return failure(404, "NotFound", "none");
        }
        let below = format!("{path}/");
        let found: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(at, object)| at.starts_with(&below) && selected(object, query))
            .map(|(_, object)| object)
            .collect();
        (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": found}))
    }

    fn delete(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get(path) else { return failure(404, "NotFound", "none") };
        let asked = &body["preconditions"]["uid"];
        if !asked.is_null() && *asked != object["metadata"]["uid"] {
            return failure(409, "Conflict", "another uid");
        }
        (200, self.objects.remove(path).unwrap())
    }

    /// Server-side apply by the only manager there is: what it says replaces what it said.
    fn apply(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let before = self.objects.get(path).cloned();
        let uid = &body["metadata"]["uid"];
        if !uid.is_null() && before.as_ref().is_none_or(|old| old["metadata"]["uid"] != *uid) {
            return failure(409, "Conflict", "another uid");
        }
        let mut object = body.clone();
        leave_out_zero_values(&mut object);
        let old = before.unwrap_or_else(|| {
            self.created += 1;
            json!({"metadata": {"uid": format!("uid-{}", self.created), "generation": 1}})
        });
        for key in ["uid", "generation"] {
            object["metadata"][key] = old["metadata"][key].clone();
        }
        if let Some(status) = old.get("status") {
            object["status"] = status.clone();
        }
        if path.contains("/deployments/") && old.get("spec").is_some_and(|spec| *spec != object["spec"]) {
            object["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        if path.contains("/services/") {
            self.give_address(&mut object, &old);
        }
        let mut said = body.clone();
        if let Some(metadata) = said["metadata"].as_object_mut() {
            metadata.retain(|key, _| matches!(key.as_str(), "labels" | "annotations" | "ownerReferences"));
        }
        object["metadata"]["managedFields"] = json!([{
            "manager": FIELD_MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields(&said)
        }]);
        self.objects.insert(path.to_owned(), object.clone());
        (200, object)
    }

    fn merge(&mut self, path: &str, change: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get_mut(path) else { return failure(404, "NotFound", "none") };
        let uid = &change["metadata"]["uid"];
        if !uid.is_null() && object["metadata"]["uid"] != *uid {
            return failure(409, "Conflict", "another uid");
        }
        merge(object, change);
        (200, object.clone())
    }

    fn give_address(&self, object: &mut Value, old: &Value) {
        let spec = &mut object["spec"];
        if spec["clusterIPs"].is_null() {
            let kept = &old["spec"]["clusterIPs"];
            let fresh = json!([format!("10.96.0.{}", self.created)]);
            spec["clusterIPs"] = if kept.is_null() { fresh } else { kept.clone() };
            spec["clusterIP"] = spec["clusterIPs"][0].clone();
        }
    }

    fn change_finalizers(&mut self, path: &str, operations: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get_mut(path) else { return failure(404, "NotFound", "none") };
        for operation in operations.as_array().unwrap() {
            match operation["op"].as_str().unwrap() {
                "add" => object["metadata"]["finalizers"] = operation["value"].clone(),
                "remove" => object["metadata"]["finalizers"] = json!([]),
                _ => {}
            }
        }
        let answer = object.clone();
        let free = answer["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if free && answer["metadata"].get("deletionTimestamp").is_some() {
            self.objects.remove(path);
        }
        (200, answer)
    }
}

/// A merge patch, as RFC 7386 has it.
fn merge(object: &mut Value, patch: &Value) {
    let (Some(fields), Some(changes)) = (object.as_object_mut(), patch.as_object()) else {
        *object = patch.clone();
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(json!({})), change);
        }
    }
}

/// What is said in an object, owned by whoever said it, and not stored.
fn leave_out_zero_values(object: &mut Value) {
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.retain(|key, value| key != "paused" || *value != false);
    }
    if let Some(pod) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        pod.retain(|key, value| key != "nodeSelector" || *value != json!({}));
    }
}

/// Whether an object has the labels that a list asks for.
fn selected(object: &Value, query: &str) -> bool {
    let Some(selector) = query.split('&').find_map(|part| part.strip_prefix("labelSelector=")) else { return true };
    let selector = selector.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
    selector.split(',').all(|pair| {
        let (key, value) = pair.split_once('=').unwrap();
        object["metadata"]["labels"][key] == value
    })
}

/// Names of the fields, as the API server notes who set them; lists as one value.
fn fields(value: &Value) -> Value {
    let Value::Object(map) = value else { return json!({}) };
    let named = map
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"))
        .map(|(key, below)| (format!("f:{key}"), fields(below)));
    Value::Object(named.collect::<Map<_, _>>())
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message}),
    )
}
