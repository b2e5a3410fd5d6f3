//! The `StorageReady` condition of a bucket: what it refers to, and what the serving pods say of it. Pure.

use api::ServerCondition;
use crds::reason;

use crate::{
    condition::Verdict,
    registry::{reports::StorageReport, validate::S3},
};

/// What they mean. `report` is none while no pod could be asked; `was_ready`: the condition is True and the pods serve.
#[must_use]
pub fn verdict(s3: &S3, report: Option<&StorageReport>, was_ready: bool) -> Verdict {
    if let Some(objection) = &s3.objection {
        return Verdict::no(objection.reason, objection.message.clone());
    }
    let place = place(s3);
    match report {
        Some(Some(finding)) if !finding.ok => Verdict::no(word(&finding.reason), trouble(finding, &place)),
        Some(_) => Verdict::yes(reason::SUCCEEDED, format!("the pods can use {place}")),
        // Pods that serve have what they serve from; that one call got no answer says nothing about it.
        None if was_ready => Verdict::yes(reason::SUCCEEDED, format!("the pods can use {place}")),
        None => Verdict::no(reason::PROGRESSING, format!("no pod has said yet whether it can use {place}")),
    }
}

/// The bucket, for people.
fn place(s3: &S3) -> String {
    let path = s3.path.as_ref().map_or_else(String::new, |path| format!("/{path}"));
    match &s3.endpoint {
        Some(endpoint) => format!("bucket {}{path} at {endpoint}", s3.bucket),
        None => format!("bucket {}{path} in {}", s3.bucket, s3.region),
    }
}

/// The words of a server that are known; any other one is something that may pass.
fn word(text: &str) -> &'static str {
    let known = [
        reason::SECRET_INVALID,
        reason::CLOCK_SKEW,
        reason::S3_COORDINATION_UNSAFE,
        reason::UNREACHABLE,
        reason::DEPENDENCY_NOT_READY,
    ];
    known.into_iter().find(|word| *word == text).unwrap_or(reason::PROGRESSING_WITH_RETRY)
}

fn trouble(finding: &ServerCondition, place: &str) -> String {
    match finding.message.trim() {
        "" => format!("a pod can't use {place}"),
        message => format!("a pod can't use {place}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        condition::Status,
        registry::{
            dereference::{BucketObjects, Live},
            fixtures::{registry, settings},
            validate::{Storage, validate},
        },
    };

    fn s3(spec: &str, bucket: BucketObjects) -> S3 {
        let live = Live { bucket, ..Live::default() };
        let registry = registry(&format!("storage: {{s3: {spec}}}"));
        match validate(&registry, &live, &settings()).unwrap().storage {
            Storage::S3(s3) => s3,
            Storage::Local(_) | Storage::Existing(_) => unreachable!("the spec says s3"),
        }
    }

    fn packages() -> S3 {
        s3("{bucket: packages, path: a, endpoint: 'http://minio:9000'}", BucketObjects::default())
    }

    fn finding(ok: bool, reason: &str) -> ServerCondition {
        ServerCondition { kind: "Storage".into(), ok, reason: reason.into(), message: "no luck".into() }
    }

    #[test]
    fn a_pod_that_finds_no_fault_makes_it_ready() {
        for report in [Some(finding(true, "Succeeded")), None] {
            let verdict = verdict(&packages(), Some(&report), false);
            assert_eq!(verdict.status, Status::True);
            assert_eq!(verdict.message, "the pods can use bucket packages/a at http://minio:9000");
        }
    }

    #[test]
    fn the_words_of_a_pod_become_the_reason_and_unknown_ones_are_retried() {
        for (theirs, ours) in [
            ("SecretInvalid", reason::SECRET_INVALID),
            ("ClockSkew", reason::CLOCK_SKEW),
            ("S3CoordinationUnsafe", reason::S3_COORDINATION_UNSAFE),
            ("Unreachable", reason::UNREACHABLE),
            ("Whatever", reason::PROGRESSING_WITH_RETRY),
        ] {
            let verdict = verdict(&packages(), Some(&Some(finding(false, theirs))), true);
            assert_eq!((verdict.status, verdict.reason), (Status::False, ours));
            assert_eq!(verdict.message, "a pod can't use bucket packages/a at http://minio:9000: no luck");
        }
    }

    #[test]
    fn a_secret_that_can_not_be_used_is_said_whatever_the_pods_say() {
        let s3 = s3("{bucket: packages, credentialsSecretRef: {name: store}}", BucketObjects::default());
        let said = verdict(&s3, Some(&None), true);
        assert_eq!((said.status, said.reason), (Status::False, reason::SECRET_INVALID));
        assert!(said.message.contains("there is no Secret store"));
    }

    #[test]
    fn no_answer_leaves_what_was_and_is_no_success() {
        let before = verdict(&packages(), Some(&None), false);
        assert_eq!(verdict(&packages(), None, true), before);
        assert_eq!(verdict(&packages(), None, false).reason, reason::PROGRESSING);
    }
}
