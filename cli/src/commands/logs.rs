//! `logs`: what the registry's serving pods write.

use std::io::{self, Write};

use clap::Args;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream::SelectAll};
use kube::ResourceExt;
use kube::api::LogParams;

use crate::connection::{CONTAINER, Target};
use crate::failure::Failure;
use crate::runtime::runtime;

/// Arguments of `logs`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Go on as lines are written
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the newest lines of each pod
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,
    #[command(flatten)]
    target: Target,
}

/// Prints the lines of all pods, with the pod's name in front where there are several.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let (cluster, found) = arguments.target.find("logs").await?;
        let pods: Vec<String> = cluster.serving_pods(&found).await?.iter().map(ResourceExt::name_any).collect();
        if pods.is_empty() {
            return Err(Failure::Failed { message: format!("there is no serving pod: {}", found.summary()) });
        }
        let (follow, tail_lines) = (arguments.follow, arguments.tail);
        let parameters = LogParams { container: Some(CONTAINER.into()), follow, tail_lines, ..LogParams::default() };
        let api = cluster.pods(&found.namespace);
        let mut lines = SelectAll::new();
        for pod in &pods {
            let prefix = if pods.len() > 1 { format!("[{pod}] ") } else { String::new() };
            let log = api.log_stream(pod, &parameters).await?;
            lines.push(log.lines().map_ok(move |line| format!("{prefix}{line}\n")).boxed());
        }
        while let Some(line) = lines.try_next().await? {
            let mut out = io::stdout();
            out.write_all(line.as_bytes()).and_then(|()| out.flush())?;
        }
        Ok(())
    })
}
