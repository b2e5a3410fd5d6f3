//! The proof that a registry answers this node: `GET /v2/` over TLS, as the runtime would ask.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};
use tokio::task::JoinSet;

use crate::entries::Target;
use crate::hosts_toml::base_url;

/// How long one address may take.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks every address at once, trusting the registry's CA alone, each certificate having to carry the address. One right
/// answer will do: a node may lack one of the address families.
///
/// # Errors
/// A sentence that names each address and what was wrong with its answer.
pub async fn probe(target: &Target) -> Result<(), String> {
    let client = client(&target.ca_bundle)?;
    let mut answers = JoinSet::new();
    for &address in &target.addresses {
        answers.spawn(ask(client.clone(), address, target.port));
    }
    let mut failures = Vec::new();
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failures.push(failure),
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.sort();
    Err(format!(
        "{}; it takes an answer of 200 or 401, with a certificate for that address by the registry's CA",
        failures.join("; ")
    ))
}

fn client(ca_bundle: &str) -> Result<Client, String> {
    let certificates = Certificate::from_pem_bundle(ca_bundle.as_bytes()).map_err(|error| causes(&error))?;
    // Neither the proxy settings of the pod nor a redirect may stand between the node and the registry.
    let builder = Client::builder().tls_certs_only(certificates).no_proxy().redirect(Policy::none()).timeout(TIMEOUT);
    builder.build().map_err(|error| format!("the CA bundle can't be used: {}", causes(&error)))
}

async fn ask(client: Client, address: IpAddr, port: u16) -> Result<(), String> {
    let url = format!("{}/v2/", base_url(address, port));
    match client.get(&url).send().await {
        Ok(answer) if [StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&answer.status()) => Ok(()),
        Ok(answer) => Err(format!("GET {url} answered {}", answer.status())),
        Err(error) => Err(format!("GET {url} failed: {}", causes(&error.without_url()))),
    }
}

/// An error with what caused it; the outermost says only that a request failed.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
