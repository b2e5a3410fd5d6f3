//! The agent's entry point.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use node_trust::agent::{Agent, Goal, State};
use node_trust::http::app;
use node_trust::settings::{CommandLine, LogFormat, Mode, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// The port may still be held by the agent that we follow.
const BIND_AGAIN_AFTER: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let CommandLine { mode, settings } = CommandLine::parse();
    start_logging(settings.log_format);
    // Two, since passes wait for the disk and questions have to be answered meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve(mode.unwrap_or(Mode::Run), settings));
            // A pass that waits for a disk isn't waited for: every state it may leave is one that the next run completes.
            runtime.shutdown_background();
            code
        }
        Err(error) => failed("starting threads", &error),
    }
}

async fn serve(mode: Mode, settings: Settings) -> ExitCode {
    // As process 1 of its container the agent gets no signal that it doesn't handle.
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return failed("handling signals", &error),
    };
    let goal = if mode == Mode::Run { Goal::Trust } else { Goal::Nothing };
    let listen = settings.listen;
    let (mut agent, seen) = Agent::new(settings, goal);
    if mode == (Mode::Uninstall { once: true }) {
        return if agent.pass().await.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let agent = tokio::spawn(agent.run());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        result = agent => return failed("the loop of passes", &format!("{result:?}")),
        result = answer(listen, seen) => return failed("answering", &format!("{result:?}")),
    }
    tracing::info!("told to stop; what is on the node stays as it is");
    ExitCode::SUCCESS
}

async fn answer(listen: std::net::SocketAddr, seen: watch::Receiver<State>) -> std::io::Result<()> {
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) => tracing::warn!(%listen, "can't listen yet: {error}"),
        }
        tokio::time::sleep(BIND_AGAIN_AFTER).await;
    };
    axum::serve(listener, app(seen)).await
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> ExitCode {
    tracing::error!("{what} failed: {error}");
    ExitCode::FAILURE
}
