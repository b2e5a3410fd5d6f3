//! `hello`: a tiny web server for the demo. `GET /` says hello with the names of pod and node, `GET /healthz` says ok.

use std::{env, io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// A request that takes longer than this is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest request line that is read, in bytes.
const LONGEST_LINE: u64 = 8192;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // As process 1 of a container, SIGTERM does nothing unless somebody listens for it.
    let mut terminate = signal(SignalKind::terminate())?;
    let greeting = greeting(&name_from("HOSTNAME"), &name_from("NODE_NAME"));
    let listener = TcpListener::bind(("0.0.0.0", 8080)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let greeting = greeting.clone();
                tokio::spawn(async move { timeout(PATIENCE, answer(stream, &greeting)).await });
            }
        }
    }
}

fn name_from(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| "unknown".to_owned())
}

fn greeting(pod: &str, node: &str) -> String {
    format!("hello from pod {pod} on node {node}\n")
}

async fn answer(mut stream: TcpStream, greeting: &str) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(reader, LONGEST_LINE)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    // The headers are read before the answer, or closing the connection would reset it.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    writer.write_all(response(&request, greeting).as_bytes()).await?;
    writer.shutdown().await
}

/// The answer to a request line such as `GET / HTTP/1.1`.
fn response(request: &str, greeting: &str) -> String {
    let mut words = request.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/")) => ("200 OK", greeting),
        (Some("GET"), Some("/healthz")) => ("200 OK", "ok\n"),
        (Some("GET"), Some(_)) => ("404 Not Found", "there is only / and /healthz\n"),
        _ => ("405 Method Not Allowed", "GET it\n"),
    };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_names_pod_and_node() {
        let response = response("GET / HTTP/1.1", &greeting("hello-1", "node2"));
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nhello from pod hello-1 on node node2\n"), "{response}");
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        assert!(response("GET /x HTTP/1.1", "").starts_with("HTTP/1.1 404"));
        assert!(response("POST / HTTP/1.1", "").starts_with("HTTP/1.1 405"));
        assert!(response("", "").starts_with("HTTP/1.1 405"));
    }
}
