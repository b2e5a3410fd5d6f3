//! Section "Error codes".

use axum::body::Body;
use http::Method;
use server::digest::Digest;

use crate::common::site::Site;
use crate::registry::{MANIFEST, REPO, codes};

/// What the specification lists. A status of 4xx has one of these, or no JSON.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

crate::on_stores! {
    every_refusal_has_a_code_of_the_specification
}

async fn every_refusal_has_a_code_of_the_specification(registry: Site) {
    let digest = Digest::sha256(b"none");
    let uploads = format!("/v2/{REPO}/blobs/uploads/");
    let location = registry.begin(REPO).await;
    for (method, path, headers) in [
        (Method::GET, "/v2/nothing".to_owned(), vec![]),
        (Method::GET, "/v2/A/tags/list".to_owned(), vec![]),
        (Method::GET, "/v2/none/tags/list".to_owned(), vec![]),
        (Method::GET, "/v2/_catalog?n=x".to_owned(), vec![]),
        (Method::GET, format!("/v2/{REPO}/manifests/x"), vec![]),
        (Method::GET, format!("/v2/{REPO}/blobs/{digest}"), vec![]),
        (Method::GET, format!("/v2/{REPO}/blobs/x"), vec![]),
        (Method::GET, format!("/v2/{REPO}/referrers/{digest}?last=x"), vec![]),
        (Method::GET, format!("{uploads}x"), vec![]),
        (Method::TRACE, "/v2/".to_owned(), vec![]),
        (Method::TRACE, uploads, vec![]),
        (Method::PATCH, location.clone(), vec![("content-range", "5-5")]),
        (Method::PATCH, location.clone(), vec![("content-range", "0-5")]),
        (Method::PATCH, location.clone(), vec![("content-range", "x")]),
        (Method::PUT, location, vec![]),
        (Method::PUT, format!("/v2/{REPO}/manifests/x"), vec![("content-type", MANIFEST)]),
        (Method::PUT, format!("/v2/{REPO}/manifests/{digest}"), vec![("content-type", MANIFEST)]),
        (Method::DELETE, format!("/v2/{REPO}/manifests/x"), vec![]),
        (Method::DELETE, format!("/v2/{REPO}/blobs/{digest}"), vec![]),
    ] {
        let answer = registry.call(method.clone(), &path, &headers, Body::from("x")).await;
        assert!(answer.status.is_client_error(), "{method} {path}: {}", answer.status);
        for code in codes(&answer) {
            assert!(CODES.contains(&code.as_str()), "{method} {path}: {code}");
        }
    }
}
