//! A cluster and a registry's server in this process, small enough to be read whole.
#![expect(dead_code, reason = "every test file uses its part")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{Declaration, DeclarationSpec, PackageImage, Progress, PublishedPackage, State as Stage};
use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{
        HeaderMap, StatusCode,
        header::{ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response as Answer},
    routing::{get, put},
};
use controller::{
    arguments::Settings,
    context::Context,
    metrics::Metrics,
    package::{Error, PackageContext, reconcile},
};
use crds::{Package, PackageRegistry};
use data_encoding::HEXLOWER;
use http::{Method, Request, Response};
use kube::{
    Client,
    client::Body,
    runtime::{
        controller::Action,
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const API: &str = "/apis/registry.dcos.io/v1alpha1/namespaces/apps";

/// What the fake server holds.
#[derive(Default)]
pub struct ServerState {
    /// Declarations by id.
    pub declarations: BTreeMap<String, Declaration>,
    /// Specs by id, as put last.
    pub specs: BTreeMap<String, DeclarationSpec>,
    /// Uploads by name and version, as `/api/v1/packages` has them.
    pub uploads: BTreeMap<(String, String), Value>,
    /// Every call: method and path below `/api/v1`.
    pub calls: Vec<String>,
    /// What the next `PUT` is answered with, instead of `Pending`.
    pub refuses: Option<(api::FailureReason, String)>,
    /// Whether tokens are refused.
    pub denies: bool,
}

type Shared = Arc<Mutex<ServerState>>;

/// What the fake API server holds.
#[derive(Default)]
pub struct ClusterState {
    /// Objects by path.
    pub objects: BTreeMap<String, Value>,
    /// Every mutating call but Events and tokens.
    pub writes: Vec<String>,
    /// Token requests.
    pub tokens: usize,
    /// Paths of which calls are never answered.
    pub silent: Vec<String>,
    /// Paths that nobody may read.
    pub forbidden: Vec<String>,
}

/// Both, and what the reconciler needs.
pub struct World {
    /// The registry's server.
    pub server: Shared,
    /// The API server.
    pub cluster: Arc<Mutex<ClusterState>>,
    /// The reconciler's context.
    pub context: Arc<PackageContext>,
    packages: Writer<Package>,
    registries: Writer<PackageRegistry>,
}

impl World {
    /// A cluster with a registry `main` that serves and may mirror upstreams, and no Package.
    pub async fn begin() -> Self {
        Self::begin_with(&["apps"]).await
    }

    /// The same; registries in these namespaces may mirror upstreams.
    pub async fn begin_with(privileged: &[&str]) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, server_app(Arc::clone(&server))).into_future());
        let cluster = Arc::new(Mutex::new(ClusterState::default()));
        let client = client(Arc::clone(&cluster));
        let (package_store, packages) = reflector::store();
        let (registry_store, registries) = reflector::store();
        let settings = Settings {
            operator_namespace: "ops".into(),
            node_trust_namespace: "ops-node-trust".into(),
            image: "all:1".into(),
            image_pull_policy: "IfNotPresent".into(),
            privileged_namespaces: privileged.iter().map(ToString::to_string).collect(),
            cluster_domain: None,
            containerd_certs_dir: "/etc/containerd/certs.d".into(),
            containerd_config_dir: "/etc/containerd".into(),
        };
        let shared = Arc::new(Context::new(client, settings, Metrics::new(), None, package_store, registry_store));
        let mut world = Self { server, cluster, context: Arc::new(PackageContext::new(shared)), packages, registries };
        world.packages.apply_watcher_event(&Event::InitDone);
        world.registries.apply_watcher_event(&Event::InitDone);
        world.set_registry(&url, "2026-01-01T00:00:00Z", "True");
        world
    }

    /// Makes or changes the registry; `since` is when its `ServingReady` became what it is.
    pub fn set_registry(&mut self, url: &str, since: &str, serving: &str) {
        self.set_registry_object(json!({
            "apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageRegistry",
            "metadata": {"name": "main", "namespace": "apps", "uid": "r1", "generation": 1},
            "spec": {},
            "status": {"url": url, "conditions": [{"type": "ServingReady", "status": serving, "reason": "Succeeded",
                "message": "", "lastTransitionTime": since}]}
        }));
    }

    fn set_registry_object(&mut self, object: Value) {
        self.registries.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
        self.cluster.lock().unwrap().objects.insert(format!("{API}/packageregistries/main"), object);
    }

    /// Lets a pass wait for answers only for so long.
    pub fn hurry(&mut self, longest: Duration) {
        let context = Arc::get_mut(&mut self.context).unwrap();
        Arc::get_mut(&mut context.shared).unwrap().longest_pass = longest;
    }

    /// Address of the fake server.
    pub fn server_url(&self) -> String {
        let cluster = self.cluster.lock().unwrap();
        cluster.objects[&format!("{API}/packageregistries/main")]["status"]["url"].as_str().unwrap().to_owned()
    }

    /// Deletes the registry.
    pub fn delete_registry(&mut self) {
        let object = self.cluster.lock().unwrap().objects.remove(&format!("{API}/packageregistries/main")).unwrap();
        self.registries.apply_watcher_event(&Event::Delete(serde_json::from_value(object).unwrap()));
    }

    /// Makes a Package that was created at that second of 2026.
    pub fn create(&mut self, name: &str, second: u32, source: &Value) {
        self.put(json!({
            "apiVersion": "registry.dcos.io/v1alpha1", "kind": "Package",
            "metadata": {"name": name, "namespace": "apps", "uid": uid(name), "generation": 1,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"registryRef": {"name": "main"}, "source": {"url": source}}
        }));
    }

    /// Makes a Secret.
    pub fn secret(&mut self, name: &str, data: &Value) {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "apps"}, "data": data});
        self.cluster.lock().unwrap().objects.insert(format!("/api/v1/namespaces/apps/secrets/{name}"), object);
    }

    /// Makes a workload, a namespace, or anything else that is only read.
    pub fn add(&mut self, path: &str, object: Value) {
        self.cluster.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Takes something away that is only read.
    pub fn take(&mut self, path: &str) {
        self.cluster.lock().unwrap().objects.remove(path);
    }

    /// Sets a field of the registry's spec.
    pub fn set_registry_spec(&mut self, spec: Value) {
        let mut object = self.cluster.lock().unwrap().objects[&format!("{API}/packageregistries/main")].clone();
        object["spec"] = spec;
        self.set_registry_object(object);
    }

    /// Replaces a Package object.
    pub fn put(&mut self, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.cluster.lock().unwrap().objects.insert(format!("{API}/packages/{name}"), object);
        self.observe(&name);
    }

    /// The Package as the cluster has it; `None`: it is gone.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.cluster.lock().unwrap().objects.get(&format!("{API}/packages/{name}")).cloned()
    }

    /// Lets the reconciler see every Package of the cluster, those among them that it made.
    pub fn observe_all(&mut self) {
        let prefix = format!("{API}/packages/");
        let names: Vec<String> = {
            let cluster = self.cluster.lock().unwrap();
            cluster.objects.keys().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect()
        };
        for name in names {
            self.observe(&name);
        }
    }

    /// Lets the server have an upload.
    pub fn upload(&self, package: &str, version: &str, digest: &str) {
        let entry = json!({"name": package, "version": version, "status": "Added", "source": "upload", "digest": digest,
            "releaseVersion": 1_767_225_999, "size": 10, "removalRequested": false});
        self.server.lock().unwrap().uploads.insert((package.to_owned(), version.to_owned()), entry);
    }

    /// Lets the reconciler see what the cluster has.
    fn observe(&mut self, name: &str) {
        if let Some(object) = self.object(name) {
            self.packages.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
        }
    }

    /// One pass over a Package.
    pub async fn pass(&mut self, name: &str) -> Result<Action, Error> {
        let object = serde_json::from_value(self.object(name).expect("the Package is gone")).unwrap();
        let result = reconcile(Arc::new(object), Arc::clone(&self.context)).await;
        self.observe(name);
        result
    }

    /// `(status, reason)` of a condition.
    pub fn condition(&self, name: &str, type_: &str) -> (String, String) {
        let object = self.object(name).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|condition| condition["type"] == type_).map_or_else(Default::default, |condition| {
            (condition["status"].as_str().unwrap().to_owned(), condition["reason"].as_str().unwrap().to_owned())
        })
    }

    /// Takes the server's calls so far.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.server.lock().unwrap().calls)
    }

    /// Takes the mutating calls so far.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.cluster.lock().unwrap().writes)
    }

    /// Lets the server find that many more images in what `name` declared, with numbers from 1 on.
    pub fn add_images(&self, name: &str, count: usize) {
        let mut server = self.server.lock().unwrap();
        let package = server.declarations.get_mut(&uid(name)).unwrap().package.as_mut().unwrap();
        let more: Vec<_> = (1..=count).map(|number| image(&package.name, &package.version, number)).collect();
        package.images.extend(more);
    }

    /// Lets the server finish what `name` declared.
    pub fn publish(&self, name: &str, package: &str, version: &str) {
        let mut server = self.server.lock().unwrap();
        let release = server.specs[&uid(name)].release_version;
        let declaration = server.declarations.get_mut(&uid(name)).unwrap();
        declaration.state = Stage::Added;
        declaration.package = Some(PublishedPackage {
            name: package.into(),
            version: version.into(),
            release_version: release.unwrap_or(1_767_225_999),
            digest: "sha256:aa".into(),
            size: 10,
            images: vec![PackageImage {
                name: "main".into(),
                reference: format!("docker.io/library/{package}:{version}@sha256:{}", "b".repeat(64)),
                digest: format!("sha256:{}", "b".repeat(64)),
                platforms: vec!["linux/amd64".into()],
            }],
        });
    }
}

/// Image number `number` of a package.
fn image(package: &str, version: &str, number: usize) -> PackageImage {
    let digest = format!("sha256:{number:064x}");
    PackageImage {
        name: format!("image-{number}"),
        reference: format!("docker.io/library/{package}-{number}:{version}@{digest}"),
        digest,
        platforms: vec!["linux/amd64".into()],
    }
}

/// Uid of the Package of that name.
pub fn uid(name: &str) -> String {
    let number: u64 = name.bytes().fold(7, |sum, byte| sum * 31 % 0xffff_ffff + u64::from(byte));
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn server_app(state: Shared) -> Router {
    Router::new()
        .route("/api/v1/declarations/{id}", put(put_declaration).get(get_declaration).delete(delete_declaration))
        .route("/api/v1/packages", get(list_packages))
        .route("/api/v1/packages/{name}/{version}", get(get_package).delete(delete_package))
        .with_state(state)
}

fn enter(state: &Shared, headers: &HeaderMap, call: String) -> Result<(), Box<Answer>> {
    let mut state = state.lock().unwrap();
    state.calls.push(call);
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if state.denies || !token.starts_with("Bearer token-") {
        let body = json!({"type": "Unauthorized", "message": "who are you"});
        return Err(Box::new((StatusCode::UNAUTHORIZED, Json(body)).into_response()));
    }
    Ok(())
}

async fn put_declaration(
    State(state): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(spec): Json<DeclarationSpec>,
) -> Result<Json<Declaration>, Answer> {
    enter(&state, &headers, format!("PUT {id}")).map_err(|answer| *answer)?;
    let mut state = state.lock().unwrap();
    let refused = state.refuses.clone();
    let declaration = Declaration {
        id: id.clone(),
        state: if refused.is_some() { Stage::Failed } else { Stage::Pending },
        reason: refused.as_ref().map(|(reason, _)| *reason),
        message: refused.map(|(_, message)| message),
        progress: Progress::default(),
        package: None,
    };
    state.specs.insert(id.clone(), spec);
    state.declarations.insert(id, declaration.clone());
    Ok(Json(declaration))
}

async fn get_declaration(
    State(state): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Declaration>, Answer> {
    enter(&state, &headers, format!("GET {id}")).map_err(|answer| *answer)?;
    state.lock().unwrap().declarations.get(&id).cloned().map(Json).ok_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn delete_declaration(
    State(state): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Declaration>, Answer> {
    enter(&state, &headers, format!("DELETE {id}")).map_err(|answer| *answer)?;
    let mut state = state.lock().unwrap();
    let mut declaration = state.declarations.remove(&id).ok_or_else(|| StatusCode::NOT_FOUND.into_response())?;
    declaration.state = Stage::Removing;
    Ok(Json(declaration))
}

async fn list_packages(State(state): State<Shared>, headers: HeaderMap) -> Result<Answer, Answer> {
    enter(&state, &headers, "LIST".to_owned()).map_err(|answer| *answer)?;
    let mut state = state.lock().unwrap();
    let declared = state.declarations.values().filter_map(|declaration| {
        let package = declaration.package.as_ref()?;
        Some(json!({"name": package.name, "version": package.version, "status": declaration.state, "source": "url",
            "releaseVersion": package.release_version, "managedBy": declaration.id,
            "declaredBy": state.specs[&declaration.id].declared_by, "images": package.images}))
    });
    let packages: Vec<Value> = declared.chain(state.uploads.values().cloned()).collect();
    let list = json!({"packages": packages});
    let tag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(list.to_string())));
    if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == *tag) {
        state.calls.push("KNOWN".to_owned());
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], Json(list)).into_response())
}

async fn get_package(
    State(state): State<Shared>,
    Path(coordinate): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Answer> {
    enter(&state, &headers, format!("GET {}/{}", coordinate.0, coordinate.1)).map_err(|answer| *answer)?;
    let found = state.lock().unwrap().uploads.get(&coordinate).cloned();
    found.map(Json).ok_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn delete_package(
    State(state): State<Shared>,
    Path(coordinate): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    let query = query.unwrap_or_default();
    enter(&state, &headers, format!("DELETE {}/{}?{query}", coordinate.0, coordinate.1)).map_err(|answer| *answer)?;
    let removed = state.lock().unwrap().uploads.remove(&coordinate);
    removed
        .map(|entry| (StatusCode::ACCEPTED, Json(entry)).into_response())
        .ok_or_else(|| StatusCode::NOT_FOUND.into_response())
}

fn client(cluster: Arc<Mutex<ClusterState>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (parts, body) = request.into_parts();
            let is_silent = cluster.lock().unwrap().silent.iter().any(|path| path == parts.uri.path());
            if is_silent {
                std::future::pending::<()>().await;
            }
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (status, answer) = cluster.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
            let text = serde_json::to_vec(&answer).unwrap();
            Ok::<_, Infallible>(Response::builder().status(status).body(Body::from(text)).unwrap())
        }
    });
    Client::new(service, "apps")
}

impl ClusterState {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if path.starts_with("/apis/events.k8s.io/") {
            return (201, body.clone());
        }
        if path.ends_with("/token") {
            self.tokens += 1;
            let mut answer = body.clone();
            answer["status"] =
                json!({"token": format!("token-{}", self.tokens), "expirationTimestamp": "2999-01-01T00:00:00Z"});
            return (201, answer);
        }
        if self.forbidden.iter().any(|forbidden| forbidden == path) {
            let message = format!("{path} is not for you");
            return (
                403,
                json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": message}),
            );
        }
        if *method == Method::GET {
            return self.read(path);
        }
        self.writes.push(format!("{method} {path}"));
        if *method == Method::POST {
            return self.create(path, body);
        }
        let (object_path, is_status) = path.strip_suffix("/status").map_or((path, false), |path| (path, true));
        let Some(object) = self.objects.get_mut(object_path) else { return not_found() };
        if *method == Method::DELETE {
            object["metadata"]["deletionTimestamp"] = json!("2999-01-01T00:00:00Z");
        } else if is_status {
            object["status"] = body["status"].clone();
        } else {
            change_finalizers(object, body);
        }
        let answer = object.clone();
        let metadata = &answer["metadata"];
        if metadata.get("deletionTimestamp").is_some() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty) {
            self.objects.remove(object_path);
        }
        (200, answer)
    }

    fn create(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let name = body["metadata"]["name"].as_str().unwrap();
        let mut object = body.clone();
        object["metadata"]["uid"] = json!(uid(name));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.objects.insert(format!("{path}/{name}"), object.clone());
        (201, object)
    }

    fn read(&self, path: &str) -> (u16, Value) {
        if let Some(kind) = workload_kind(path) {
            let items: Vec<&Value> = self.objects.values().filter(|object| object["kind"] == kind).collect();
            return (200, json!({"metadata": {}, "items": items}));
        }
        if path.ends_with("/packages") {
            let items: Vec<&Value> =
                self.objects.iter().filter(|(at, _)| at.starts_with(path)).map(|(_, object)| object).collect();
            return (
                200,
                json!({"apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageList", "metadata": {}, "items": items}),
            );
        }
        self.objects.get(path).map_or_else(not_found, |object| (200, object.clone()))
    }
}

/// Kind of the objects behind a path that lists workloads of all namespaces.
fn workload_kind(path: &str) -> Option<&'static str> {
    Some(match path {
        "/api/v1/pods" => "Pod",
        "/apis/apps/v1/deployments" => "Deployment",
        "/apis/apps/v1/statefulsets" => "StatefulSet",
        "/apis/batch/v1/cronjobs" => "CronJob",
        "/apis/batch/v1/jobs" => "Job",
        _ => return None,
    })
}

fn change_finalizers(object: &mut Value, patch: &Value) {
    for operation in patch.as_array().expect("finalizers are changed by JSON patch") {
        match operation["op"].as_str().unwrap() {
            "add" => object["metadata"]["finalizers"] = operation["value"].clone(),
            "remove" => object["metadata"]["finalizers"] = json!([]),
            _ => {}
        }
    }
}

fn not_found() -> (u16, Value) {
    (
        404,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "none"}),
    )
}
