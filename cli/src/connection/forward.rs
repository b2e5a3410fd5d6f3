//! A port of a serving pod, forwarded through the API server to a port of this machine.
//!
//! TLS goes through it end to end: the certificate is checked against the registry's own name, and what the API server and
//! other users of this machine see is encrypted.

use std::net::SocketAddr;

use snafu::ResultExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::cluster::{Cluster, Found};
use super::error::{ConnectError, StartSnafu};
use crate::http::chain;
use crate::output::message;

/// Open until dropped.
#[derive(Debug)]
pub struct Forward {
    /// Where it is on this machine.
    pub address: SocketAddr,
    /// The pod that the first connection goes to.
    pub pod: String,
    task: JoinHandle<()>,
}

impl Forward {
    /// Opens a port. Each connection goes to a pod that is ready then, so that a pod may go while there are others.
    pub async fn start(cluster: &Cluster, registry: &Found) -> Result<Self, ConnectError> {
        let (pod, _) = cluster.serving_pod(registry).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context(StartSnafu)?;
        let address = listener.local_addr().context(StartSnafu)?;
        let task = tokio::spawn(accept(listener, cluster.clone(), registry.clone()));
        Ok(Self { address, pod, task })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, cluster: Cluster, registry: Found) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (cluster, registry) = (cluster.clone(), registry.clone());
        connections.spawn(async move {
            // The client sees a closed connection, and tries again.
            if let Err(error) = carry(stream, &cluster, &registry).await {
                message(&format!("port-forward: {error}"));
            }
        });
    }
}

async fn carry(mut stream: TcpStream, cluster: &Cluster, registry: &Found) -> Result<(), String> {
    let (pod, port) = cluster.serving_pod(registry).await.map_err(|error| error.to_string())?;
    let opened = cluster.pods(&registry.namespace).portforward(&pod, &[port]).await;
    let mut forwarder = opened.map_err(|error| format!("pod {pod}: {}", chain(&error)))?;
    let mut remote = forwarder.take_stream(port).ok_or_else(|| format!("pod {pod} has no port {port}"))?;
    // How a connection ends is for the client to judge: TLS tells a cut from an end.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut remote).await;
    drop(remote);
    forwarder.abort();
    Ok(())
}
