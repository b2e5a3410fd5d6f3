//! Flags, parsed once into what the server works with. Each is also an environment variable `PACKAGE_REGISTRY_…`.

mod s3;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bundle::stream::Limits;
use clap::{ArgAction, Parser, ValueEnum};
use k8s_openapi::jiff::{self, SignedDuration};
use snafu::{OptionExt, Snafu, ensure};

use crate::catalogue::{OnConflict, Options};
use crate::ingest::addresses::Cidr;
use crate::ingest::policy::{AllowedHost, SourcePolicy};
use crate::storage::s3::S3Config;
pub use s3::S3Arguments;

/// The package registry's server.
#[derive(Clone, Debug, Parser)]
#[command(name = "package-registry-server", version, about)]
#[expect(clippy::doc_markdown, reason = "these are help texts, read in a terminal")]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
pub struct Arguments {
    /// Address and port to serve on.
    #[arg(long, env = "PACKAGE_REGISTRY_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Folder with tls.crt and tls.key (PEM); exchanged files are taken up without a restart.
    #[arg(long, env = "PACKAGE_REGISTRY_TLS_DIR", value_name = "DIR", conflicts_with = "plain_http")]
    pub tls_dir: Option<PathBuf>,

    /// Serve without TLS.
    #[arg(long, env = "PACKAGE_REGISTRY_PLAIN_HTTP")]
    pub plain_http: bool,

    /// Address and port of /livez, /readyz and /metrics.
    #[arg(long, env = "PACKAGE_REGISTRY_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,

    /// Where everything is kept: file:///DIR, s3://BUCKET/PATH, or memory: for trials (gone with the process).
    #[arg(long, env = "PACKAGE_REGISTRY_STORAGE", value_name = "URL")]
    pub storage: String,

    /// What s3:// needs to know.
    #[command(flatten)]
    pub s3: S3Arguments,

    /// Host, and port where it isn't the scheme's, in addresses that are handed out. Default: the host of the request.
    #[arg(long, env = "PACKAGE_REGISTRY_PUBLIC_HOST", value_name = "HOST[:PORT]")]
    pub public_host: Option<String>,

    /// Who may change packages: everybody, nobody, or whom Kubernetes lets (TokenReview and SubjectAccessReview).
    #[arg(long, env = "PACKAGE_REGISTRY_AUTH", value_enum)]
    pub auth: AuthKind,

    /// Audience that tokens must carry, registry.dcos.io/NAMESPACE/NAME; rights are asked for in that namespace.
    #[arg(long, env = "PACKAGE_REGISTRY_TOKEN_AUDIENCE", value_name = "AUDIENCE")]
    pub token_audience: Option<String>,

    /// Let everybody pull images; otherwise the right to get packages is needed.
    #[arg(long, env = "PACKAGE_REGISTRY_ANONYMOUS_PULL", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub anonymous_pull: bool,

    /// An operator has a Package object for every uploaded package: removing one only marks it, and the operator removes
    /// it with its object.
    #[arg(long, env = "PACKAGE_REGISTRY_OPERATOR_MANAGED")]
    pub operator_managed: bool,

    /// Most bytes of one bundle.
    #[arg(long, env = "PACKAGE_REGISTRY_MAX_UPLOAD_BYTES", default_value_t = Limits::default().total, value_name = "BYTES")]
    pub max_upload_bytes: u64,

    /// Host that packages may be fetched from: NAME (any port) or NAME:PORT. May be given several times, or with commas.
    #[arg(long, env = "PACKAGE_REGISTRY_SOURCE_ALLOWED_HOST", value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub source_allowed_host: Vec<AllowedHost>,

    /// Addresses that packages may be fetched from, whatever the host's name. Loopback only where a range in 127.0.0.0/8
    /// or ::1 names it.
    #[arg(long, env = "PACKAGE_REGISTRY_SOURCE_ALLOWED_CIDR", value_delimiter = ',', value_name = "CIDR")]
    pub source_allowed_cidr: Vec<Cidr>,

    /// Refuse sources without a sha256.
    #[arg(long, env = "PACKAGE_REGISTRY_SOURCE_REQUIRE_DIGEST", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub source_require_digest: bool,

    /// How often what nobody needs is removed from the store: 1h, 10m, 90s.
    #[arg(long, env = "PACKAGE_REGISTRY_GC_INTERVAL", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub gc_interval: Duration,

    /// How long what nobody needs is left alone before it is removed; above the time between a client's pushing a blob and
    /// its manifest.
    #[arg(long, env = "PACKAGE_REGISTRY_GC_GRACE_PERIOD", default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub gc_grace_period: Duration,

    /// Only count and log what would be removed.
    #[arg(long, env = "PACKAGE_REGISTRY_GC_DRY_RUN")]
    pub gc_dry_run: bool,

    /// Other content under a name and version that are in the catalogue: refuse it, or put it in the place of what is there.
    #[arg(long, env = "PACKAGE_REGISTRY_ON_CONFLICT", value_enum, default_value_t = OnConflict::Reject)]
    pub on_conflict: OnConflict,

    /// Form of the log on standard error. The audit trail on standard output is JSON always.
    #[arg(long, env = "PACKAGE_REGISTRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// The API server's address, set in every pod; nothing is ever fetched from there.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub api_server_host: Option<String>,
}

/// Who decides who may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AuthKind {
    /// Everybody may do everything.
    None,
    /// Everybody may read, nobody may change anything.
    ReadOnly,
    /// Kubernetes decides.
    Kubernetes,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What the server works with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Serving port.
    pub listen: SocketAddr,
    /// Folder of the certificate; without one, plain HTTP.
    pub tls_dir: Option<PathBuf>,
    /// Admin port.
    pub admin_listen: SocketAddr,
    /// The store.
    pub storage: StorageConfig,
    /// Host in addresses that are handed out.
    pub public_host: Option<String>,
    /// Who decides.
    pub auth: AuthConfig,
    /// Whether images may be pulled without a token.
    pub anonymous_pull: bool,
    /// Whether removals of uploaded packages are for the operator to carry out.
    pub operator_managed: bool,
    /// What may be fetched.
    pub sources: SourcePolicy,
    /// Caps on bundles.
    pub limits: Limits,
    /// How the catalogue behaves.
    pub catalogue: Options,
    /// How often what nobody needs is collected.
    pub gc_interval: Duration,
}

/// The store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StorageConfig {
    /// A folder.
    File(PathBuf),
    /// A bucket.
    S3(Box<S3Config>),
    /// Memory.
    Memory,
}

/// Who decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthConfig {
    /// Nobody.
    None,
    /// Nobody; nothing may be changed.
    ReadOnly,
    /// Kubernetes.
    Kubernetes {
        /// Audience of tokens.
        audience: String,
        /// Namespace in which rights are asked for.
        namespace: String,
    },
}

/// A flag that can't be used, and what would be right.
#[derive(Debug, Snafu)]
#[snafu(display("{flag}: {problem}"))]
pub struct InvalidFlag {
    flag: &'static str,
    problem: String,
}

impl Arguments {
    /// Checks what one flag alone can't tell.
    ///
    /// # Errors
    /// The flag, and what would be right.
    pub fn config(self) -> Result<Config, InvalidFlag> {
        let tls = self.tls_dir.is_some() || self.plain_http;
        ensure!(
            tls,
            InvalidFlagSnafu { flag: "--tls-dir", problem: "is needed, or --plain-http to serve without TLS" }
        );
        if let Some(host) = &self.public_host {
            let right = host.parse::<http::uri::Authority>().is_ok_and(|a| !a.as_str().contains('@'));
            let problem = format!("{host:?} is not HOST or HOST:PORT");
            ensure!(right, InvalidFlagSnafu { flag: "--public-host", problem });
        }
        ensure!(self.max_upload_bytes > 0, InvalidFlagSnafu { flag: "--max-upload-bytes", problem: "must be above 0" });
        let refused = self.api_server_host.iter().filter_map(|host| host.parse().ok()).collect();
        Ok(Config {
            listen: self.listen,
            admin_listen: self.admin_listen,
            storage: storage(&self.storage, self.s3)?,
            auth: auth(self.auth, self.token_audience)?,
            anonymous_pull: self.anonymous_pull,
            operator_managed: self.operator_managed,
            limits: Limits { total: self.max_upload_bytes, ..Limits::default() },
            sources: SourcePolicy {
                hosts: self.source_allowed_host,
                ranges: self.source_allowed_cidr,
                require_digest: self.source_require_digest,
                refused,
            },
            catalogue: Options {
                on_conflict: self.on_conflict,
                grace_period: self.gc_grace_period,
                dry_run: self.gc_dry_run,
            },
            gc_interval: self.gc_interval,
            tls_dir: self.tls_dir,
            public_host: self.public_host,
        })
    }
}

/// A time as people write it. A second at least: nobody could work with less.
fn duration(text: &str) -> Result<Duration, String> {
    let problem = |why: String| format!("{why}; 1h, 10m or 90s would be right, 1s at least");
    let parsed: SignedDuration = text.parse().map_err(|error: jiff::Error| problem(error.to_string()))?;
    let duration = Duration::try_from(parsed).map_err(|error| problem(error.to_string()))?;
    if duration < Duration::from_secs(1) { Err(problem("too short".to_owned())) } else { Ok(duration) }
}

fn storage(url: &str, s3: S3Arguments) -> Result<StorageConfig, InvalidFlag> {
    if url.starts_with("s3:") {
        return Ok(StorageConfig::S3(Box::new(s3.config(url)?)));
    }
    if let Some(flag) = s3.given() {
        return InvalidFlagSnafu { flag, problem: "needs --storage s3://BUCKET/PATH" }.fail();
    }
    if matches!(url, "memory:" | "memory://") {
        return Ok(StorageConfig::Memory);
    }
    let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'));
    let problem = || format!("{url:?} is not a store: file:///DIR with an absolute path, s3://BUCKET/PATH, or memory:");
    let path = path.with_context(|| InvalidFlagSnafu { flag: "--storage", problem: problem() })?;
    Ok(StorageConfig::File(path.into()))
}

fn auth(kind: AuthKind, audience: Option<String>) -> Result<AuthConfig, InvalidFlag> {
    const FLAG: &str = "--token-audience";
    match (kind, audience) {
        (AuthKind::None, None) => Ok(AuthConfig::None),
        (AuthKind::ReadOnly, None) => Ok(AuthConfig::ReadOnly),
        (AuthKind::None | AuthKind::ReadOnly, Some(_)) => {
            InvalidFlagSnafu { flag: FLAG, problem: "needs --auth kubernetes; others look at no token" }.fail()
        }
        (AuthKind::Kubernetes, None) => {
            let problem = "is needed with --auth kubernetes: registry.dcos.io/NAMESPACE/NAME of the PackageRegistry";
            InvalidFlagSnafu { flag: FLAG, problem }.fail()
        }
        (AuthKind::Kubernetes, Some(audience)) => {
            let parts: Vec<_> = audience.split('/').collect();
            let problem = format!("{audience:?} is not registry.dcos.io/NAMESPACE/NAME");
            let ["registry.dcos.io", namespace, name] = parts[..] else {
                return InvalidFlagSnafu { flag: FLAG, problem }.fail();
            };
            ensure!(!namespace.is_empty() && !name.is_empty(), InvalidFlagSnafu { flag: FLAG, problem });
            let namespace = namespace.to_owned();
            Ok(AuthConfig::Kubernetes { audience, namespace })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let line = ["package-registry-server"].iter().chain(flags);
        let arguments = Arguments::try_parse_from(line).map_err(|error| error.to_string())?;
        arguments.config().map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_stand_alone_server_needs_four_flags() {
        let flags = ["--plain-http", "--listen", "127.0.0.1:5000", "--storage", "file:///tmp/x", "--auth", "none"];
        let config = config(&flags).unwrap();
        assert_eq!(config.storage, StorageConfig::File("/tmp/x".into()));
        assert_eq!(config.auth, AuthConfig::None);
        assert!(config.sources.require_digest && config.sources.hosts.is_empty());
        assert_eq!((config.catalogue, config.gc_interval), (Options::default(), Duration::from_hours(1)));
    }

    #[test]
    fn collection_and_conflicts_have_flags() {
        let flags = ["--plain-http", "--storage", "memory:", "--auth", "none", "--gc-interval", "90s"];
        let more = ["--gc-grace-period", "1h 30m", "--gc-dry-run", "--on-conflict", "replace"];
        let config = config(&[&flags[..], &more].concat()).unwrap();
        let grace_period = Duration::from_mins(90);
        assert_eq!(config.gc_interval, Duration::from_secs(90));
        assert_eq!(config.catalogue, Options { on_conflict: OnConflict::Replace, grace_period, dry_run: true });
    }

    #[test]
    fn the_audience_names_the_namespace() {
        let flags = [
            "--tls-dir",
            "/tls",
            "--storage",
            "memory:",
            "--auth",
            "kubernetes",
            "--token-audience",
            "registry.dcos.io/apps/main",
        ];
        let wanted = AuthConfig::Kubernetes { audience: "registry.dcos.io/apps/main".into(), namespace: "apps".into() };
        assert_eq!(config(&flags).unwrap().auth, wanted);
    }

    #[test]
    fn lists_come_with_commas_or_repeated() {
        let flags = [
            "--plain-http",
            "--storage",
            "memory:",
            "--auth",
            "none",
            "--source-allowed-host",
            "a.test,b.test:1",
            "--source-allowed-host",
            "c.test",
            "--source-require-digest",
            "false",
        ];
        let sources = config(&flags).unwrap().sources;
        assert_eq!(sources.hosts.len(), 3);
        assert!(!sources.require_digest);
    }

    #[test]
    fn a_bad_flag_names_itself_and_what_would_be_right() {
        let plain = ["--plain-http", "--auth", "none"];
        let with = |more: &[&'static str]| config(&[&plain[..], more].concat()).unwrap_err();
        for (error, words) in [
            (with(&["--storage", "ftp://x"]), ["--storage", "file:///DIR"]),
            (with(&["--storage", "file://x"]), ["--storage", "absolute"]),
            (with(&["--storage", "memory:", "--listen", "here"]), ["--listen", "here"]),
            (
                with(&["--storage", "memory:", "--source-allowed-cidr", "10.0.0.0/99"]),
                ["--source-allowed-cidr", "10.0.0.0/8"],
            ),
            (
                with(&["--storage", "memory:", "--source-allowed-host", "https://a"]),
                ["--source-allowed-host", "NAME:PORT"],
            ),
            (with(&["--storage", "memory:", "--token-audience", "x"]), ["--token-audience", "--auth kubernetes"]),
            (with(&["--storage", "memory:", "--gc-interval", "5"]), ["--gc-interval", "10m"]),
            (with(&["--storage", "memory:", "--gc-grace-period", "0s"]), ["--gc-grace-period", "1s at least"]),
            (with(&["--storage", "memory:", "--gc-grace-period=-1h"]), ["--gc-grace-period", "10m"]),
            (with(&["--storage", "memory:", "--public-host", "a/b"]), ["--public-host", "HOST:PORT"]),
            (with(&["--storage", "memory:", "--tls-dir", "/x"]), ["--tls-dir", "--plain-http"]),
            (config(&["--storage", "memory:", "--auth", "none"]).unwrap_err(), ["--tls-dir", "--plain-http"]),
            (
                config(&["--plain-http", "--storage", "memory:", "--auth", "kubernetes"]).unwrap_err(),
                ["--token-audience", "NAMESPACE/NAME"],
            ),
            (config(&["--plain-http", "--storage", "memory:"]).unwrap_err(), ["--auth", "required"]),
        ] {
            for word in words {
                assert!(error.contains(word), "{word} in {error}");
            }
        }
    }
}
