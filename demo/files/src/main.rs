//! A file server for demos and tests: what the site's own web server is to a real cluster.
//!
//! | call | does |
//! |---|---|
//! | `PUT /files/NAME` | keeps the body |
//! | `GET /files/NAME` | gives it back, ranges included |
//! | `GET /private/NAME` | the same, for user `packages` with password `demo` |
//! | `GET /slow/NAME` | the same, 64 KiB every 100 ms |
//! | `GET /status/CODE` | answers with that status |
//!
//! It listens on port 8080 and keeps files in the folder that its first argument names (default `/data`).

use std::{path::PathBuf, process::ExitCode, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use tokio::{
    fs,
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    signal::unix::{SignalKind, signal},
};
use tower_http::services::ServeDir;

/// Bytes that `/slow` sends at a time.
const DRIP: usize = 64 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("files: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/data".to_owned()));
    fs::create_dir_all(folder.join("files")).await?;
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    // As process 1 of a container it gets no default action for SIGTERM.
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, router(folder))
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
}

fn router(folder: PathBuf) -> Router {
    let private =
        Router::new().fallback_service(ServeDir::new(folder.join("files"))).layer(middleware::from_fn(with_password));
    Router::new()
        .route("/files/{name}", put(keep).get_service(ServeDir::new(&folder)))
        .route("/slow/{name}", get(drip))
        .route("/status/{code}", get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .nest("/private", private)
        .with_state(folder)
}

async fn keep(State(folder): State<PathBuf>, Path(name): Path<String>, body: Body) -> Result<StatusCode, Failure> {
    let path = plain(&folder, &name)?;
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial).await?;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        file.write_all(&chunk.map_err(io::Error::other)?).await?;
    }
    file.flush().await?;
    fs::rename(partial, path).await?;
    Ok(StatusCode::CREATED)
}

async fn drip(State(folder): State<PathBuf>, Path(name): Path<String>) -> Result<Response, Failure> {
    let file = fs::File::open(plain(&folder, &name)?).await?;
    let length = file.metadata().await?.len();
    let pieces = futures::stream::try_unfold(file, |mut file| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut piece = vec![0; DRIP];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    Ok(([(header::CONTENT_LENGTH, length)], Body::from_stream(pieces)).into_response())
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

async fn with_password(request: Request, next: Next) -> Response {
    let expected = format!("Basic {}", STANDARD.encode("packages:demo"));
    let given = request.headers().get(header::AUTHORIZATION);
    if given.is_some_and(|value| value.as_bytes() == expected.as_bytes()) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"files\"")]).into_response()
    }
}

fn plain(folder: &std::path::Path, name: &str) -> Result<PathBuf, Failure> {
    let safe = !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if safe { Ok(folder.join("files").join(name)) } else { Err(Failure(StatusCode::BAD_REQUEST)) }
}

/// Why a call failed, as the status that says it.
struct Failure(StatusCode);

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        eprintln!("files: {error}");
        match error.kind() {
            io::ErrorKind::NotFound => Self(StatusCode::NOT_FOUND),
            _ => Self(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
