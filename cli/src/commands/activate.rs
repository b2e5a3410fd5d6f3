//! `activate`: a registry in a cluster, with the operator where it is missing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use crds::PackageRegistry;
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;

use crate::activation::{FIELD_MANAGER, Plan, install_if_missing, plan, until_ready};
use crate::connection::ClusterArguments;
use crate::failure::Failure;
use crate::http::chain;
use crate::output::{Output, message};
use crate::runtime::runtime;

/// Arguments of `activate`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Options (JSON), as the original package registry took them; `package describe package-registry --config` lists them
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Change nothing: print the PackageRegistry
    #[arg(long)]
    dry_run: bool,
    /// Form of what --dry-run prints
    #[arg(short, long, value_enum, default_value_t = Form::Yaml, requires = "dry_run")]
    output: Form,
    /// Name of the PackageRegistry [default: the options' service name, else dcos-registry]
    #[arg(long, value_name = "REGISTRY", env = "DCOS_REGISTRY_NAME", hide_env = true)]
    name: Option<String>,
    /// Where the cluster finds the operator's image, if the operator has to be installed
    #[arg(long, value_name = "IMAGE")]
    operator_image: Option<String>,
    /// How long to wait for the operator, and then for the registry
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

/// Applies the registry and waits until it is Ready.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = arguments.options.as_ref().map(|path| {
        let named = |reason: String| Failure::Failed { message: format!("{}: {reason}", path.display()) };
        fs::read_to_string(path).map_err(|error| named(error.to_string()))
    });
    let options = options.transpose()?;
    let planned = plan(options.as_deref(), arguments.name.as_deref(), arguments.cluster.namespace.as_deref());
    let Plan { object, notes } = planned.map_err(|error| {
        let file = arguments.options.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()));
        Failure::Failed { message: format!("{file}{error}") }
    })?;
    for note in &notes {
        message(&format!("Note: {note}"));
    }
    if arguments.dry_run {
        return print(&object, arguments.output);
    }
    runtime()?.block_on(apply(arguments, &object))
}

fn print(object: &Value, form: Form) -> Result<(), Failure> {
    match form {
        Form::Json => Ok(Output::new(true).result("", object)?),
        Form::Yaml => {
            let yaml = serde_saphyr::to_string(object)?;
            Ok(Output::new(false).result(yaml, object)?)
        }
    }
}

async fn apply(arguments: &Arguments, object: &Value) -> Result<(), Failure> {
    let cluster = arguments.cluster.connect().await?;
    let limit = Duration::from_secs(arguments.timeout);
    install_if_missing(&cluster.client, arguments.operator_image.as_deref(), limit).await?;
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let namespace = &cluster.namespace;
    let registries: Api<PackageRegistry> = Api::namespaced(cluster.client.clone(), namespace);
    let applied = registries.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await;
    applied.map_err(|error| Failure::Failed {
        message: format!("PackageRegistry {name} in namespace {namespace}: {}", chain(&error)),
    })?;
    message(&format!("PackageRegistry {name} in namespace {namespace} is applied"));
    let registry = until_ready(&registries, name, limit).await?;
    let host = registry.status.and_then(|status| status.url).unwrap_or_default();
    let host = host.trim_start_matches("https://");
    let options = format!("--namespace={namespace} --name={name}");
    Ok(Output::new(false).line(&format!(
        "Package registry {name} is ready.\n\nNext:\n  add a package:    dcos-registry registry add --dcos-file=FILE {options}\n  \
         what it has:      dcos-registry registry list {options}\n  run an image:     kubectl run NAME --image={host}/docker.io/REPOSITORY:TAG"
    ))?)
}
