//! A registry on this machine that can demand tokens, cut connections, fail and be slow.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, LINK, RANGE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bundle::digest::sha256;
use futures::StreamExt;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Bytes that are sent at a time.
pub const CHUNK: usize = 16 * 1024;

/// How the registry behaves.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Answers to blobs end after so many bytes, without having come to their end.
    pub cut: Option<usize>,
    /// So many requests are answered with 503 first.
    pub fail: usize,
    /// Between two chunks.
    pub pause: Duration,
    /// What must be shown.
    pub demand: Demand,
    /// The path before `/v2/`, or in its place.
    pub base: &'static str,
    /// Whether it lists referrers, and how many on a page.
    pub referrers: Option<usize>,
    /// What isn't given to anybody: requests whose path ends so are answered with 403.
    pub withheld: Option<&'static str>,
    /// Blobs have these bytes instead of their own.
    pub other: Option<&'static [u8]>,
}

/// What a registry wants to see.
#[derive(Clone, Default)]
pub enum Demand {
    #[default]
    Nothing,
    /// This user and password.
    Basic(&'static str),
    /// A token from its own `/token`, for this user and password.
    Token(&'static str),
    /// A token from its own `/token`, for this refresh token.
    Refresh(&'static str),
    /// A token from there.
    Elsewhere(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub query: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub body: String,
}

#[derive(Default)]
struct Content {
    /// `repository:tag` or `repository@digest`, with type.
    manifests: HashMap<String, (String, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    /// What refers to a digest.
    referrers: HashMap<String, Vec<Value>>,
    /// Anything else, by path.
    files: HashMap<String, Vec<u8>>,
    behaviour: Behaviour,
    asked: Vec<Asked>,
    /// Bytes of blobs that were sent.
    sent: usize,
}

/// A registry that listens until its process ends.
pub struct Registry {
    content: Arc<Mutex<Content>>,
    /// `127.0.0.1:<port>`
    pub host: String,
}

impl Registry {
    pub fn start(behaviour: Behaviour) -> Self {
        let content = Arc::new(Mutex::new(Content { behaviour, ..Content::default() }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let app = Router::new().fallback(answer).with_state(content.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
            });
        });
        Self { content, host }
    }

    /// The same by TLS on `localhost`, with a certificate of that authority; where `clients` is given, for those alone who have
    /// a certificate of that one.
    pub fn start_tls(authority: &Authority, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(clients.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let (leaf, key) = authority.issue("localhost");
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let content = Arc::new(Mutex::new(Content::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        listener.set_nonblocking(true).unwrap();
        let app = Router::new().fallback(answer).with_state(content.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
                axum::serve(Tls { listener, acceptor }, app).await.unwrap();
            });
        });
        Self { content, host }
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.content.lock().unwrap().behaviour);
    }

    pub fn file(&self, path: &str, bytes: &[u8]) {
        self.content.lock().unwrap().files.insert(path.to_owned(), bytes.to_vec());
    }

    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.content.lock().unwrap().blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub fn manifest(&self, repository: &str, media_type: &str, document: &Value, tag: Option<&str>) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = sha256(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        let mut content = self.content.lock().unwrap();
        for name in [Some(format!("{repository}@{digest}")), tag.map(|tag| format!("{repository}:{tag}"))] {
            content.manifests.extend(name.map(|name| (name, (media_type.to_owned(), bytes.clone()))));
        }
        descriptor
    }

    /// An image of one platform.
    pub fn image(&self, repository: &str, tag: Option<&str>, architecture: &str, layers: &[&[u8]]) -> Value {
        let config = json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut target = self.manifest(repository, MANIFEST, &document, tag);
        target["platform"] = json!({"os": "linux", "architecture": architecture});
        target
    }

    /// An index of images that are there.
    pub fn index(&self, repository: &str, tag: &str, children: &[Value]) -> Value {
        let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.manifest(repository, INDEX, &document, Some(tag))
    }

    /// A manifest with a layer that refers to another, and is listed for it.
    pub fn referrer(&self, repository: &str, subject: &Value, layer: &[u8]) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob("application/octet-stream", layer);
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test.signature",
            "config": config, "layers": [layer], "subject": subject});
        let referrer = self.manifest(repository, MANIFEST, &document, None);
        self.list(subject, &referrer);
        referrer
    }

    /// A manifest with a layer that refers to nothing, under the tag beside another that what cosign keeps of that has.
    pub fn attachment(&self, repository: &str, subject: &Value, kind: &str, layer: &[u8]) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob("application/octet-stream", layer);
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        self.manifest(repository, MANIFEST, &document, Some(&beside(subject, kind)))
    }

    /// Lists a manifest for another.
    pub fn list(&self, subject: &Value, referrer: &Value) {
        let subject = subject["digest"].as_str().unwrap().to_owned();
        self.content.lock().unwrap().referrers.entry(subject).or_default().push(referrer.clone());
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.content.lock().unwrap().asked.clone()
    }

    /// Paths of requests for blobs.
    pub fn asked_blobs(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).filter(|path| path.contains("/blobs/")).collect()
    }

    /// Bytes of blobs and files that were sent.
    pub fn sent(&self) -> usize {
        self.content.lock().unwrap().sent
    }
}

/// The tag beside a manifest under which cosign keeps something of it.
pub fn beside(subject: &Value, kind: &str) -> String {
    format!("{}.{kind}", subject["digest"].as_str().unwrap().replace(':', "-"))
}

/// A CA.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate of it, and the key.
    pub fn issue(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Connections whose handshake succeeded.
struct Tls {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

type Shared = Arc<Mutex<Content>>;

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        path: request.uri.path().to_owned(),
        query: request.uri.query().unwrap_or_default().to_owned(),
        range: header(RANGE),
        authorization: header(AUTHORIZATION),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let host = header(axum::http::header::HOST).unwrap();
    let mut content = shared.lock().unwrap();
    content.asked.push(asked.clone());
    if content.behaviour.fail > 0 {
        content.behaviour.fail -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if content.behaviour.withheld.is_some_and(|end| asked.path.ends_with(end)) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if asked.path == "/token" {
        return token(&content.behaviour.demand, &asked);
    }
    if let Some(refusal) = refusal(&content.behaviour.demand, &asked, &host) {
        return refusal;
    }
    if let Some(bytes) = content.files.get(&asked.path).cloned() {
        let tag = format!("\"{}\"", &sha256(&bytes)[7..]);
        if header(IF_NONE_MATCH).is_some_and(|known| known == tag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        return sent(&shared, &content.behaviour.clone(), &bytes, &asked, &[("etag", &tag)]);
    }
    let base = if content.behaviour.base.is_empty() { "/v2" } else { content.behaviour.base };
    let unknown = |code: &str| {
        (StatusCode::NOT_FOUND, json!({"errors": [{"code": code, "message": "it is not here"}]}).to_string())
            .into_response()
    };
    let Some(path) = asked.path.strip_prefix(base) else { return unknown("UNSUPPORTED") };
    if let Some((repository, wanted)) = path.trim_start_matches('/').split_once("/manifests/") {
        let separator = if wanted.starts_with("sha256:") { '@' } else { ':' };
        return match content.manifests.get(&format!("{repository}{separator}{wanted}")) {
            Some((media_type, bytes)) => ([(CONTENT_TYPE, media_type.clone())], bytes.clone()).into_response(),
            None => unknown("MANIFEST_UNKNOWN"),
        };
    }
    let digest = path.rsplit('/').next().unwrap_or_default();
    if let (true, Some(size)) = (path.contains("/referrers/"), content.behaviour.referrers) {
        let all = content.referrers.get(digest).cloned().unwrap_or_default();
        let from: usize = asked.query.strip_prefix("from=").map_or(0, |from| from.parse().unwrap());
        let page: Vec<_> = all.iter().skip(from).take(size).collect();
        let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": page}).to_string();
        let link = format!("<{0}>; rel=\"first\", <{0}?from={1}>; rel=\"next\"", asked.path, from + size);
        let link = (from + size < all.len()).then_some([(LINK, link)]);
        return ([(CONTENT_TYPE, INDEX)], link, document).into_response();
    }
    match content.blobs.get(digest).cloned() {
        Some(bytes) => {
            let bytes = content.behaviour.other.map_or(bytes, <[u8]>::to_vec);
            sent(&shared, &content.behaviour.clone(), &bytes, &asked, &[])
        }
        None => unknown("BLOB_UNKNOWN"),
    }
}

fn token(demand: &Demand, asked: &Asked) -> Response {
    let whole = |asked: &str| asked.contains("scope=repository%3A") && asked.contains("service=s");
    if let Demand::Refresh(refresh) = demand {
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        let says = |key: &str, value: &str| form.get(key).is_some_and(|said| said == value);
        let right = whole(&asked.body) && says("grant_type", "refresh_token") && says("refresh_token", refresh);
        return match (right, &asked.authorization) {
            (true, None) => json!({"access_token": "good"}).to_string().into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        };
    }
    let Demand::Token(user) = demand else { return StatusCode::NOT_FOUND.into_response() };
    let expected = format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
    match asked.authorization.as_deref() {
        Some(shown) if shown == expected && whole(&asked.query) => json!({"token": "good"}).to_string().into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn refusal(demand: &Demand, asked: &Asked, host: &str) -> Option<Response> {
    let (good, challenge) = match demand {
        Demand::Nothing => return None,
        Demand::Basic(user) => {
            let expected = format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
            (expected, "Basic realm=\"r\"".to_owned())
        }
        Demand::Token(_) | Demand::Refresh(_) => {
            ("Bearer good".to_owned(), format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
        }
        Demand::Elsewhere(realm) => ("Bearer good".to_owned(), format!("Bearer realm=\"{realm}\",service=\"s\"")),
    };
    let shown = asked.authorization.as_deref() == Some(good.as_str());
    (!shown).then(|| (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response())
}

/// Bytes, from the offset that was asked for, chunk by chunk, as long as the behaviour lets them.
fn sent(
    shared: &Shared,
    behaviour: &Behaviour,
    bytes: &[u8],
    asked: &Asked,
    more: &[(&'static str, &str)],
) -> Response {
    let range = asked.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = range.unwrap_or(0);
    if from > 0 && from >= bytes.len() {
        let all = [(CONTENT_RANGE, format!("bytes */{}", bytes.len()))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, all).into_response();
    }
    let rest = bytes[from..].to_vec();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, rest.len().into());
    for (name, value) in more {
        headers.insert(*name, value.parse().unwrap());
    }
    if from > 0 {
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        headers.insert(CONTENT_RANGE, range.parse().unwrap());
    }
    let cut = behaviour.cut.filter(|cut| *cut < rest.len());
    let given = rest[..cut.unwrap_or(rest.len())].to_vec();
    let chunks: Vec<Bytes> = given.chunks(CHUNK).map(Bytes::copy_from_slice).collect();
    let (pause, counted) = (behaviour.pause, shared.clone());
    let body = futures::stream::iter(chunks).then(move |chunk| {
        let counted = counted.clone();
        async move {
            tokio::time::sleep(pause).await;
            counted.lock().unwrap().sent += chunk.len();
            Ok::<_, Infallible>(chunk)
        }
    });
    // What was given before is on its way by then.
    let end = futures::stream::iter(cut).then(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    });
    let body = body.map(|chunk| Ok(chunk.unwrap())).chain(end);
    let status = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    (status, headers, Body::from_stream(body)).into_response()
}
