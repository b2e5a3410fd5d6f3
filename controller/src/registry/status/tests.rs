use crds::NodesStatus;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::*;
use crate::{
    certificate::rotation::Trust,
    registry::{
        certificates,
        dereference::Live,
        fixtures::{registry, settings},
        validate::validate,
    },
};

fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn opinion(verdict: Verdict, everywhere: bool) -> Opinion {
    let nodes = NodesStatus { trusted: 2, desired: 2, summary: "2/2".into(), trusted_since: None };
    Opinion { verdict, nodes: Some(nodes), everywhere, enough: everywhere, provisional: false }
}

fn bound() -> PersistentVolumeClaim {
    serde_json::from_value(json!({"metadata": {"name": "registry"}, "status": {"phase": "Bound"}})).unwrap()
}

fn serving() -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "registry", "generation": 1},
        "spec": {"replicas": 1, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "availableReplicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "replicas": 1}
    }))
    .unwrap()
}

fn after(
    object: &PackageRegistry,
    opinion: Option<Opinion>,
    deployment: &Outcome<Deployment>,
) -> PackageRegistryStatus {
    let validated = validate(object, &Live::default(), &settings()).unwrap();
    let service: Service =
        serde_json::from_value(json!({"spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]}})).unwrap();
    let plan = certificates::plan(
        &validated,
        &Live::default(),
        &["10.96.0.7".to_owned()],
        None,
        false,
        Trust::Spreading,
        now(),
    )
    .unwrap();
    let findings = Findings {
        registry: &validated,
        foundations: &Foundations {
            volume: Ok(None),
            claim: Ok(Some(bound())),
            service: Ok(service),
            identity: Ok(()),
            disruption_budget: Ok(()),
        },
        certificates: &Certificates::Planned(Box::new(plan), Ok(())),
        deployment,
        symptoms: &Symptoms::default(),
        opinion,
        packages: PackagesStatus::default(),
        handled_rotation: None,
    };
    after_pass(object, &findings, now())
}

fn yes() -> Verdict {
    Verdict::yes(reason::SUCCEEDED, "2/2")
}

#[test]
fn a_registry_with_everything_in_place_is_ready_and_says_where_it_is() {
    let object = registry("{}");
    let status = after(&object, Some(opinion(yes(), true)), &Ok(serving()));
    assert!(condition::is_true(&status.conditions, READY));
    assert_eq!(status.url.as_deref(), Some("https://registry.demo.svc"));
    assert_eq!(status.urls, ["https://registry.demo.svc", "https://registry.demo.svc.cluster.local"]);
    assert_eq!(status.cluster_ips, ["10.96.0.7"]);
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.ca_bundle.as_ref().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let certificate = status.certificate.unwrap();
    assert_eq!(certificate.not_after, "2030-04-01T00:00:00Z");
    assert_eq!(certificate.renewal_time, "2030-03-02T00:00:00Z");
    assert_eq!(status.conditions.len(), 5);
}

#[test]
fn a_node_lost_after_the_first_success_changes_nodes_trusted_and_not_ready() {
    let mut object = registry("{}");
    let lost = || opinion(Verdict::no(reason::DEPENDENCY_NOT_READY, "n2 is lost"), false);
    let first = after(&object, Some(lost()), &Ok(serving()));
    assert!(!condition::is_true(&first.conditions, READY), "there was no success yet");

    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    let second = after(&object, Some(lost()), &Ok(serving()));
    assert!(condition::is_true(&second.conditions, READY));
    assert!(!condition::is_true(&second.conditions, NODES_TRUSTED));

    // The pod is replaced while the node is still lost: Ready comes back without it.
    object.status = Some(second);
    let mut starting = serving();
    starting.status.as_mut().unwrap().available_replicas = None;
    let third = after(&object, Some(lost()), &Ok(starting));
    assert!(!condition::is_true(&third.conditions, READY));
    object.status = Some(third);
    let fourth = after(&object, Some(lost()), &Ok(serving()));
    assert!(condition::is_true(&fourth.conditions, READY));
}

/// In all that nodes have a part in.
fn assert_same(a: &PackageRegistryStatus, b: &PackageRegistryStatus) {
    assert_eq!((&a.conditions, &a.nodes), (&b.conditions, &b.nodes));
}

#[test]
fn what_nodes_said_before_stands_until_the_first_look_after_a_start() {
    let unseen = || Opinion {
        nodes: None,
        provisional: true,
        ..opinion(Verdict::no(reason::PROGRESSING, "agents are being told"), false)
    };
    let mut object = registry("{}");
    let first = after(&object, Some(unseen()), &Ok(serving()));
    let nodes = condition::find(&first.conditions, NODES_TRUSTED).unwrap();
    assert_eq!((nodes.status.as_str(), nodes.reason.as_str()), ("False", reason::PROGRESSING), "nothing stands");

    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    assert_same(&after(&object, Some(unseen()), &Ok(serving())), object.status.as_ref().unwrap());

    let lost = Verdict::no(reason::DEPENDENCY_NOT_READY, "n2 is lost");
    object.status = Some(after(&object, Some(opinion(lost, false)), &Ok(serving())));
    assert_same(&after(&object, Some(unseen()), &Ok(serving())), object.status.as_ref().unwrap());
}

#[test]
fn a_node_that_joins_unfit_keeps_no_registry_from_being_ready_again_after_its_pod_was_replaced() {
    let mut object = registry("{}");
    let unset = || opinion(Verdict::no(reason::CONFIG_PATH_UNSET, "n3: config_path isn't set"), false);
    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    let since = object.status.as_ref().unwrap().nodes.as_ref().unwrap().trusted_since.clone();
    assert_eq!(since.as_deref(), Some("2030-01-01T00:00:00Z"));
    let mut starting = serving();
    starting.status.as_mut().unwrap().available_replicas = None;
    for (deployment, ready) in [(serving(), true), (starting, false), (serving(), true)] {
        let status = after(&object, Some(unset()), &Ok(deployment));
        assert_eq!(condition::is_true(&status.conditions, READY), ready);
        assert!(!condition::is_true(&status.conditions, NODES_TRUSTED));
        assert_eq!(status.nodes.as_ref().unwrap().trusted_since, since, "written once");
        object.status = Some(status);
    }
}

#[test]
fn nodes_that_are_lost_do_not_keep_a_new_registry_from_being_ready() {
    let lost = Verdict::no(reason::DEPENDENCY_NOT_READY, "1/2 nodes trust the registry, 1 can't be reached");
    let enough = Opinion { enough: true, ..opinion(lost, false) };
    let status = after(&registry("{}"), Some(enough), &Ok(serving()));
    let ready = condition::find(&status.conditions, READY).unwrap();
    assert_eq!(ready.status, "True");
    assert!(ready.message.contains("1 can't be reached"));
    assert!(!condition::is_true(&status.conditions, NODES_TRUSTED));
    assert!(trusted_before(&status));
}

#[test]
fn a_refused_mirror_leaves_the_registry_ready() {
    let refused = Verdict::no(reason::NOT_ALLOWED, "mirrors are not allowed");
    let status = after(&registry("{}"), Some(opinion(refused, true)), &Ok(serving()));
    assert!(condition::is_true(&status.conditions, READY));
    let nodes = condition::find(&status.conditions, NODES_TRUSTED).unwrap();
    assert_eq!((nodes.status.as_str(), nodes.reason.as_str()), ("False", reason::NOT_ALLOWED));
}

#[test]
fn without_node_trust_there_is_no_such_condition() {
    let mut object = registry("{}");
    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    let status = after(&object, None, &Ok(serving()));
    assert!(condition::find(&status.conditions, NODES_TRUSTED).is_none());
    assert!(condition::is_true(&status.conditions, READY));
    assert_eq!(status.nodes, None);
}

#[test]
fn a_suspended_registry_says_so_and_keeps_what_is_known() {
    let mut object = registry("{suspend: true}");
    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    let status = suspended(&object, now());
    let ready = condition::find(&status.conditions, READY).unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("Unknown", reason::SUSPENDED));
    assert!(condition::is_true(&status.conditions, SERVING_READY));
    assert_eq!(status.cluster_ips, ["10.96.0.7"]);
}

#[test]
fn an_unreadable_cluster_does_not_make_a_serving_registry_unready() {
    let mut object = registry("{}");
    object.status = Some(after(&object, Some(opinion(yes(), true)), &Ok(serving())));
    let read = Error::Read { what: "Secret x".into(), source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded) };
    let status = after_error(&object, &read, now());
    assert_eq!(Some(&status), object.status.as_ref());
    let invalid = Error::InvalidSpec { field: "spec.tls", problem: "exactly one".into() };
    let status = after_error(&object, &invalid, now());
    let ready = condition::find(&status.conditions, READY).unwrap();
    assert_eq!(ready.reason, reason::INVALID_SPEC);
    assert!(condition::is_true(&status.conditions, crds::condition::STALLED));
}

#[test]
fn packages_of_other_registries_and_namespaces_are_not_counted() {
    let package = |namespace: &str, registry: &str, ready: &str| -> Package {
        serde_json::from_value(json!({
            "apiVersion": "registry.dcos.io/v1alpha1", "kind": "Package",
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {"registryRef": {"name": registry}, "source": {}},
            "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "x", "message": "",
                "lastTransitionTime": "2030-01-01T00:00:00Z"}]}
        }))
        .unwrap()
    };
    let packages = [
        package("demo", "registry", "True"),
        package("demo", "registry", "False"),
        package("demo", "other", "True"),
        package("apps", "registry", "True"),
    ];
    let counted = count(&registry("{}"), &packages);
    assert_eq!((counted.total, counted.ready), (2, 1));
}
