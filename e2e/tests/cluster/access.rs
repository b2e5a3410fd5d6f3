//! Who may write to a registry.

use crate::site::Place;

#[test]
fn a_write_without_a_token_is_refused_with_401_and_one_without_the_right_with_403() {
    let place = Place::new("access");
    place.registry("");
    place.hello();
    place.package_has("hello", "Ready", "True");
    let cluster = place.cluster();
    cluster.kubectl(&["create", "serviceaccount", "-n", &place.namespace, "nobody"]).unwrap();
    let token = |account: &str, audience: &str| {
        let audience = format!("--audience={audience}");
        let text = cluster.kubectl(&["create", "token", "-n", &place.namespace, account, &audience]).unwrap();
        format!("Authorization: Bearer {}", text.trim())
    };
    let audience = "registry.dcos.io/access/dcos-registry";
    let forward = place.forward();
    let id = "3f0e3a52-7c15-4a4b-9a5c-0d7c2f3b1e11";
    let path = format!("/api/v1/declarations/{id}");
    let body = r#"{"url":{"url":"http://files.site.svc:8080/files/hello-1.0.dcos"},"releaseVersionFrom":1,"declaredBy":"a/b"}"#;
    let put = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", body];

    let with = |header: &str| {
        let header = ["-H", header];
        forward.curl(&[&put[..], &header[..]].concat(), &path).0
    };
    assert_eq!(forward.curl(&put, &path).0, 401, "no token");
    assert_eq!(with("Authorization: Bearer nonsense"), 401, "no token of the cluster's");
    assert_eq!(
        with(&token("dcos-registry-publisher", "registry.dcos.io/other/dcos-registry")),
        401,
        "another registry's"
    );
    assert_eq!(with(&token("nobody", audience)), 403, "an account without the right");
    assert_eq!(
        forward.curl(&["-X", "DELETE"], "/v2/docker.io/example/hello/manifests/1.0").0,
        401,
        "a delete without a token"
    );
    let (status, body) = forward.curl(&["-H", &token("dcos-registry-publisher", audience)], "/api/v1/packages");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"hello\""), "{body}");
    assert_eq!(forward.curl(&[], "/api/v1/packages").0, 401, "the API's reads want a token");
    assert_eq!(forward.curl(&[], "/v2/").0, 200, "pulls don't");
    drop(forward);
    place.leave();
}
