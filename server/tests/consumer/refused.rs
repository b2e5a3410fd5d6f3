//! The reader itself: it refuses what the consumer refuses, and takes what the consumer takes.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::answer::{read, version};
use crate::common::Answer;
use crate::document;
use crate::proxy::{check_address, check_answer};

const TYPE: &str = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5";

fn answer(status: StatusCode, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map.entry("content-length").or_insert(HeaderValue::from(body.len()));
    Answer { status, headers: map, body: Bytes::copy_from_slice(body) }
}

#[test]
fn answers_that_the_consumer_refuses_are_refused() {
    // universe.md 7.3, first table.
    let empty = br#"{"packages":[]}"#;
    assert!(read(&answer(StatusCode::OK, &[("content-type", TYPE)], empty)).unwrap().is_empty());
    for status in [204, 301, 304, 404, 500, 503] {
        assert!(read(&answer(StatusCode::from_u16(status).unwrap(), &[("content-type", TYPE)], empty)).is_err());
    }
    for encoding in ["identity", "deflate", "x-gzip", "br"] {
        let headers = [("content-type", TYPE), ("content-encoding", encoding)];
        assert!(read(&answer(StatusCode::OK, &headers, empty)).is_err(), "{encoding}");
    }
    for more in [("transfer-encoding", "chunked"), ("content-length", "3"), ("content-encoding", "gzip")] {
        assert!(read(&answer(StatusCode::OK, &[("content-type", TYPE), more], empty)).is_err(), "{more:?}");
    }
    assert!(read(&answer(StatusCode::OK, &[], empty)).unwrap_err().contains("no Content-Type"));
}

#[test]
fn content_types_that_the_consumer_refuses_are_refused() {
    let of = |parameters: &str| version(Some(&format!("application/vnd.dcos.universe.repo+json{parameters}")));
    for (right, found) in
        [("", "v5"), ("; charset=UTF-8", "v5"), (";version=v3;charset=utf-8", "v3"), ("; version=v4", "v4")]
    {
        assert_eq!(of(right).as_deref(), Ok(found), "{right}");
    }
    for wrong in [";version=v6", ";version=V4", ";charset=utf-8;version=v5;x=1", ";charset=latin1"] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
    assert!(version(Some("application/json")).is_err());
}

fn package() -> Value {
    json!({"packagingVersion": "4.0", "name": "a", "version": "1", "releaseVersion": 1, "maintainer": "", "description": "", "tags": []})
}

fn with(key: &str, value: Value) -> Result<usize, String> {
    let mut package = package();
    package[key] = value;
    let text = json!({ "packages": [package] }).to_string();
    document::read(text.as_bytes(), "v5").map(|all| all.len())
}

#[test]
fn packages_that_the_consumer_can_not_read_are_refused_field_by_field() {
    // universe.md 7.3, second table.
    for key in ["tags", "maintainer", "description", "name", "version", "releaseVersion", "packagingVersion"] {
        let mut package = package();
        package.as_object_mut().unwrap().remove(key);
        let text = json!({ "packages": [package] }).to_string();
        assert!(document::read(text.as_bytes(), "v5").is_err(), "{key}");
    }
    let binary = |value: Value| json!({"cli": {"binaries": {"linux": value}}});
    let license = |url: &str| json!([{"name": "x", "url": url}]);
    for (key, value) in [
        ("packagingVersion", json!("6.0")),
        ("packagingVersion", json!(4.0)),
        ("packagingVersion", json!("2.0")),
        ("releaseVersion", json!(-1)),
        ("tags", json!(["a b"])),
        ("tags", json!(["a\u{2003}"])),
        ("resource", json!({"assets": {"container": {}}})),
        ("resource", json!({"assets": {"container": {"docker": null}}})),
        ("resource", binary(json!({}))),
        ("resource", binary(json!({"x86-64": {"kind": "exe", "url": "http://a", "contentHash": []}}))),
        ("resource", binary(json!({"x86-64": {"kind": "zip", "url": "http://[::z/", "contentHash": []}}))),
        ("resource", json!({"images": {"icon-small": "http://a b"}})),
        ("resource", json!({"images": {"screenshots": ["http://a/%zz"]}})),
        ("resource", json!({"assets": {"uris": {"a": 1}}})),
        ("lastUpdated", json!(1.5)),
        ("lastUpdated", json!(1e30)),
        ("minDcosReleaseVersion", json!("1.x")),
        ("minDcosReleaseVersion", json!("01")),
        ("minDcosReleaseVersion", json!("1.2147483648")),
        ("marathon", json!({"v2AppMustacheTemplate": "YWJj\nYWJj"})),
        ("marathon", json!({"v2AppMustacheTemplate": "a-_="})),
        ("config", json!([])),
        ("config", json!("x")),
        ("framework", json!("true")),
        ("licenses", json!([{"name": "x"}])),
        ("licenses", license("http://[::z/")),
        ("manager", json!({"packageName": "other"})),
        ("unknown", json!(1)),
    ] {
        assert!(with(key, value.clone()).is_err(), "{key}: {value}");
    }
    for (key, value) in [
        ("resource", Value::Null),
        ("resource", json!({"cli": {}})),
        ("resource", json!({"cli": {"binaries": {}}})),
        ("lastUpdated", json!(1_569_283_200.0)),
        ("minDcosReleaseVersion", json!("1.10-beta")),
        ("marathon", json!({"v2AppMustacheTemplate": "YQ"})),
        ("marathon", json!({"v2AppMustacheTemplate": ""})),
        ("name", json!("Upper")),
        ("version", json!("1+2")),
        ("description", json!("\u{feff}\u{0}")),
    ] {
        assert_eq!(with(key, value.clone()), Ok(1), "{key}: {value}");
    }
    let five = json!({"packages": [{"packagingVersion": "5.0"}]}).to_string();
    assert!(document::read(five.as_bytes(), "v4").is_err());
    for text in [r#"{"packages":[],"more":1}"#, r#"{"packages":{}}"#, "[]", r#"{"packages":[]"#] {
        assert!(document::read(text.as_bytes(), "v5").is_err(), "{text}");
    }
}

#[test]
fn addresses_and_answers_that_the_proxy_refuses_are_refused() {
    // universe.md 7.5.
    assert_eq!(check_address("https://r.test/resource/abc/sha256:0f/icon.png"), Ok(()));
    for wrong in ["https://r/a%2Bb", "https://r/a+b", "https://r/a b", "https://r/a?x=1&y", "https://r/a#b"] {
        assert!(check_address(wrong).is_err(), "{wrong}");
    }
    let right = [("content-type", "image/png")];
    let checked = |headers: &[(&str, &str)], body: &[u8]| {
        check_answer("https://r.test/icon.png", &answer(StatusCode::OK, headers, body))
    };
    assert_eq!(checked(&right, b"x"), Ok(()));
    assert!(checked(&right, b"").unwrap_err().contains("Content-Length"));
    assert!(checked(&[], b"x").unwrap_err().contains("Content-Type"));
    assert!(checked(&[("content-type", "png")], b"x").is_err());
    assert!(checked(&[right[0], ("transfer-encoding", "chunked")], b"x").is_err());
    assert!(check_answer("https://r.test/", &answer(StatusCode::OK, &right, b"x")).is_err());
}
