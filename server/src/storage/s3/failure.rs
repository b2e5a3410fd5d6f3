//! What a failed call means: the protocol's codes, sorted once.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::storage::health::Trouble;
use crate::storage::{StorageError, keys};

/// Why a call did not do what it was to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The object, or the upload, isn't there. Only ever what the store itself says of a key.
    Missing,
    /// The condition of a write or removal doesn't hold.
    Precondition,
    /// Another conditional write to the same key is under way; to be tried again.
    Conflict,
    /// The object has no such bytes.
    OutOfRange,
    /// No room.
    Full,
    /// Everything else.
    Unusable { trouble: Trouble, message: String },
}

impl Failure {
    /// As the trait says it, for a key.
    pub(super) fn at(self, key: impl Into<String>) -> StorageError {
        let key = key.into();
        match self {
            Self::Missing => StorageError::NotFound { key },
            Self::Precondition => StorageError::ConditionFailed { key },
            Self::Full => StorageError::StorageFull { key },
            Self::Conflict => {
                let message = format!("{key}: other writers keep it from being written");
                StorageError::Unavailable { trouble: Trouble::Unreachable, message }
            }
            Self::OutOfRange => damaged(key, "the object is shorter than it was written"),
            Self::Unusable { trouble, message } => StorageError::Unavailable { trouble, message },
        }
    }
}

/// What the store said.
struct Answer<'a> {
    status: u16,
    code: Option<&'a str>,
    message: &'a str,
}

/// Sorts the failure of a call.
pub(super) fn sort<E>(error: &SdkError<E, HttpResponse>, bucket: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => sort_answer(
            &Answer {
                status: service.raw().status().as_u16(),
                code: service.err().code(),
                message: service.err().message().unwrap_or("no message"),
            },
            bucket,
        ),
        SdkError::TimeoutError(_) => unreachable("the store didn't answer in time".to_owned()),
        other => unreachable(format!("the store can't be asked: {}", causes(other))),
    }
}

fn unreachable(message: String) -> Failure {
    Failure::Unusable { trouble: Trouble::Unreachable, message }
}

/// The innermost causes are what helps; the SDK's own words around them aren't.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

fn sort_answer(answer: &Answer<'_>, bucket: &str) -> Failure {
    let Answer { status, code, message } = *answer;
    let said = |trouble, what: &str| {
        let message = format!("{what} ({}: {message})", code.unwrap_or("no code"));
        Failure::Unusable { trouble, message }
    };
    match (code, status) {
        // A removal or conditional write of an upload or an object that is gone.
        (Some("NoSuchKey" | "NoSuchUpload" | "NotFound"), 404) => Failure::Missing,
        (Some("NoSuchBucket"), _) => said(Trouble::Unreachable, &format!("there is no bucket {bucket:?}; make it")),
        (Some("InvalidRange"), _) | (_, 416) => Failure::OutOfRange,
        (Some("PreconditionFailed"), _) | (_, 412) => Failure::Precondition,
        (Some("ConditionalRequestConflict" | "OperationAborted"), _) => Failure::Conflict,
        (Some("RequestTimeTooSkewed"), _) => {
            said(Trouble::ClockSkew, "the clocks of this host and of the store are too far apart; set them")
        }
        (
            Some(
                "AccessDenied"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "AccountProblem"
                | "NotSignedUp"
                | "InvalidSecurity",
            ),
            _,
        )
        | (None, 401 | 403) => said(Trouble::SecretInvalid, "the store refuses the credentials"),
        (Some("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded"), _) | (_, 507) => Failure::Full,
        _ => said(Trouble::Unreachable, &format!("the store answered {status}")),
    }
}

/// An object that isn't of the form that this store writes.
pub(super) fn damaged(key: impl Into<String>, what: &str) -> StorageError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    StorageError::Io { key: key.into(), source }
}

/// Something of this process that stopped, as the trait says it.
pub(super) fn stopped(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Io { key: keys::DATA.to_owned(), source: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(status: u16, code: Option<&str>) -> Failure {
        sort_answer(&Answer { status, code, message: "m" }, "b")
    }

    fn trouble(status: u16, code: Option<&str>) -> Option<Trouble> {
        match sorted(status, code) {
            Failure::Unusable { trouble, .. } => Some(trouble),
            _ => None,
        }
    }

    #[test]
    fn only_the_stores_own_word_makes_an_object_missing() {
        assert_eq!(sorted(404, Some("NoSuchKey")), Failure::Missing);
        assert_eq!(trouble(404, None), Some(Trouble::Unreachable));
        assert_eq!(trouble(404, Some("NoSuchBucket")), Some(Trouble::Unreachable));
        assert_eq!(trouble(500, Some("NoSuchKey")), Some(Trouble::Unreachable));
        assert_eq!(trouble(503, Some("SlowDown")), Some(Trouble::Unreachable));
    }

    #[test]
    fn troubles_are_told_apart() {
        assert_eq!(trouble(403, Some("RequestTimeTooSkewed")), Some(Trouble::ClockSkew));
        assert_eq!(trouble(403, Some("InvalidAccessKeyId")), Some(Trouble::SecretInvalid));
        assert_eq!(trouble(403, None), Some(Trouble::SecretInvalid));
        assert_eq!(sorted(412, None), Failure::Precondition);
        assert_eq!(sorted(409, Some("ConditionalRequestConflict")), Failure::Conflict);
        assert_eq!(sorted(507, Some("XMinioStorageFull")), Failure::Full);
    }
}
