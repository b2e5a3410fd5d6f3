//! Who may do what: one table of areas and methods. What isn't in it doesn't exist.

use http::Method;

/// A right on `packages` of the registry's namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Pull images, read the API.
    Get,
    /// Add packages, push images.
    Create,
    /// Put something else in the place of what is published.
    Update,
    /// Remove.
    Delete,
}

impl Verb {
    /// The word that the API server knows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What moving a tag needs besides, where a package published it. Who moves tags that pushes made needs no more than the
/// right to push; which of the two a tag is, only the store can tell, so that it is asked for where the tag is written.
pub const MOVE_OF_A_PACKAGES_TAG: Verb = Verb::Update;

/// What the path of a declaration begins with.
pub const DECLARATIONS: &str = "/api/v1/declarations/";

/// A part of the server's paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Area {
    /// `/`, `/health`.
    Health,
    /// `/repo`, `/package/<name>`.
    Repository,
    /// `/resource/…`.
    Resource,
    /// `/v2/…`.
    Images,
    /// `/v2/<name>/blobs/uploads/…`: only who pushes has anything to do with a push, and may give it up.
    ImageUploads,
    /// `/auth/token`.
    Token,
    /// `/api/v1/packages`.
    Packages,
    /// `/api/v1/packages/{name}/{version}`.
    Package,
    /// `/api/v1/packages/{name}/{version}/…`.
    PackageContent,
    /// `/api/v1/uploads`.
    Uploads,
    /// `/api/v1/uploads/{id}`.
    Upload,
    /// `/api/v1/uploads/{id}/complete`.
    UploadCompletion,
    /// `/api/v1/uploads/{id}/blobs/{digest}`.
    UploadBlob,
    /// `/api/v1/declarations/…`.
    Declarations,
    /// `/api/v1/status`.
    Status,
    /// `/api/v1/openapi.json`.
    Document,
}

impl Area {
    /// The area of a path.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
        Some(match path {
            "/" | "/health" => Self::Health,
            "/repo" => Self::Repository,
            "/v2" | "/v2/" => Self::Images,
            _ if under("/v2") && is_upload(path) => Self::ImageUploads,
            "/auth/token" => Self::Token,
            "/api/v1/packages" => Self::Packages,
            "/api/v1/uploads" => Self::Uploads,
            "/api/v1/status" => Self::Status,
            "/api/v1/openapi.json" => Self::Document,
            _ if under("/package") => Self::Repository,
            _ if under("/resource") => Self::Resource,
            _ if under("/v2") => Self::Images,
            _ if under("/api/v1/packages") => Self::of_package(path)?,
            _ if under("/api/v1/uploads") => Self::of_upload(path)?,
            _ if under("/api/v1/declarations") => Self::Declarations,
            _ => return None,
        })
    }

    fn of_package(path: &str) -> Option<Self> {
        match path.split('/').skip(4).collect::<Vec<_>>()[..] {
            [_, _] => Some(Self::Package),
            [_, _, "content"] | [_, _, "blobs", _] => Some(Self::PackageContent),
            _ => None,
        }
    }

    fn of_upload(path: &str) -> Option<Self> {
        match path.split('/').skip(4).collect::<Vec<_>>()[..] {
            [_] => Some(Self::Upload),
            [_, "complete"] => Some(Self::UploadCompletion),
            [_, "blobs", _] => Some(Self::UploadBlob),
            _ => None,
        }
    }

    /// Its word in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Repository => "repo",
            Self::Resource => "resource",
            Self::Images | Self::ImageUploads => "v2",
            Self::Token => "token",
            Self::Packages
            | Self::Package
            | Self::PackageContent
            | Self::Uploads
            | Self::Upload
            | Self::UploadCompletion
            | Self::UploadBlob
            | Self::Declarations
            | Self::Status
            | Self::Document => "api",
        }
    }
}

/// Whether a path ends as those of uploads do.
fn is_upload(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some("uploads"), Some("blobs"), _) | (_, Some("uploads"), Some("blobs"))
    )
}

/// What a request needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Nothing; anybody may.
    Open,
    /// A right.
    Right(Verb),
    /// There is no such path.
    NoSuchPath,
    /// The path knows other methods only.
    NoSuchMethod(&'static str),
}

/// One row: an area, what reading needs, and what each changing method needs.
struct Row {
    area: Area,
    read: Read,
    write: &'static [(Method, Verb)],
    allow: &'static str,
}

#[derive(Clone, Copy)]
enum Read {
    Open,
    /// Those who push.
    Push,
    /// Open where anonymous pulls are.
    Pull,
    Right(Verb),
    /// There is only what a head says.
    Head(Verb),
    /// There is nothing to read.
    Never,
}

const READ_ONLY: &[(Method, Verb)] = &[];
const READ: &str = "GET, HEAD";

const TABLE: [Row; 16] = [
    Row { area: Area::Health, read: Read::Open, write: READ_ONLY, allow: READ },
    Row { area: Area::Repository, read: Read::Open, write: READ_ONLY, allow: READ },
    Row { area: Area::Resource, read: Read::Open, write: READ_ONLY, allow: READ },
    // Asks for credentials itself: it exists to turn them into a token.
    Row { area: Area::Token, read: Read::Open, write: READ_ONLY, allow: READ },
    Row {
        area: Area::Images,
        read: Read::Pull,
        write: &[(Method::PUT, Verb::Create), (Method::DELETE, Verb::Delete)],
        allow: "GET, HEAD, PUT, DELETE",
    },
    Row {
        area: Area::ImageUploads,
        read: Read::Push,
        write: &[
            (Method::POST, Verb::Create),
            (Method::PATCH, Verb::Create),
            (Method::PUT, Verb::Create),
            (Method::DELETE, Verb::Create),
        ],
        allow: "GET, HEAD, POST, PATCH, PUT, DELETE",
    },
    Row { area: Area::Packages, read: Read::Right(Verb::Get), write: READ_ONLY, allow: READ },
    Row {
        area: Area::Package,
        read: Read::Right(Verb::Get),
        write: &[(Method::DELETE, Verb::Delete)],
        allow: "GET, HEAD, DELETE",
    },
    Row { area: Area::PackageContent, read: Read::Right(Verb::Get), write: READ_ONLY, allow: READ },
    // Who may bring a package may also see how far it is, and give it up.
    Row { area: Area::Uploads, read: Read::Never, write: &[(Method::POST, Verb::Create)], allow: "POST" },
    Row {
        area: Area::Upload,
        read: Read::Right(Verb::Create),
        write: &[(Method::DELETE, Verb::Create)],
        allow: "GET, HEAD, DELETE",
    },
    Row { area: Area::UploadCompletion, read: Read::Never, write: &[(Method::POST, Verb::Create)], allow: "POST" },
    Row {
        area: Area::UploadBlob,
        read: Read::Head(Verb::Create),
        write: &[(Method::PATCH, Verb::Create)],
        allow: "HEAD, PATCH",
    },
    Row {
        area: Area::Declarations,
        read: Read::Right(Verb::Get),
        write: &[(Method::PUT, Verb::Create), (Method::DELETE, Verb::Delete)],
        allow: "GET, HEAD, PUT, DELETE",
    },
    Row { area: Area::Document, read: Read::Open, write: READ_ONLY, allow: READ },
    Row { area: Area::Status, read: Read::Right(Verb::Get), write: READ_ONLY, allow: READ },
];

/// What a request needs. Whether a declaration replaces another, which needs `update` too, only the gate can tell.
#[must_use]
pub fn need(method: &Method, path: &str, anonymous_pull: bool) -> Need {
    let Some(row) = Area::of(path).and_then(|area| TABLE.iter().find(|row| row.area == area)) else {
        return Need::NoSuchPath;
    };
    if *method == Method::GET || *method == Method::HEAD {
        return match row.read {
            Read::Open => Need::Open,
            Read::Push => Need::Right(Verb::Create),
            Read::Pull if anonymous_pull => Need::Open,
            Read::Pull => Need::Right(Verb::Get),
            Read::Right(verb) => Need::Right(verb),
            Read::Head(verb) if *method == Method::HEAD => Need::Right(verb),
            Read::Head(_) | Read::Never => Need::NoSuchMethod(row.allow),
        };
    }
    let found = row.write.iter().find(|(known, _)| known == method);
    found.map_or(Need::NoSuchMethod(row.allow), |(_, verb)| Need::Right(*verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_has_a_row() {
        for path in [
            "/",
            "/repo",
            "/resource/a/b/c",
            "/v2/",
            "/v2/a/blobs/uploads/",
            "/auth/token",
            "/api/v1/packages",
            "/api/v1/packages/a/1",
            "/api/v1/packages/a/1/content",
            "/api/v1/packages/a/1/blobs/x",
            "/api/v1/uploads",
            "/api/v1/uploads/x",
            "/api/v1/uploads/x/complete",
            "/api/v1/uploads/x/blobs/y",
            "/api/v1/declarations/x",
            "/api/v1/status",
            "/api/v1/openapi.json",
        ] {
            let area = Area::of(path).unwrap();
            assert!(TABLE.iter().any(|row| row.area == area), "{path}");
        }
    }

    #[test]
    fn reading_the_catalogue_files_and_health_is_open_whatever_is_set() {
        for path in ["/", "/health", "/repo", "/package/redis", "/resource/a/sha256:b/c", "/api/v1/openapi.json"] {
            for anonymous in [true, false] {
                assert_eq!(need(&Method::GET, path, anonymous), Need::Open, "{path}");
                assert_eq!(need(&Method::HEAD, path, anonymous), Need::Open, "{path}");
            }
        }
    }

    #[test]
    fn pulls_are_open_only_where_anonymous_pulls_are() {
        for path in ["/v2/", "/v2", "/v2/a/blobs/x", "/v2/_catalog"] {
            assert_eq!(need(&Method::GET, path, true), Need::Open);
            assert_eq!(need(&Method::HEAD, path, false), Need::Right(Verb::Get));
        }
    }

    #[test]
    fn every_change_needs_a_right() {
        let table = [
            (Method::POST, "/v2/a/blobs/uploads/", Verb::Create),
            (Method::PATCH, "/v2/a/blobs/uploads/x", Verb::Create),
            (Method::PUT, "/v2/a/manifests/x", Verb::Create),
            (Method::DELETE, "/v2/a/manifests/x", Verb::Delete),
            (Method::DELETE, "/v2/", Verb::Delete),
            (Method::POST, "/api/v1/uploads", Verb::Create),
            (Method::POST, "/api/v1/uploads/x/complete", Verb::Create),
            (Method::PATCH, "/api/v1/uploads/x/blobs/y", Verb::Create),
            (Method::DELETE, "/api/v1/uploads/x", Verb::Create),
            (Method::DELETE, "/api/v1/packages/a/1", Verb::Delete),
            (Method::DELETE, "/v2/a/blobs/x", Verb::Delete),
            (Method::DELETE, "/v2/a/blobs/uploads/x", Verb::Create),
            (Method::GET, "/v2/a/blobs/uploads/x", Verb::Create),
            (Method::HEAD, "/v2/a/blobs/uploads/", Verb::Create),
            (Method::PUT, "/api/v1/declarations/x", Verb::Create),
            (Method::DELETE, "/api/v1/declarations/x", Verb::Delete),
        ];
        for (method, path, verb) in table {
            assert_eq!(need(&method, path, true), Need::Right(verb), "{method} {path}");
        }
    }

    #[test]
    fn a_repository_may_be_called_as_uploads_are() {
        assert_eq!(need(&Method::GET, "/v2/blobs/uploads/manifests/1", true), Need::Open);
        assert_eq!(need(&Method::GET, "/v2/blobs/uploads/tags/list", true), Need::Open);
    }

    #[test]
    fn reading_the_api_needs_a_right() {
        for path in [
            "/api/v1/packages",
            "/api/v1/packages/a/1",
            "/api/v1/packages/a/1/content",
            "/api/v1/packages/a/1/blobs/x",
            "/api/v1/declarations/x",
            "/api/v1/status",
        ] {
            assert_eq!(need(&Method::GET, path, true), Need::Right(Verb::Get), "{path}");
        }
        for path in ["/api/v1/uploads/x", "/api/v1/uploads/x/blobs/y"] {
            assert_eq!(need(&Method::HEAD, path, true), Need::Right(Verb::Create), "{path}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_does_not_exist() {
        for path in [
            "/v2x",
            "/api",
            "/api/v1/declarations",
            "/api/v1/declarations/",
            "/api/v1/other",
            "/api/v1/packages/a",
            "/api/v1/packages/a/1/other",
            "/api/v1/uploads/x/blobs",
            "//v2/",
            "/metrics",
            "",
            "/repo/",
        ] {
            assert_eq!(need(&Method::GET, path, true), Need::NoSuchPath, "{path}");
            assert_eq!(need(&Method::PUT, path, true), Need::NoSuchPath, "{path}");
        }
        for (method, path) in [
            (Method::GET, "/api/v1/uploads"),
            (Method::GET, "/api/v1/uploads/x/blobs/y"),
            (Method::DELETE, "/api/v1/packages"),
            (Method::POST, "/repo"),
            (Method::TRACE, "/v2/"),
            (Method::OPTIONS, "/api/v1/declarations/x"),
        ] {
            assert!(matches!(need(&method, path, true), Need::NoSuchMethod(_)), "{method} {path}");
        }
    }
}
