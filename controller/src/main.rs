//! `package-registry-controller`: waits until it may work, then drives everything until it is told to stop.

use std::{io::IsTerminal, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use controller::{
    arguments::{Arguments, LogFormat, Settings, read_resolv_conf},
    context::Context,
    fence::Fence,
    health::{Admin, Pending, app},
    leader::{Election, Leadership},
    metrics::Metrics,
    own_image, package, registry, watch,
};
use kube::{Client, Config, client::ClientBuilder};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What ends the process early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Said when a controller ends that nobody told to.
const ENDED: &str = "a controller ended by itself";
/// Longest time for passes under way after a signal; shorter than the leader's right to write lasts.
const GRACE: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log_format);
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::error!("the TLS provider is set already");
        return ExitCode::FAILURE;
    }
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", controller::error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=error"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(std::io::stdout().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

async fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let shutdown = CancellationToken::new();
    stop_on_signals(shutdown.clone())?;

    let leadership = if arguments.leader_election { Leadership::elected() } else { Leadership::alone() };
    let admin = Admin { metrics: Metrics::new(), leadership: leadership.clone(), pending: Pending::default() };
    admin.pending.set(vec!["the API server".to_owned()]);
    let listener = TcpListener::bind(arguments.admin_listen).await?;
    let answers = tokio::spawn(
        axum::serve(listener, app(admin.clone()))
            .with_graceful_shutdown(shutdown.clone().cancelled_owned())
            .into_future(),
    );

    let config = Config::infer().await?;
    let client = ClientBuilder::try_from(config.clone())?.build();
    let fenced = ClientBuilder::try_from(config)?.with_layer(&Fence(leadership.clone())).build();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = arguments.namespace, "controller starts");

    let Some(settings) = settings(&mut arguments, &client, &admin, &shutdown).await? else { return Ok(()) };
    let Some(stores) = watch::begin(&fenced, &admin, &shutdown).await else { return Ok(()) };
    let context = Context::new(
        fenced,
        settings.clone(),
        admin.metrics.clone(),
        arguments.pod_name.clone(),
        stores.packages,
        stores.registries,
    );
    let context = Arc::new(context.with_agents(arguments.agents.clone()));
    if arguments.leader_election {
        let mut election = Election::new(client, &settings.operator_namespace, identity(&arguments), leadership);
        lead(&mut election, context, &admin, &shutdown, &settings).await?;
    } else {
        admin.metrics.set_leader(true);
        let mut controllers = start(&context, &shutdown);
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(_) = controllers.join_next() => if !shutdown.is_cancelled() {
                return Err(ENDED.into());
            }
        }
        finish(&mut controllers).await;
    }
    answers.await??;
    Ok(())
}

/// The settings, once they are known; `None` when `shutdown` came first.
async fn settings(
    arguments: &mut Arguments,
    client: &Client,
    admin: &Admin,
    shutdown: &CancellationToken,
) -> Result<Option<Settings>, Failure> {
    if arguments.image.is_none()
        && let (Some(namespace), Some(pod)) = (&arguments.namespace, &arguments.pod_name)
    {
        let image = own_image::wait(client, namespace, pod, &admin.pending, shutdown).await?;
        let Some(image) = image else { return Ok(None) };
        arguments.image = Some(image);
    }
    Ok(Some(arguments.settings(&read_resolv_conf(Path::new("/etc/resolv.conf")))?))
}

/// The pod's name: a container that is started again in the same pod needs not wait for its predecessor's lease.
fn identity(arguments: &Arguments) -> String {
    arguments.pod_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

async fn lead(
    election: &mut Election,
    context: Arc<Context>,
    admin: &Admin,
    shutdown: &CancellationToken,
    settings: &Settings,
) -> Result<(), Failure> {
    if !election.won(shutdown).await {
        return Ok(());
    }
    tracing::info!(namespace = settings.operator_namespace, "this process leads");
    admin.metrics.set_leader(true);
    let mut controllers = start(&context, shutdown);
    let kept = tokio::select! {
        kept = election.keep(shutdown) => kept,
        Some(_) = controllers.join_next() => {
            // Told to stop, the controllers may be quicker than the election's loop.
            if !shutdown.is_cancelled() {
                shutdown.cancel();
                election.release().await;
                return Err(ENDED.into());
            }
            true
        }
    };
    if !kept {
        // What still runs can't write: the fence holds it back. A new process begins from what is.
        return Err("the lease was lost, so another process may lead".into());
    }
    finish(&mut controllers).await;
    election.release().await;
    Ok(())
}

fn start(context: &Arc<Context>, shutdown: &CancellationToken) -> JoinSet<()> {
    let mut controllers = JoinSet::new();
    controllers.spawn(package::run(Arc::clone(context), shutdown.clone()));
    controllers.spawn(registry::run(Arc::clone(context), shutdown.clone()));
    controllers
}

/// Lets passes under way end.
async fn finish(controllers: &mut JoinSet<()>) {
    let ended = tokio::time::timeout(GRACE, async { while controllers.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("passes under way did not end in time and are given up");
        controllers.abort_all();
    }
}

fn stop_on_signals(shutdown: CancellationToken) -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        shutdown.cancel();
    });
    Ok(())
}
