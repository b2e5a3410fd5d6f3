//! A port of this machine that leads into the cluster.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use snafu::{OptionExt as _, ResultExt as _, Whatever};

use crate::cluster::Cluster;

/// `kubectl port-forward`, as long as this lives.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    port: u16,
}

impl PortForward {
    /// Starts it for a port of `target` (`service/files`) and waits until it listens.
    ///
    /// # Errors
    /// When kubectl can't be started, or doesn't say where it listens.
    pub fn start(cluster: &Cluster, namespace: &str, target: &str, port: u16) -> Result<Self, Whatever> {
        let mut command = cluster.kubectl_command();
        command.args(["port-forward", "-n", namespace, target, &format!(":{port}")]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().whatever_context("cannot start kubectl")?;
        let output = child.stdout.take().whatever_context("kubectl has no standard output")?;
        let mut forward = Self { child, port: 0 };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).whatever_context("kubectl port-forward said nothing")?;
        // kubectl says each connection and would end with the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        forward.port = port_in(&line).whatever_context(format!("kubectl port-forward said: {line}"))?;
        Ok(forward)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn port_in(line: &str) -> Option<u16> {
    line.split("127.0.0.1:").nth(1)?.split(' ').next()?.parse().ok()
}

impl Drop for PortForward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_what_kubectl_says() {
        assert_eq!(port_in("Forwarding from 127.0.0.1:41873 -> 8443\n"), Some(41873));
        assert_eq!(port_in("error: no such service\n"), None);
    }
}
