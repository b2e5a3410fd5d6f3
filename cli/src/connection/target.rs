//! Which registry, and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::{Certificate, Client, ClientBuilder};
use snafu::{OptionExt, ResultExt};
use url::Url;

use super::api::Api;
use super::cluster::{Cluster, ClusterArguments, Found};
use super::error::{ArgumentSnafu, ClientSnafu, ConnectError, FileSnafu, NotReadySnafu};
use super::forward::Forward;
use super::front_door::{FrontDoor, verbosity};
use super::token::{Credentials, PublisherToken};
use crate::http::{PATIENCE, USER_AGENT};
use crate::output::message;

/// How long an address may take to say that it can be reached.
const PROBE: Duration = Duration::from_secs(3);

/// Which registry. Through a cluster unless `--url` says where it is; called by the `dcos` command, through its cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Registry")]
pub struct Target {
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// The PackageRegistry, else the name of its Service [default: dcos-registry, or the only one there is]
    #[arg(long, value_name = "REGISTRY", env = "DCOS_REGISTRY_NAME", hide_env = true)]
    pub name: Option<String>,
    /// Without a cluster: the registry's address
    #[arg(
        long,
        value_name = "URL",
        env = "DCOS_REGISTRY_URL",
        hide_env = true,
        conflicts_with_all = ["kubeconfig", "context", "namespace"]
    )]
    pub url: Option<Url>,
    /// Certificates (PEM) of the authorities to trust for --url instead of the system's
    #[arg(long, value_name = "FILE", env = "DCOS_REGISTRY_CA_FILE", hide_env = true, requires = "url")]
    pub ca_file: Option<PathBuf>,
    /// A file with the token for --url
    #[arg(long, value_name = "FILE", env = "DCOS_REGISTRY_TOKEN_FILE", hide_env = true, requires = "url")]
    pub token_file: Option<PathBuf>,
    /// Say on standard error what is asked; twice: what is answered, too
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// A registry that can be asked.
pub struct Connection {
    /// Its API.
    pub api: Api,
    /// The cluster that it is in, where it was found through one.
    pub cluster: Option<(Cluster, Found)>,
    /// Keeps the forwarded port open.
    _forward: Option<Forward>,
}

impl Target {
    /// Finds the registry and makes sure that something answers there.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let verbosity = self.verbose.max(verbosity());
        if let Some(url) = &self.url {
            return self.by_address(url, verbosity);
        }
        if !self.cluster.is_given()
            && let Some(door) = FrontDoor::of_environment(self.name.as_deref())?
        {
            return through(door, verbosity);
        }
        let cluster = self.cluster.connect().await?;
        let found = cluster.find(self.name.as_deref()).await?;
        in_cluster(cluster, found, verbosity).await
    }

    /// Finds the registry's object alone; there must be a cluster.
    pub async fn find(&self, command: &str) -> Result<(Cluster, Found), ConnectError> {
        let problem =
            || format!("`{command}` asks the Kubernetes API; name the cluster instead (--kubeconfig, --context)");
        if self.url.is_some() {
            return ArgumentSnafu { argument: "--url", problem: problem() }.fail();
        }
        let cluster = self.cluster.connect().await?;
        let found = cluster.find(self.name.as_deref()).await?;
        Ok((cluster, found))
    }

    fn by_address(&self, url: &Url, verbosity: u8) -> Result<Connection, ConnectError> {
        let problem = format!("\"{url}\" must be http://HOST or https://HOST, without user, query and fragment");
        let plain = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        (plain && bare && url.fragment().is_none())
            .then_some(())
            .context(ArgumentSnafu { argument: "--url", problem })?;
        let mut builder = client();
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).context(FileSnafu { argument: "--ca-file", path })?;
            builder = builder.tls_certs_only(authorities("--ca-file", &pem)?);
        }
        let credentials = self.token_file.clone().map_or(Credentials::None, Credentials::File);
        let api = Api::new(builder.build().context(ClientSnafu)?, url.clone(), credentials, verbosity);
        Ok(Connection { api, cluster: None, _forward: None })
    }
}

fn through(door: FrontDoor, verbosity: u8) -> Result<Connection, ConnectError> {
    let FrontDoor { base, credentials, ca, insecure } = door;
    let mut builder = client();
    if let Some(pem) = ca {
        builder = builder.tls_certs_only(authorities("DCOS_TLS_CA_PATH", &pem)?);
    }
    if insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let api = Api::new(builder.build().context(ClientSnafu)?, base, credentials, verbosity);
    Ok(Connection { api, cluster: None, _forward: None })
}

async fn in_cluster(cluster: Cluster, found: Found, verbosity: u8) -> Result<Connection, ConnectError> {
    let not_ready = |problem: &str| {
        let problem = format!("{problem}: {}", found.summary());
        NotReadySnafu { namespace: &found.namespace, name: &found.name, problem }
    };
    let status = found.registry.status.clone().unwrap_or_default();
    let url = status.url.as_deref().and_then(|url| Url::parse(url).ok());
    let url = url.with_context(|| not_ready("it has no address yet"))?;
    let pem = status.ca_bundle.as_deref().with_context(|| not_ready("it has no certificate yet"))?;
    let roots = authorities("status.caBundle", pem.as_bytes())?;
    let host = url.host_str().unwrap_or_default().to_owned();
    // Names of the cluster mean nothing to a proxy outside.
    let builder = || client().no_proxy().tls_certs_only(roots.clone());
    let (client, forward) = if let Some((client, way)) = directly(&url, &status.cluster_ips, &builder).await? {
        note(verbosity, &format!("{host} is reached {way}"));
        (client, None)
    } else {
        let forward = Forward::start(&cluster, &found).await?;
        note(verbosity, &format!("{host} is reached through the API server, pod {}", forward.pod));
        (builder().resolve(&host, forward.address).build().context(ClientSnafu)?, Some(forward))
    };
    let credentials = Credentials::Cluster(Box::new(PublisherToken::new(cluster.clone(), found.clone())));
    let api = Api::new(client, url, credentials, verbosity);
    Ok(Connection { api, cluster: Some((cluster, found)), _forward: forward })
}

/// A client that reaches the registry from here, and how: at its address or at one of the Service's, whichever answers first.
async fn directly(
    url: &Url,
    addresses: &[String],
    builder: &impl Fn() -> ClientBuilder,
) -> Result<Option<(Client, String)>, ConnectError> {
    let host = url.host_str().unwrap_or_default();
    let mut ways = vec![("at its address".to_owned(), builder())];
    for address in addresses.iter().filter_map(|address| address.parse().ok()) {
        let socket = std::net::SocketAddr::new(address, 0);
        ways.push((format!("at {address}"), builder().resolve(host, socket)));
    }
    let Ok(health) = url.join("health") else { return Ok(None) };
    let probes = FuturesUnordered::new();
    for (way, builder) in ways {
        let client = builder.build().context(ClientSnafu)?;
        let probe = client.get(health.clone()).timeout(PROBE).send();
        probes.push(async move { probe.await.is_ok().then_some((client, way)) });
    }
    Ok(probes.filter_map(std::future::ready).next().await)
}

fn note(verbosity: u8, text: &str) {
    if verbosity > 0 {
        message(text);
    }
}

fn client() -> ClientBuilder {
    let redirect = reqwest::redirect::Policy::none();
    Client::builder().user_agent(USER_AGENT).connect_timeout(PROBE * 4).read_timeout(PATIENCE).redirect(redirect)
}

fn authorities(argument: &'static str, pem: &[u8]) -> Result<Vec<Certificate>, ConnectError> {
    let read = Certificate::from_pem_bundle(pem).ok().filter(|certificates| !certificates.is_empty());
    read.context(ArgumentSnafu { argument, problem: "it holds no certificate in PEM form" })
}
