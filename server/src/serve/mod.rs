//! The running server: store, catalogue, ports, and an orderly end.

mod accept;
mod admin;
mod files;
mod greeting;
mod stall;
mod store;
mod taking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::auth::kubernetes::Kubernetes;
use crate::catalogue::{Catalogue, SweepError, collector};
use crate::config::{AuthConfig, Config};
use crate::declarations::Declarations;
use crate::http::{Readers, Server, Settings, Usage, prepared};
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::storage::file::OpenError;
use crate::storage::health::StorageHealth;
use crate::storage::s3;
use crate::tls::{Certificate, TlsError, watch};
use crate::uploads::{Pace, Uploads};

/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// Why the server doesn't start.
#[derive(Debug, Snafu)]
pub enum StartError {
    /// The store can't be used.
    #[snafu(display("{source}"))]
    Open {
        /// Why.
        source: OpenError,
    },
    /// The bucket can't be used.
    #[snafu(display("{source}"))]
    Bucket {
        /// Why.
        source: s3::OpenError,
    },
    /// The store can't be read.
    #[snafu(display("the store can't be read: {source}"))]
    Restore {
        /// Why.
        source: SweepError,
    },
    /// The certificate can't be used.
    #[snafu(display("{source}"), context(false))]
    Tls {
        /// Why.
        source: TlsError,
    },
    /// A port can't be had.
    #[snafu(display("{flag} {address} can't be used: {source}"))]
    Bind {
        /// The flag.
        flag: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The API server can't be found.
    #[snafu(display(
        "--auth kubernetes needs a cluster: {message}; run in a pod with a ServiceAccount, or set KUBECONFIG"
    ))]
    Cluster {
        /// Why.
        message: String,
    },
    /// A thread stopped.
    #[snafu(display("the start was interrupted: {source}"))]
    Interrupted {
        /// Why.
        source: tokio::task::JoinError,
    },
}

/// A server that answers.
pub struct Running {
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it answers probes.
    pub admin_address: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    background: JoinSet<()>,
}

/// Starts a server: the admin port first, so that probes know that it lives; then the store is tidied; then it serves.
///
/// # Errors
/// [`StartError`], which says what would be right.
pub async fn start(config: Config) -> Result<Running, StartError> {
    files::raise_limit();
    let (ready, metrics) = (Arc::new(AtomicBool::new(false)), Metrics::default());
    let admin = bind("--admin-listen", config.admin_listen).await?;
    let admin_address = local(&admin, "--admin-listen", config.admin_listen)?;
    let mut background = JoinSet::new();
    let health = StorageHealth::default();
    background.spawn(admin::serve(admin, Arc::clone(&ready), health.clone(), metrics.clone()));

    let certificate = config.tls_dir.as_deref().map(Certificate::load).transpose()?;
    let tls = match &certificate {
        Some(certificate) => Some(TlsAcceptor::from(Arc::new(certificate.server_config()?))),
        None => None,
    };
    let listener = bind("--listen", config.listen).await?;
    let address = local(&listener, "--listen", config.listen)?;
    let gc_interval = config.gc_interval;
    let server = assemble(config, tls.is_some(), health, metrics.clone()).await?;
    background.spawn(collector::run(server.catalogue.clone(), gc_interval, metrics.clone()));
    background.spawn(server.uploads.clone().watch());
    let (app, warm_up) = prepared(server);
    if let Some(certificate) = certificate {
        background.spawn(watch(certificate, metrics.clone()));
    }
    let stop = CancellationToken::new();
    let serving = tokio::spawn(accept::serve(listener, tls, app, metrics, stop.clone()));
    ready.store(true, Ordering::Release);
    background.spawn(warm_up);
    tracing::info!(%address, admin.address = %admin_address, "serving");
    Ok(Running { address, admin_address, ready, stop, serving, background })
}

/// Opens and tidies the store and puts together what the handlers work with.
async fn assemble(config: Config, tls: bool, health: StorageHealth, metrics: Metrics) -> Result<Server, StartError> {
    let catalogue = Catalogue::with(store::open(config.storage, health).await?, config.catalogue);
    let audit = Audit::new();
    let uploads = Uploads::new(catalogue.clone(), config.limits, Pace::default(), audit.clone(), metrics.clone());
    let restored = catalogue.restore().await.context(RestoreSnafu)?;
    let ingest = Ingest { catalogue: catalogue.clone(), policy: Arc::new(config.sources), limits: config.limits };
    let settings = Settings {
        scheme: if tls { "https" } else { "http" },
        public_host: config.public_host,
        anonymous_pull: config.anonymous_pull,
        operator_managed: config.operator_managed,
    };
    Ok(Server {
        settings: Arc::new(settings),
        declarations: Declarations::restore(ingest, restored, audit.clone(), metrics.clone()),
        uploads,
        readers: Readers::default(),
        catalogue,
        auth: Arc::new(authentication(config.auth).await?),
        audit,
        metrics,
        usage: Usage::default(),
    })
}

impl Running {
    /// Ends in order: not ready any more, `notice` for that to be heard of, then no new connections, and time for the
    /// requests that run.
    pub async fn stop(mut self, notice: Duration) {
        self.ready.store(false, Ordering::Release);
        tokio::time::sleep(notice).await;
        self.stop.cancel();
        if tokio::time::timeout(DRAIN, &mut self.serving).await.is_err() {
            tracing::warn!("requests that still run are cut off");
            self.serving.abort();
        }
        self.background.shutdown().await;
    }

    /// Waits until the server ends by itself, which it only does after a fault.
    pub async fn ended(&mut self) {
        let _ = (&mut self.serving).await;
    }
}

async fn authentication(auth: AuthConfig) -> Result<Auth, StartError> {
    match auth {
        AuthConfig::None => Ok(Auth::None),
        AuthConfig::ReadOnly => Ok(Auth::ReadOnly),
        AuthConfig::Kubernetes { audience, namespace } => {
            let failed = |message: String| StartError::Cluster { message };
            let config = kube::Config::infer().await.map_err(|error| failed(error.to_string()))?;
            let client = kube::Client::try_from(config).map_err(|error| failed(error.to_string()))?;
            Ok(Auth::Kubernetes(Kubernetes::new(client, audience, namespace)))
        }
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.context(BindSnafu { flag, address })
}

fn local(listener: &TcpListener, flag: &'static str, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().context(BindSnafu { flag, address })
}
