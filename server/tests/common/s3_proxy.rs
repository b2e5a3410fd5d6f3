//! What stands between a store and a real S3 server, on loopback, and does harm on purpose.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It isn't passed on; an error is answered.
    Answer(u16, &'static str),
    /// It isn't passed on; the connection ends.
    Reset,
    /// It is passed on, and its answer is lost with the connection.
    LoseAnswer,
    /// It is passed on later.
    Delay(Duration),
    /// It is passed on, and what fails is answered with 200 and another version, as by a store that knows no conditions.
    Forgive,
    /// It is passed on; the body breaks off after so many bytes.
    BreakBody(usize),
    /// It is passed on; the answer's date is another one.
    Date(&'static str),
}

/// A call, as the server sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    /// Id of the key that signed it.
    pub key_id: String,
}

impl Call {
    /// Whether it is an upload of one of several parts.
    pub fn is_part(&self) -> bool {
        self.method == Method::PUT && self.query.contains("partNumber=")
    }

    /// Whether it begins an upload of several parts.
    pub fn begins(&self) -> bool {
        self.method == Method::POST && self.query.split('&').any(|part| part == "uploads" || part == "uploads=")
    }

    /// Whether it makes an object of parts.
    pub fn completes(&self) -> bool {
        self.method == Method::POST && self.query.contains("uploadId=")
    }
}

type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;
type Body = BoxBody<Bytes, io::Error>;

struct State {
    server: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    rule: Mutex<Rule>,
    calls: Mutex<Vec<Call>>,
}

/// A running proxy.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// Passes everything on to a server.
    pub async fn start(server: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let state = Arc::new(State {
            server,
            client: Client::builder(TokioExecutor::new()).build_http(),
            rule: Mutex::new(Box::new(|_| None)),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    /// From now on, asks for each call what is to happen to it.
    pub fn rule(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        *self.state.rule.lock().unwrap() = Box::new(rule);
    }

    /// From now on, passes everything on.
    pub fn heal(&self) {
        self.rule(|_| None);
    }

    /// Calls since the last time that this was asked.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.state.calls.lock().unwrap())
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // Connections end in an error where that is what a test is about.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|error: Infallible| match error {}).boxed()
}

fn error(status: u16, code: &str) -> Response<Body> {
    let body = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>"#
    );
    Response::builder().status(status).header("content-type", "application/xml").body(full(body)).unwrap()
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> io::Result<Response<Body>> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let call = Call { method: request.method().clone(), path, query, key_id: signer(&request) };
    let fault = (state.rule.lock().unwrap())(&call);
    state.calls.lock().unwrap().push(call);
    match fault {
        Some(Fault::Answer(status, code)) => {
            request.into_body().collect().await.map_err(io::Error::other)?;
            return Ok(error(status, code));
        }
        Some(Fault::Reset) => return Err(io::Error::other("on purpose")),
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let mut response = forward(request, &state).await?;
    match fault {
        Some(Fault::LoseAnswer) => {
            let _ = response.into_body().collect().await;
            return Err(io::Error::other("on purpose"));
        }
        Some(Fault::Forgive) if response.status() == StatusCode::PRECONDITION_FAILED => {
            return Ok(Response::builder().header("etag", r#""forgiven""#).body(full("")).unwrap());
        }
        Some(Fault::Date(date)) => {
            response.headers_mut().insert(DATE, HeaderValue::from_static(date));
        }
        Some(Fault::BreakBody(after)) => return Ok(broken(response, after).await),
        _ => {}
    }
    Ok(response)
}

/// Whose key a request is signed with: `AWS4-HMAC-SHA256 Credential=<key id>/<date>/…`.
fn signer(request: &Request<Incoming>) -> String {
    let signature = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scope = signature.split_once("Credential=").map_or("", |(_, rest)| rest);
    scope.split('/').next().unwrap_or_default().to_owned()
}

async fn forward(request: Request<Incoming>, state: &State) -> io::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = parts.uri.path_and_query().unwrap();
    // The host's name stays: it is part of what was signed.
    parts.uri = format!("http://{}{target}", state.server).parse::<Uri>().unwrap();
    let response = state.client.request(Request::from_parts(parts, Full::new(body))).await.map_err(io::Error::other)?;
    Ok(response.map(|body| body.map_err(io::Error::other).boxed()))
}

async fn broken(response: Response<Body>, after: usize) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let sent = bytes.slice(..bytes.len().min(after));
    let end = futures::stream::once(async {
        // Until what was sent so far is on its way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("on purpose"))
    });
    let frames = futures::stream::iter([Ok(Frame::data(sent))]).chain(end);
    let mut response = Response::from_parts(parts, BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    response
}
