//! `status`: what a registry is like now.

use std::fmt::Write as _;

use api::ServerStatus;
use clap::Args;
use crds::PackageRegistryStatus;
use serde::Serialize;

use crate::connection::{Connection, Found, Target};
use crate::failure::Failure;
use crate::output::{Json, Output, warning};
use crate::runtime::runtime;
use crate::size::Size;
use crate::table::table;

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// What there is to say.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Status of the PackageRegistry.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<PackageRegistryStatus>,
    /// What a serving pod says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerStatus>,
}

/// Asks the cluster and the server, and prints. A server that can't be asked is a warning where the cluster answers.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let report = runtime()?.block_on(report(&arguments.target))?;
    Ok(Output::from(arguments.json).result(text(&report), &report)?)
}

async fn report(target: &Target) -> Result<Report, Failure> {
    match target.connect().await {
        Ok(Connection { api, cluster: None, .. }) => {
            Ok(Report { server: Some(api.status().await?), ..Report::default() })
        }
        Ok(connection) => {
            let server = connection.api.status().await.inspect_err(|error| warning(&error.to_string())).ok();
            let found = connection.cluster.as_ref().map(|(_, found)| found);
            Ok(Report { server, ..of_cluster(found) })
        }
        // A registry that isn't ready has a status all the same.
        Err(error) if target.url.is_none() => match target.find("status").await {
            Ok((_, found)) => {
                warning(&error.to_string());
                Ok(of_cluster(Some(&found)))
            }
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn of_cluster(found: Option<&Found>) -> Report {
    let Some(Found { namespace, name, registry }) = found else { return Report::default() };
    let registry = Some(registry.status.clone().unwrap_or_default());
    Report { namespace: Some(namespace.clone()), name: Some(name.clone()), registry, server: None }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            // A String takes everything.
            let _ = writeln!(text, "{:<13} {value}", format!("{label}:"));
        }
    };
    line("Name", report.name.clone());
    line("Namespace", report.namespace.clone());
    if let Some(status) = &report.registry {
        line("URL", status.url.clone());
        line("Storage", status.storage.as_ref().map(|storage| storage.kind.clone()));
        line("Instances", status.instances.as_ref().map(|it| format!("{}/{} ready", it.ready, it.desired)));
        line("Nodes", status.nodes.as_ref().map(|it| format!("{}/{} trust it", it.trusted, it.desired)));
        line("Packages", status.packages.as_ref().map(|it| format!("{}/{} objects ready", it.ready, it.total)));
        line(
            "Certificate",
            status.certificate.as_ref().map(|it| format!("until {}, renewed {}", it.not_after, it.renewal_time)),
        );
    }
    if let Some(server) = &report.server {
        line("Catalogue", Some(format!("{} packages", server.packages)));
        line("Used", Some(Size(server.used_bytes).to_string()));
        line("Server", Some(server.version.clone()));
    }
    let mut rows = Vec::new();
    for condition in report.registry.iter().flat_map(|status| &status.conditions) {
        rows.push([&condition.type_, &condition.status, &condition.reason, &condition.message].map(String::clone));
    }
    for condition in report.server.iter().flat_map(|server| &server.conditions) {
        let status = if condition.ok { "True" } else { "False" };
        rows.push([
            format!("Server {}", condition.kind),
            status.to_owned(),
            condition.reason.clone(),
            condition.message.clone(),
        ]);
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(["CONDITION", "STATUS", "REASON", "MESSAGE"], &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use api::ServerCondition;
    use crds::NodesStatus;

    use super::*;

    #[test]
    fn the_text_has_what_the_cluster_and_the_server_say() {
        let nodes = NodesStatus { trusted: 11, desired: 12, ..NodesStatus::default() };
        let registry = PackageRegistryStatus { nodes: Some(nodes), ..PackageRegistryStatus::default() };
        let storage = ServerCondition {
            kind: "Storage".into(),
            ok: false,
            reason: "ClockSkew".into(),
            message: "set the clock".into(),
        };
        let server =
            ServerStatus { packages: 3, used_bytes: 1_250, conditions: vec![storage], ..ServerStatus::default() };
        let report =
            Report { name: Some("blue".into()), registry: Some(registry), server: Some(server), namespace: None };
        let text = text(&report);
        for part in [
            "Name:         blue\n",
            "11/12 trust it",
            "3 packages",
            "1.25 kB",
            "Server Storage   False    ClockSkew   set the clock\n",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}
