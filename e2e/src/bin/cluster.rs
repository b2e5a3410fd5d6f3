//! `cluster`: brings the project's own Kubernetes up and down.

use std::{env, path::Path, process::ExitCode};

use e2e::cluster::{self, Cluster};

const USAGE: &str = "\
usage: cluster COMMAND

  up                     bring the two-node cluster up, unless it runs; prints the KUBECONFIG line
  down                   take it down; leaves nothing but the cache of built programs
  status                 say what runs; the exit status is 0 when everything does
  env                    print the KUBECONFIG line of the running cluster
  load-image FILE…       import docker-save or OCI archives on both nodes
  run NODE COMMAND…      run a command in the namespaces of node1 or node2";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> cluster::Result<ExitCode> {
    match words {
        ["up"] => {
            let kubeconfig = cluster::up()?;
            eprintln!("kubectl of the same version: {}", cluster::kubectl().display());
            print_environment(&kubeconfig);
        }
        ["down"] => cluster::down()?,
        ["status"] => return Ok(status()),
        ["env"] => match Cluster::running() {
            Some(cluster) => print_environment(cluster.kubeconfig()),
            None => return Ok(not_running()),
        },
        ["load-image", files @ ..] if !files.is_empty() => {
            let Some(cluster) = Cluster::running() else {
                return Ok(not_running());
            };
            files.iter().try_for_each(|file| cluster.load_image(Path::new(file)))?;
        }
        ["run", node, command @ ..] if !command.is_empty() => return run(node, command),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_environment(kubeconfig: &Path) {
    println!("export KUBECONFIG={}", kubeconfig.display());
}

fn not_running() -> ExitCode {
    eprintln!("The cluster does not run; `make cluster-up` starts it.");
    ExitCode::FAILURE
}

fn status() -> ExitCode {
    for (name, alive) in cluster::daemons() {
        println!("{name}: {}", if alive { "runs" } else { "has ended" });
    }
    let Some(cluster) = Cluster::running() else {
        return not_running();
    };
    println!("The cluster is up.");
    print_environment(cluster.kubeconfig());
    ExitCode::SUCCESS
}

fn run(node: &str, command: &[&str]) -> cluster::Result<ExitCode> {
    let Some(cluster) = Cluster::running() else {
        return Ok(not_running());
    };
    let status = cluster.node_command(node, command)?.status();
    let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
