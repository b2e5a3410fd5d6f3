//! `/resource/<coordinate code>/sha256:<hex>/<file>`: files of packages.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Server;
use super::answer::{Label, Segments, api_error, outside, sent, store_failed};
use super::resource_files::Files;
use crate::catalogue::Catalogue;
use crate::digest::Digest;
use crate::storage::StorageError;

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

#[derive(Clone)]
struct Resources {
    catalogue: Catalogue,
    files: Files,
}

/// The routes of files.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let catalogue = server.catalogue.clone();
    let files = Files::new(catalogue.clone());
    Router::new().route("/resource/{code}/{digest}/{file}", get(resource)).with_state(Resources { catalogue, files })
}

/// One file of one package.
async fn resource(
    State(Resources { catalogue, files }): State<Resources>,
    method: Method,
    Segments((code, digest, file)): Segments<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let (Ok(code), Ok(digest)) = (code.parse(), digest.parse::<Digest>()) else { return not_found() };
    let tag = digest.to_string();
    match files.has(&code, &tag, &file).await {
        Ok(true) => {}
        Ok(false) => return not_found(),
        Err(error) => return store_failed(&error),
    }
    let label = Label { media_type: media_type(&file), tag: &tag };
    match sent(catalogue.storage().as_ref(), &digest, &method, &headers, &label, None).await {
        Ok(mut response) => {
            response.headers_mut().insert(CACHE_CONTROL, FOREVER);
            response
        }
        Err(StorageError::RangeOutside { size, .. }) => {
            let message = format!("the file has {size} bytes");
            outside(api_error(StatusCode::RANGE_NOT_SATISFIABLE, "Invalid", &message), size)
        }
        Err(StorageError::NotFound { .. }) => not_found(),
        Err(error) => store_failed(&error),
    }
}

fn not_found() -> Response {
    api_error(StatusCode::NOT_FOUND, "NotFound", "no package in the catalogue has this file")
}

/// By the end of the name. Archives keep their own type, compressed or not: nothing is to unpack them on the way.
fn media_type(file: &str) -> &'static str {
    let end = file.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match end.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("zip") => "application/zip",
        Some("gz" | "tgz") => "application/gzip",
        Some("tar") => "application/x-tar",
        Some("jar") => "application/java-archive",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_end_of_the_name() {
        assert_eq!(media_type("icon.PNG"), "image/png");
        assert_eq!(media_type("jre.tar.gz"), "application/gzip");
        assert_eq!(media_type("dcos-hello"), "application/octet-stream");
    }
}
