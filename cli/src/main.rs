//! Entry point of `dcos-registry`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Fails only when a provider is there already, and then there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(std::env::args_os())
}
