//! Connections: accepted up to a limit, dropped when they stall, drained at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::greeting::Greeted;
use super::stall::Stalling;
use super::taking::Taking;
use crate::auth::RemoteAddress;
use crate::metrics::Metrics;

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until the other end has said which protocol it speaks.
const GREETING: Duration = Duration::from_secs(10);
/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// Between two signs of life of an HTTP/2 connection.
const PING: Duration = Duration::from_secs(30);
/// How long the other end may take nothing of what is sent.
const STALLED: Duration = Duration::from_mins(1);
const HEADER_BYTES: u32 = 32 << 10;
/// Bytes of a head, and of an answer that waits to be sent, on an HTTP/1 connection.
const BUFFER: usize = 64 << 10;
const STREAMS: u32 = 32;
/// When a connection has been silent for so long, the system asks whether the other end is still there, so often.
const SILENT: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASK: u32 = 4;

/// Serves until `stop`, then drains.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let builder = Arc::new(builder());
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, from, permit)) = accepted else { continue };
        let (app, tls, builder) = (app.clone(), tls.clone(), Arc::clone(&builder));
        let (watcher, connected) = (open.watcher(), metrics.connected());
        tokio::spawn(async move {
            let _until_the_end = (permit, connected);
            match tls {
                None => connection(stream, from, app, &builder, watcher).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, from, app, &builder, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS"),
                    Err(_) => tracing::debug!(%from, "no TLS in time"),
                },
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => {
            let _ = stream.set_nodelay(true);
            if let Err(error) = keep_alive(&stream) {
                tracing::debug!(%from, %error, "a connection is not kept alive");
            }
            Some((stream, from, permit))
        }
        Err(error) => {
            // Out of file descriptors, most likely: give those that are open time to end.
            tracing::error!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(stream, SILENT)?;
    sockopt::set_tcp_keepintvl(stream, ASK_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, ASK)?;
    sockopt::set_socket_keepalive(stream, true)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_send_buf_size(1 << 20)
        .max_frame_size(256 << 10);
    builder
}

async fn connection<S>(stream: S, from: SocketAddr, app: Router, builder: &Builder<TokioExecutor>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let taking = Taking::new(STALLED);
    let bodies = taking.clone();
    let requests = app.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(RemoteAddress(from));
        request.map(axum::body::Body::new)
    });
    let service = requests.map_response(move |response: Response| response.map(|body| bodies.watch(body)));
    let stream = TokioIo::new(Stalling::new(Greeted::new(stream, GREETING), STALLED));
    let served = builder.serve_connection(stream, TowerToHyperService::new(service)).into_owned();
    tokio::select! {
        served = watcher.watch(served) => {
            if let Err(error) = served {
                tracing::debug!(%from, %error, "a connection broke");
            }
        }
        () = taking.stalled() => tracing::debug!(%from, "a connection whose answers nobody takes is closed"),
    }
}
