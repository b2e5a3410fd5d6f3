use k8s_openapi::ByteString;

use super::*;
use crate::registry::dereference::Data;

fn spec(text: &str) -> S3Storage {
    serde_saphyr::from_str(text).unwrap()
}

fn data(key: &str, text: &str) -> Data {
    [(key.to_owned(), ByteString(text.as_bytes().to_vec()))].into()
}

fn checked(text: &str) -> S3 {
    check(&spec(text), &BucketObjects::default()).unwrap()
}

#[test]
fn a_bucket_alone_is_one_of_amazons() {
    let s3 = checked("{bucket: packages}");
    assert_eq!((s3.region.as_str(), s3.path_style, s3.profile.as_str()), ("us-east-1", false, "default"));
    assert_eq!(s3.objection, None);
}

#[test]
fn the_region_is_in_the_endpoint_or_the_default_one() {
    let cases = [
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://s3.fr-par.scw.cloud", "fr-par"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("https://s3.example.com", "us-east-1"),
        ("https://s3.minio.example.com", "us-east-1"),
        ("http://s3.minio.svc:9000", "us-east-1"),
        ("http://s3.minio.svc.cluster.local", "us-east-1"),
        ("https://minio.example.com:9000", "us-east-1"),
        ("http://10.0.0.1:9000", "us-east-1"),
    ];
    for (endpoint, expected) in cases {
        assert_eq!(checked(&format!("{{bucket: b, endpoint: '{endpoint}'}}")).region, expected, "{endpoint}");
    }
    assert_eq!(checked("{bucket: b, endpoint: 'https://s3.a-1.amazonaws.com', region: b-2}").region, "b-2");
}

#[test]
fn the_bucket_stands_in_the_path_for_every_store_but_amazons_unless_the_spec_says_otherwise() {
    assert!(checked("{bucket: b, endpoint: 'http://minio:9000/'}").path_style);
    assert!(!checked("{bucket: b, endpoint: 'https://s3.eu-west-1.amazonaws.com'}").path_style);
    assert!(!checked("{bucket: b, endpoint: 'http://minio:9000', forcePathStyle: false}").path_style);
    assert!(checked("{bucket: b, forcePathStyle: true}").path_style);
}

#[test]
fn a_slash_at_the_end_of_an_endpoint_does_not_matter() {
    assert_eq!(checked("{bucket: b, endpoint: 'http://minio:9000/'}").endpoint.as_deref(), Some("http://minio:9000"));
}

#[test]
fn an_endpoint_with_more_than_host_and_port_and_a_path_that_leaves_the_bucket_are_refused() {
    let cases = [
        ("endpoint: 'ftp://minio'", "spec.storage.s3.endpoint: \"ftp://minio\""),
        ("endpoint: 'http://minio/bucket'", "spec.storage.s3.endpoint: \"http://minio/bucket\""),
        ("endpoint: 'http://a:b@minio'", "spec.storage.s3.endpoint: "),
        ("endpoint: minio", "spec.storage.s3.endpoint: \"minio\""),
        ("path: a/../b", "spec.storage.s3.path: \"a/../b\""),
        ("path: a//b", "spec.storage.s3.path: \"a//b\""),
    ];
    for (part, expected) in cases {
        let error = check(&spec(&format!("{{bucket: b, {part}}}")), &BucketObjects::default()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

const FILE: &str = "[blue]\naws_access_key_id = A\naws_secret_access_key = hunter2\n";

#[test]
fn credentials_that_can_not_be_used_are_named_with_secret_and_profile() {
    let cases = [
        (None, "there is no Secret store in this namespace"),
        (Some(data("other", FILE)), "Secret store has no key credentials"),
        (Some(data("credentials", "")), "the credentials file in Secret store has no profile [blue]"),
        (
            Some(data("credentials", "[blue]\naws_secret_access_key=hunter2")),
            "has no aws_access_key_id in the profile [blue]",
        ),
    ];
    for (credentials, expected) in cases {
        let found = BucketObjects { credentials, ca_bundle: None };
        let s3 = check(&spec("{bucket: b, credentialsSecretRef: {name: store}, profile: blue}"), &found).unwrap();
        let Objection { reason, message } = s3.objection.unwrap();
        assert_eq!(reason, "SecretInvalid");
        assert!(
            message.starts_with("spec.storage.s3.credentialsSecretRef: ") && message.contains(expected),
            "{message}"
        );
        assert!(!message.contains("hunter2"));
    }
    let found = BucketObjects { credentials: Some(data("credentials", FILE)), ca_bundle: None };
    let s3 = check(&spec("{bucket: b, credentialsSecretRef: {name: store}, profile: blue}"), &found).unwrap();
    assert_eq!(s3.objection, None);
}

#[test]
fn authorities_come_from_a_config_map_or_a_secret_and_are_named_where_they_are_missing() {
    let pem = "-----BEGIN CERTIFICATE-----\n";
    let cases = [
        ("{name: ca}", None, Some(("DependencyNotReady", "there is no ConfigMap ca"))),
        ("{name: ca}", Some(data("x", pem)), Some(("DependencyNotReady", "ConfigMap ca has no key ca.crt"))),
        ("{name: ca}", Some(data("ca.crt", "no")), Some(("DependencyNotReady", "must hold certificates in PEM form"))),
        ("{name: ca, kind: Secret, key: x}", None, Some(("SecretInvalid", "there is no Secret ca"))),
        ("{name: ca, kind: Secret, key: x}", Some(data("x", pem)), None),
        ("{name: ca}", Some(data("ca.crt", pem)), None),
    ];
    for (reference, ca_bundle, expected) in cases {
        let found = BucketObjects { credentials: None, ca_bundle };
        let s3 = check(&spec(&format!("{{bucket: b, caBundleRef: {reference}}}")), &found).unwrap();
        let said = s3.objection.as_ref().map(|objection| (objection.reason, objection.message.as_str()));
        match expected {
            None => assert_eq!(said, None),
            Some((reason, words)) => assert!(said.is_some_and(|(r, m)| r == reason && m.contains(words)), "{said:?}"),
        }
    }
}
