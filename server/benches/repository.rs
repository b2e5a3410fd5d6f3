//! `cargo bench -p server --bench repository`: how long `/repo` takes with 5,000 packages, and the memory that it needs.
//!
//! The packages are made from the fixtures (`PACKAGE_REGISTRY_FIXTURES`, or `shared/fixtures` beside the checkout), each with a
//! version of its own, as they are in a store of files.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use bundle::stream::{Limits, Parts, Receipt, Sink};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use server::audit::Audit;
use server::auth::Auth;
use server::catalogue::entry::{Declared, Entry, Publication};
use server::catalogue::{Catalogue, Intent, Number};
use server::declarations::Declarations;
use server::http::{Readers, Server, Settings, Usage, app};
use server::ingest::Ingest;
use server::ingest::policy::SourcePolicy;
use server::metrics::Metrics;
use server::storage::file::FileStorage;
use server::storage::{Condition, Storage, keys};
use server::uploads::{Pace, Uploads};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const PACKAGES: usize = 5000;

struct NoBlobs;

impl Sink for NoBlobs {
    type Error = std::io::Error;

    fn blob(&mut self, _: &mut dyn std::io::Read) -> Result<Receipt, Self::Error> {
        Err(std::io::Error::other("no blobs here"))
    }

    fn read_back(&mut self, _: &str, _: u64) -> Result<Vec<u8>, Self::Error> {
        Err(std::io::Error::other("no blobs here"))
    }
}

fn main() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let folder = std::env::var_os("PACKAGE_REGISTRY_FIXTURES").map_or(beside, PathBuf::from);
    let mut directories = Vec::new();
    if folder.is_dir() {
        find(&folder, &mut directories);
    }
    if directories.is_empty() {
        println!("skipped: no fixtures at {}", folder.display());
        return;
    }
    let templates: Vec<Value> = directories.iter().map(|directory| metadata(directory)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&templates));
}

async fn run(templates: &[Value]) {
    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::open(folder.path()).unwrap());
    for number in 0..PACKAGES {
        let bundle = bundle(templates, number);
        let publication = Publication {
            release_version: number as u64,
            source: api::PackageSource::Upload,
            declaration: declared(number),
            added_at: String::new(),
            order: number as u64,
        };
        let entry = Entry::new(bundle, publication).unwrap();
        let bytes = serde_json::to_vec(&entry).unwrap();
        storage.put(&keys::entry(&entry.code().unwrap()), bytes.into(), Condition::Absent).await.unwrap();
    }
    let catalogue = Catalogue::new(storage);
    let app = app(server(&catalogue));
    reset_peak();
    println!("resident before, MiB: {:.0}", resident("VmRSS"));
    measure(&app, "first answer, gzip", "gzip").await;
    for _ in 0..3 {
        measure(&app, "later answer, gzip", "gzip").await;
    }
    measure(&app, "answer, not packed", "identity").await;
    let intent =
        Intent { number: Number::From(0), source: api::PackageSource::Upload, declaration: declared(PACKAGES) };
    catalogue.publish(bundle(templates, PACKAGES), intent, &CancellationToken::new()).await.unwrap();
    measure(&app, "answer after one change, gzip", "gzip").await;
    measure(&app, "answer after one change, again", "gzip").await;
    println!("peak resident, MiB: {:.0}", resident("VmHWM"));
}

fn server(catalogue: &Catalogue) -> Server {
    let (audit, metrics, limits) = (Audit::keeping(), Metrics::default(), Limits::default());
    let ingest = Ingest { catalogue: catalogue.clone(), policy: Arc::new(SourcePolicy::default()), limits };
    let settings =
        Settings { scheme: "https", public_host: Some("r.test".into()), anonymous_pull: true, operator_managed: false };
    Server {
        settings: Arc::new(settings),
        declarations: Declarations::restore(ingest, Vec::new(), audit.clone(), metrics.clone()),
        uploads: Uploads::new(catalogue.clone(), limits, Pace::default(), audit.clone(), metrics.clone()),
        readers: Readers::default(),
        catalogue: catalogue.clone(),
        auth: Arc::new(Auth::None),
        audit,
        metrics,
        usage: Usage::default(),
    }
}

async fn measure(app: &Router, what: &str, encoding: &str) {
    let request = Request::get("/repo").header("accept-encoding", encoding).body(Body::empty()).unwrap();
    let began = Instant::now();
    let response = app.clone().oneshot(request).await.unwrap();
    let head = began.elapsed();
    let (mut body, mut bytes) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
    }
    let all = began.elapsed();
    println!("{what}: head {head:.1?}, all {all:.1?}, {bytes} bytes");
}

fn declared(number: usize) -> Declared {
    Declared { id: format!("bench-{number}"), source: String::new(), by: String::new() }
}

fn bundle(templates: &[Value], number: usize) -> bundle::model::Bundle {
    let mut metadata = templates[number % templates.len()].clone();
    metadata["version"] = format!("1.0-{number}").into();
    let parts = Parts { metadata: serde_json::to_vec(&metadata).unwrap(), ..Parts::default() };
    parts.complete(&mut NoBlobs, &Limits::default()).unwrap()
}

/// A line of `/proc/self/status`, in MiB.
fn resident(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("package.json").is_file() {
        found.push(folder.to_owned());
        return;
    }
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).for_each(|path| find(&path, found));
}

/// The metadata of a fixture without images and local files, which would need blobs.
fn metadata(directory: &Path) -> Value {
    let part = |name: &str| {
        std::fs::read(directory.join(name)).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let mut metadata = part("package.json").unwrap();
    metadata.as_object_mut().unwrap().shift_remove("selected");
    metadata.as_object_mut().unwrap().extend(part("config.json").map(|config| ("config".to_owned(), config)));
    if let Ok(template) = std::fs::read(directory.join("marathon.json.mustache")) {
        let template = base64::engine::general_purpose::STANDARD.encode(template);
        metadata["marathon"] = serde_json::json!({ "v2AppMustacheTemplate": template });
    }
    let Some(mut resource) = part("resource.json") else { return metadata };
    if let Some(assets) = resource.get_mut("assets").and_then(Value::as_object_mut) {
        assets.shift_remove("container");
    }
    if !resource.to_string().contains("\"./") && !resource.to_string().contains("\"files/") {
        metadata["resource"] = resource;
    }
    metadata
}
