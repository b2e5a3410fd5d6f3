use std::time::Duration;

use api::PackageImage;

use super::*;
use crate::condition::find;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn package() -> Package {
    serde_saphyr::from_str(
        r"
apiVersion: registry.dcos.io/v1alpha1
kind: Package
metadata: {name: redis, namespace: apps, uid: u1, generation: 1}
spec: {registryRef: {name: main}, source: {url: {url: 'https://files.test/redis.dcos'}}}
",
    )
    .unwrap()
}

fn declaration(state: State) -> Declaration {
    Declaration { id: "u1".into(), state, reason: None, message: None, progress: Progress::default(), package: None }
}

fn published() -> Declaration {
    Declaration {
        package: Some(PublishedPackage {
            name: "redis".into(),
            version: "5.0.0".into(),
            release_version: 77,
            digest: "sha256:aa".into(),
            size: 1234,
            images: vec![PackageImage {
                name: "redis".into(),
                reference: "docker.io/library/redis:5@sha256:bb".into(),
                digest: "sha256:bb".into(),
                platforms: vec!["linux/amd64".into()],
            }],
        }),
        ..declaration(State::Added)
    }
}

fn failed(reason: FailureReason) -> Declaration {
    Declaration { reason: Some(reason), message: Some("no good".into()), ..declaration(State::Failed) }
}

fn answer(declaration: Declaration) -> Answer {
    Answer { declaration: Some(declaration), coordinate: None, rival: None, after: Duration::from_secs(1) }
}

fn after(package: &Package, declaration: Declaration) -> PackageStatus {
    build(package, &Observed::Answer(&answer(declaration)), "main.apps.svc", at(10))
}

fn word_of<'a>(status: &'a PackageStatus, type_: &str) -> (&'a str, &'a str) {
    find(&status.conditions, type_).map_or(("", ""), |found| (found.status.as_str(), found.reason.as_str()))
}

#[test]
fn a_published_package_is_ready_and_names_what_pods_can_write() {
    let status = after(&package(), published());
    assert_eq!(word_of(&status, READY), ("True", "Succeeded"));
    assert_eq!(word_of(&status, "Reconciling"), ("", ""));
    assert_eq!(status.images[0].reference, "main.apps.svc/docker.io/library/redis:5@sha256:bb");
    assert_eq!((status.release_version, status.size, status.observed_generation), (Some(77), Some(1234), Some(1)));
}

#[test]
fn no_more_than_the_promised_number_of_images_is_named() {
    let mut many = published();
    if let Some(package) = many.package.as_mut() {
        package.images = vec![package.images[0].clone(); 100];
    }
    assert_eq!(after(&package(), many).images.len(), MOST_IMAGES);
}

#[test]
fn progress_is_rounded_and_readable() {
    let mut running = declaration(State::Validating);
    running.progress = Progress { bytes_done: 12_345_678, bytes_total: Some(206_000_000) };
    let status = after(&package(), running);
    let progress = status.progress.clone().unwrap();
    assert_eq!((progress.bytes_done, progress.summary.as_str()), (12_000_000, "12 MB of 206 MB"));
    assert_eq!(word_of(&status, READY), ("False", "Progressing"));
    assert_eq!(word_of(&status, "Reconciling"), ("True", "Progressing"));
    assert_eq!(super::progress(Progress { bytes_done: 950, bytes_total: Some(950) }).summary, "950 B of 950 B");
    assert_eq!(super::progress(Progress { bytes_done: 3_999_999, bytes_total: None }).summary, "3 MB");
}

#[test]
fn every_failure_has_its_reason_on_the_condition_that_it_concerns() {
    for (reason, on, activity) in [
        (FailureReason::NotAllowed, FETCHED, "Stalled"),
        (FailureReason::FetchFailed, FETCHED, "Reconciling"),
        (FailureReason::AuthenticationFailed, FETCHED, "Reconciling"),
        (FailureReason::DigestMismatch, FETCHED, "Stalled"),
        (FailureReason::InvalidBundle, PUBLISHED, "Stalled"),
        (FailureReason::UnsupportedPackagingVersion, PUBLISHED, "Stalled"),
        (FailureReason::AlreadyDeclared, PUBLISHED, "Reconciling"),
        (FailureReason::Conflict, PUBLISHED, "Stalled"),
        (FailureReason::StorageFull, PUBLISHED, "Reconciling"),
    ] {
        let status = after(&package(), failed(reason));
        let name = format!("{reason:?}");
        assert_eq!(word_of(&status, on), ("False", name.as_str()));
        assert_eq!(word_of(&status, READY), ("False", name.as_str()));
        assert_eq!(word_of(&status, activity).0, "True", "{name}");
        assert_eq!(find(&status.conditions, READY).unwrap().message, "no good");
    }
}

#[test]
fn the_same_answer_again_changes_nothing() {
    for declaration in [published(), failed(FailureReason::FetchFailed), declaration(State::Storing)] {
        let mut object = package();
        let first = after(&object, declaration.clone());
        object.status = Some(first.clone());
        let again = build(&object, &Observed::Answer(&answer(declaration)), "main.apps.svc", at(99));
        assert_eq!(first, again);
    }
}

fn ready() -> Package {
    let mut object = package();
    object.status = Some(after(&object, published()));
    object
}

#[test]
fn a_registry_that_is_away_for_a_while_takes_nothing_back() {
    let object = ready();
    let away = Error::RegistryNotServing { name: "main".into(), detail: None };
    assert_eq!(Some(build(&object, &Observed::Error(&away), "", at(20))), object.status);
    let pending = build(&object, &Observed::Answer(&answer(declaration(State::Pending))), "main.apps.svc", at(20));
    assert_eq!(Some(pending), object.status);
}

#[test]
fn a_registry_that_is_gone_does() {
    let gone = Error::RegistryMissing { name: "main".into() };
    let status = build(&ready(), &Observed::Error(&gone), "", at(20));
    assert_eq!(word_of(&status, READY), ("False", "DependencyNotReady"));
}

#[test]
fn an_error_before_the_declaration_does_not_pass_for_a_declaration() {
    let mut object = ready();
    object.metadata.generation = Some(2);
    let secret = Error::SecretInvalid { field: "spec.source.url.secretRef", problem: "there is no Secret a".into() };
    object.status = Some(build(&object, &Observed::Error(&secret), "", at(20)));
    let status = object.status.clone().unwrap();
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(word_of(&status, FETCHED), ("False", "SecretInvalid"));
    assert_eq!(word_of(&status, "Stalled"), ("True", "SecretInvalid"));
    assert_eq!(declared_generation(&object), Some(1));
}

#[test]
fn a_failed_replacement_says_that_the_old_content_is_there() {
    let mut object = ready();
    object.metadata.generation = Some(2);
    let mut answered = failed(FailureReason::DigestMismatch);
    answered.package = published().package;
    let status = after(&object, answered);
    assert_eq!((status.name.as_deref(), status.release_version), (Some("redis"), None));
    assert!(find(&status.conditions, READY).unwrap().message.ends_with("still there"));
}

#[test]
fn a_failed_first_attempt_of_another_spec_forgets_what_the_old_one_was() {
    let mut object = ready();
    object.metadata.generation = Some(2);
    let status = after(&object, failed(FailureReason::InvalidBundle));
    assert_eq!((status.name, status.digest, status.images.len()), (None, None, 0));
}

#[test]
fn content_that_must_be_fetched_again_keeps_its_release_version() {
    let mut running = declaration(State::Validating);
    running.progress = Progress { bytes_done: 5_000_000, bytes_total: None };
    let status = after(&ready(), running);
    assert_eq!((status.release_version, word_of(&status, READY)), (Some(77), ("False", "Progressing")));
}

#[test]
fn a_suspended_package_stays_ready_if_it_was() {
    let status = build(&ready(), &Observed::Suspended, "", at(20));
    assert_eq!(word_of(&status, READY), ("True", "Suspended"));
    let status = build(&package(), &Observed::Suspended, "", at(20));
    assert_eq!(word_of(&status, READY), ("False", "Suspended"));
}

#[test]
fn a_handled_request_is_noted() {
    let mut object = package();
    object.metadata.annotations = Some([(names::REQUESTED_AT.to_owned(), "now".to_owned())].into());
    assert_eq!(after(&object, published()).last_handled_reconcile_at.as_deref(), Some("now"));
}

#[test]
fn progress_alone_is_told_from_other_changes() {
    let running = |done| {
        let mut running = declaration(State::Validating);
        running.progress = Progress { bytes_done: done, bytes_total: None };
        after(&package(), running)
    };
    assert!(only_progress_differs(&running(1_000_000), &running(2_000_000)));
    assert!(!only_progress_differs(&running(1_000_000), &after(&package(), declaration(State::Storing))));
}

#[test]
fn a_failure_stays_until_another_attempt_has_got_somewhere() {
    let mut object = package();
    object.status = Some(after(&object, failed(FailureReason::FetchFailed)));
    assert_eq!(Some(after(&object, declaration(State::Pending))), object.status);
    let mut running = declaration(State::Validating);
    assert_eq!(Some(after(&object, running.clone())), object.status);
    running.progress.bytes_done = 1;
    assert_eq!(word_of(&after(&object, running), READY), ("False", "Progressing"));
    object.metadata.annotations = Some([(names::REQUESTED_AT.to_owned(), "now".to_owned())].into());
    assert_eq!(word_of(&after(&object, declaration(State::Pending)), READY), ("False", "Progressing"));
}
