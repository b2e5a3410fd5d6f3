//! Reasons of conditions; the same words are the reasons of Events.

/// It is as it should be.
pub const SUCCEEDED: &str = "Succeeded";
/// Under way.
pub const PROGRESSING: &str = "Progressing";
/// An attempt failed, another one follows by itself.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// `spec.suspend` is true.
pub const SUSPENDED: &str = "Suspended";
/// The operator's settings or the registry's `packages.sources` don't allow it.
pub const NOT_ALLOWED: &str = "NotAllowed";
/// Something of that name belongs to somebody else.
pub const NAME_TAKEN: &str = "NameTaken";
/// A Secret is missing or its content is not what it must be.
pub const SECRET_INVALID: &str = "SecretInvalid";
/// Something else must be ready first.
pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
/// The container runtime's configuration doesn't cover the trust folder.
pub const CONFIG_PATH_UNSET: &str = "ConfigPathUnset";
/// The spec asks for something that can't be done; the message says what would be right.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// `StorageReady`: the pods' clocks and the store's differ too much, so requests can't be signed.
pub const CLOCK_SKEW: &str = "ClockSkew";
/// `StorageReady`: the store lets two writers win where only one may, so that several pods can't share it.
pub const S3_COORDINATION_UNSAFE: &str = "S3CoordinationUnsafe";
/// `StorageReady`: the store gives no answer.
pub const UNREACHABLE: &str = "Unreachable";

/// `Fetched`: the source could not be read.
pub const FETCH_FAILED: &str = "FetchFailed";
/// `Fetched`: the source refused the credentials.
pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
/// `Fetched`: other bytes than `sha256` promises.
pub const DIGEST_MISMATCH: &str = "DigestMismatch";

/// `Published`: not a bundle that could be published.
pub const INVALID_BUNDLE: &str = "InvalidBundle";
/// `Published`: a packaging version that can't be published.
pub const UNSUPPORTED_PACKAGING_VERSION: &str = "UnsupportedPackagingVersion";
/// `Published`: an older object declares this name and version.
pub const ALREADY_DECLARED: &str = "AlreadyDeclared";
/// `Published`: the same name and version is there with other content.
pub const CONFLICT: &str = "Conflict";
/// `Published`: no room.
pub const STORAGE_FULL: &str = "StorageFull";
/// `InUse`: workloads use the package's images.
pub const IN_USE: &str = "InUse";
/// `InUse`: nothing uses the package's images.
pub const NOT_IN_USE: &str = "NotInUse";
/// `Published`: the registry hasn't the upload that the spec names.
pub const CONTENT_MISSING: &str = "ContentMissing";
