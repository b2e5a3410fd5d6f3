use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::*;

type Server = Handle<Request<Body>, Response<Body>>;

fn cluster() -> (Api<ConfigMap>, Server) {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    (Api::namespaced(Client::new(service, "apps"), "apps"), server)
}

fn desired() -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "main-ca", "namespace": "apps",
            "labels": {"app.kubernetes.io/managed-by": "package-registry-operator", "registry.dcos.io/registry": "main"},
            "ownerReferences": [{"apiVersion": "registry.dcos.io/v1alpha1", "kind": "PackageRegistry", "name": "main",
                "uid": "u1", "controller": true}]},
        "data": {"ca.crt": "pem"}
    }))
    .unwrap()
}

fn live() -> Value {
    let mut live = serde_json::to_value(desired()).unwrap();
    live["metadata"]["uid"] = json!("c1");
    live["metadata"]["resourceVersion"] = json!("7");
    live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:ca.crt": {}}}}]);
    live
}

/// Answers the next request, and returns it with its body.
async fn answer(server: &mut Server, status: StatusCode, body: &Value) -> (Method, String, Value) {
    let (request, send) = server.next_request().await.expect("one more request");
    let (parts, content) = request.into_parts();
    let bytes = content.collect_bytes().await.unwrap();
    send.send_response(Response::builder().status(status).body(Body::from(serde_json::to_vec(body).unwrap())).unwrap());
    (parts.method, parts.uri.to_string(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn not_found() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "none"})
}

#[tokio::test]
async fn an_undisturbed_child_is_read_and_nothing_else() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    assert_eq!(answer(&mut server, StatusCode::OK, &live()).await.0, Method::GET);
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Unchanged);
    assert!(server.next_request().await.is_none(), "a mutating request was made");
}

#[tokio::test]
async fn a_disturbed_child_is_repaired_with_one_patch() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    let mut edited = live();
    edited["data"]["ca.crt"] = json!("forged");
    answer(&mut server, StatusCode::OK, &edited).await;
    let (method, uri, body) = answer(&mut server, StatusCode::OK, &live()).await;
    assert_eq!(method, Method::PATCH);
    for part in ["fieldManager=package-registry-controller", "force=true", "fieldValidation=Strict"] {
        assert!(uri.contains(part), "{uri}");
    }
    assert_eq!((&body["metadata"]["uid"], &body["data"]["ca.crt"]), (&json!("c1"), &json!("pem")));
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Changed);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn a_missing_child_is_made() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    answer(&mut server, StatusCode::NOT_FOUND, &not_found()).await;
    let (method, _, body) = answer(&mut server, StatusCode::CREATED, &live()).await;
    assert_eq!((method, body["metadata"].get("uid")), (Method::PATCH, None));
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Created);
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let ours = live()["metadata"]["managedFields"].clone();
    for (owner, labels, notes) in [
        (Value::Null, json!({}), Value::Null),
        (Value::Null, json!({}), json!([{"manager": "kubectl", "operation": "Apply"}])),
        (Value::Null, json!({}), json!([{"manager": FIELD_MANAGER, "operation": "Apply", "subresource": "status"}])),
        (Value::Null, json!({"registry.dcos.io/registry": "other"}), ours.clone()),
        (Value::Null, json!({"app.kubernetes.io/managed-by": "Helm"}), ours.clone()),
        (
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "u9", "controller": true}]),
            json!({"app.kubernetes.io/managed-by": "package-registry-operator", "registry.dcos.io/registry": "main"}),
            ours.clone(),
        ),
        (
            Value::Null,
            json!({"app.kubernetes.io/managed-by": "package-registry-operator", "registry.dcos.io/registry": "other"}),
            ours,
        ),
    ] {
        let (api, mut server) = cluster();
        let pass = tokio::spawn(async move { apply(&api, &desired()).await });
        let mut foreign = live();
        foreign["metadata"]["ownerReferences"] = owner;
        foreign["metadata"]["labels"] = labels;
        foreign["metadata"]["managedFields"] = notes;
        answer(&mut server, StatusCode::OK, &foreign).await;
        assert!(matches!(pass.await.unwrap().unwrap_err(), Error::NameTaken { .. }));
        assert!(server.next_request().await.is_none());
    }
}

#[tokio::test]
async fn a_retained_object_without_labels_is_ours_when_the_operator_applied_it_and_gets_them_back() {
    let (api, mut server) = cluster();
    let mut kept = desired();
    kept.metadata.owner_references = None;
    let pass = tokio::spawn(async move { apply(&api, &kept).await });
    let mut bare = live();
    bare["metadata"]["ownerReferences"] = Value::Null;
    bare["metadata"]["labels"] = json!({"team": "blue"});
    answer(&mut server, StatusCode::OK, &bare).await;
    let (method, _, body) = answer(&mut server, StatusCode::OK, &live()).await;
    assert_eq!((method, &body["metadata"]["labels"]["registry.dcos.io/registry"]), (Method::PATCH, &json!("main")));
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Changed);
}

#[tokio::test]
async fn the_child_of_a_deleted_owner_of_the_same_name_must_go_first() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    let mut old = live();
    old["metadata"]["ownerReferences"][0]["uid"] = json!("u0");
    answer(&mut server, StatusCode::OK, &old).await;
    assert!(matches!(pass.await.unwrap().unwrap_err(), Error::Leaving { .. }));
}

#[tokio::test]
async fn a_lost_race_is_read_again() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409, "message": "uid"});
    answer(&mut server, StatusCode::NOT_FOUND, &not_found()).await;
    answer(&mut server, StatusCode::CONFLICT, &conflict).await;
    assert_eq!(answer(&mut server, StatusCode::OK, &live()).await.0, Method::GET);
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Unchanged);
}

#[tokio::test]
async fn orphans_go_by_uid_and_children_of_other_owners_stay() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move {
        prune(&api, "registry.dcos.io/registry=main", Some("u1"), &["kept".to_owned()].into()).await
    });
    let item = |name: &str, owner: &str| {
        let mut item = live();
        item["metadata"]["name"] = json!(name);
        item["metadata"]["uid"] = json!(format!("uid-of-{name}"));
        item["metadata"]["ownerReferences"][0]["uid"] = json!(owner);
        item
    };
    let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {},
        "items": [item("kept", "u1"), item("orphan", "u1"), item("theirs", "u2")]});
    answer(&mut server, StatusCode::OK, &list).await;
    let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let (method, uri, body) = answer(&mut server, StatusCode::OK, &done).await;
    assert_eq!((method, &body["preconditions"]["uid"]), (Method::DELETE, &json!("uid-of-orphan")));
    assert!(uri.contains("/configmaps/orphan"));
    assert_eq!(pass.await.unwrap().unwrap(), ["orphan"]);
    assert!(server.next_request().await.is_none());
}

#[tokio::test]
async fn a_list_whose_keys_were_edited_is_set_as_a_whole() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    let mut edited = live();
    edited["data"]["ca.crt"] = json!("forged");
    answer(&mut server, StatusCode::OK, &edited).await;
    let invalid = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": "twice"});
    answer(&mut server, StatusCode::UNPROCESSABLE_ENTITY, &invalid).await;
    let (_, uri, _) = answer(&mut server, StatusCode::OK, &live()).await;
    assert!(!uri.contains("force"), "a merge patch: {uri}");
    let (_, uri, _) = answer(&mut server, StatusCode::OK, &live()).await;
    assert!(uri.contains("force=true"), "{uri}");
    assert_eq!(pass.await.unwrap().unwrap().change, Change::Changed);
}

#[tokio::test]
async fn what_the_api_server_finds_invalid_all_the_same_is_an_error() {
    let (api, mut server) = cluster();
    let pass = tokio::spawn(async move { apply(&api, &desired()).await });
    let mut edited = live();
    edited["data"]["ca.crt"] = json!("forged");
    answer(&mut server, StatusCode::OK, &edited).await;
    let invalid = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": "immutable"});
    answer(&mut server, StatusCode::UNPROCESSABLE_ENTITY, &invalid).await;
    answer(&mut server, StatusCode::UNPROCESSABLE_ENTITY, &invalid).await;
    assert!(matches!(pass.await.unwrap().unwrap_err(), Error::Call { .. }));
}
