//! `package-registry-server`: see `--help`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use server::config::{Arguments, LogFormat};
use server::serve::start;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// After SIGTERM, until those who send requests have heard that this server isn't ready any more.
const NOTICE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.log_format);
    // The first process of a container ignores signals that it has no handler for, so these come before all else.
    let (terminate, interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(1, &format!("signals can't be received: {error}")),
    };
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return fail(1, "TLS was set up twice");
    }
    match arguments.config() {
        Ok(config) => run(config, terminate, interrupt).await,
        Err(error) => fail(2, &error.to_string()),
    }
}

async fn run(config: server::config::Config, mut terminate: Signal, mut interrupt: Signal) -> ExitCode {
    let starting = tokio::select! {
        started = start(config) => started,
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let mut running = match starting {
        Ok(running) => running,
        Err(error) => return fail(1, &error.to_string()),
    };
    let notice = tokio::select! {
        _ = terminate.recv() => NOTICE,
        _ = interrupt.recv() => Duration::ZERO,
        () = running.ended() => return fail(1, "the server ended by itself"),
    };
    tracing::info!("stopping");
    running.stop(notice).await;
    ExitCode::SUCCESS
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that nobody reads any more must not stop the server.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    tracing::error!("{message}");
    ExitCode::from(code)
}
