//! Fault 12: the server's process is killed at every tenth of a `PATCH` and of a `PUT`, and between pieces.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use server::digest::Digest;

use crate::registry::REPO;

const FIRST: usize = 300_000;
const SECOND: usize = 2_000_000;

/// A server of its own, ended with the test.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(store: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_package-registry-server"))
            .args(["--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--auth", "none"])
            .args(["--log-format", "json", &format!("--storage=file://{}", store.display())])
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self { child, address: String::new() };
        for line in BufReader::new(server.child.stderr.take().unwrap()).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(address) = line["fields"]["address"].as_str() {
                address.clone_into(&mut server.address);
                return server;
            }
        }
        panic!("the server does not serve");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Begins a request and sends as much of its body as is given.
    fn send(&self, head: &str, length: usize, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!("{head} HTTP/1.1\r\nhost: r.test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A server that was killed takes nothing more.
        let _ = stream.write_all(body);
        stream
    }

    /// Sends a whole request and reads the answer: status, head, body.
    fn ask(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut answer = Vec::new();
        self.send(head, body.len(), body).read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
    line.map_or("", |line| line.split_once(": ").unwrap().1)
}

/// Kills the server behind each tenth of the second piece, then goes on from what the status says.
fn killed_at_every_tenth(request: impl Fn(&str, &Digest) -> String) {
    let folder = tempfile::tempdir().unwrap();
    for tenth in 0..=10 {
        let content: Vec<u8> = (0..FIRST + SECOND).map(|n| (n / 251 + tenth).to_le_bytes()[0]).collect();
        let digest = Digest::sha256(&content);
        let server = Process::start(folder.path());
        let (_, head, _) = server.ask(&format!("POST /v2/{REPO}/blobs/uploads/"), b"");
        let location = header(&head, "location").to_owned();
        assert_eq!(server.ask(&format!("PATCH {location}"), &content[..FIRST]).0, 202);
        let sent = SECOND / 10 * tenth;
        // One byte is never sent, so that the request never ends before the server does.
        let sent = sent.min(SECOND - 1);
        let broken = server.send(&request(&location, &digest), SECOND, &content[FIRST..FIRST + sent]);
        std::thread::sleep(Duration::from_millis(30));
        server.kill();
        drop(broken);

        let server = Process::start(folder.path());
        let blob = format!("GET /v2/{REPO}/blobs/{digest}");
        assert_eq!(server.ask(&blob, b"").0, 404, "{tenth}");
        let (status, head, _) = server.ask(&format!("GET {location}"), b"");
        assert_eq!(status, 204, "{tenth}");
        let last: usize = header(&head, "range").strip_prefix("0-").unwrap().parse().unwrap();
        assert!((FIRST - 1..FIRST + SECOND).contains(&last), "{tenth}: {last}");
        let (status, ..) = server.ask(&format!("PUT {location}?digest={digest}"), &content[last + 1..]);
        assert_eq!(status, 201, "{tenth}");
        assert!(server.ask(&blob, b"").2 == content, "{tenth}");
        server.kill();
    }
}

#[test]
fn a_patch_goes_on_from_its_range_wherever_the_server_was_killed() {
    killed_at_every_tenth(|location, _| format!("PATCH {location}"));
}

#[test]
fn a_put_goes_on_from_its_range_wherever_the_server_was_killed() {
    killed_at_every_tenth(|location, digest| format!("PUT {location}?digest={digest}"));
}

#[test]
fn an_upload_goes_on_after_every_restart() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..FIRST).map(|n| (n / 251).to_le_bytes()[0]).collect();
    let server = Process::start(folder.path());
    let (_, head, _) = server.ask(&format!("POST /v2/{REPO}/blobs/uploads/"), b"");
    let location = header(&head, "location").to_owned();
    server.kill();
    let mut arrived = 0;
    for piece in content.chunks(FIRST / 4) {
        let server = Process::start(folder.path());
        let (status, head, _) = server.ask(&format!("PATCH {location}"), piece);
        arrived += piece.len();
        assert_eq!((status, header(&head, "range")), (202, &*format!("0-{}", arrived - 1)));
        server.kill();
    }
    let (server, digest) = (Process::start(folder.path()), Digest::sha256(&content));
    assert_eq!(server.ask(&format!("PUT {location}?digest={digest}"), b"").0, 201);
    assert!(server.ask(&format!("GET /v2/{REPO}/blobs/{digest}"), b"").2 == content);
}

/// What a client that vanishes had sent is there at once, without a restart.
#[test]
fn what_a_client_sent_before_it_vanished_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let content = vec![7; FIRST];
    let (_, head, _) = server.ask(&format!("POST /v2/{REPO}/blobs/uploads/"), b"");
    let location = header(&head, "location").to_owned();
    drop(server.send(&format!("PATCH {location}"), FIRST, &content[..FIRST / 2]));
    let wanted = format!("0-{}", FIRST / 2 - 1);
    for _ in 0..500 {
        if header(&server.ask(&format!("GET {location}"), b"").1, "range") == wanted {
            let digest = Digest::sha256(&content);
            let ended = server.ask(&format!("PUT {location}?digest={digest}"), &content[FIRST / 2..]);
            assert_eq!(ended.0, 201);
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("what was sent is not kept");
}
