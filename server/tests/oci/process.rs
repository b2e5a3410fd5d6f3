//! Fault 12: the server's process is killed at every tenth of a `PATCH` and of a `PUT`, and between pieces.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use server::digest::Digest;

use crate::common::process::Process;
use crate::common::s3_server::{Kind, S3Server};
use crate::common::until::until;
use crate::registry::REPO;

const FIRST: usize = 300_000;
const SECOND: usize = 2_000_000;

/// How a client of that server speaks to it.
impl Process {
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

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
    line.map_or("", |line| line.split_once(": ").unwrap().1)
}

/// Kills the server behind each tenth of the second piece, then goes on from what the status says.
fn killed_at_every_tenth(start: impl Fn() -> Process, request: impl Fn(&str, &Digest) -> String) {
    for tenth in 0..=10 {
        let content: Vec<u8> = (0..FIRST + SECOND).map(|n| (n / 251 + tenth).to_le_bytes()[0]).collect();
        let digest = Digest::sha256(&content);
        let server = start();
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

        let server = start();
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

fn patch(location: &str, _: &Digest) -> String {
    format!("PATCH {location}")
}

fn put(location: &str, digest: &Digest) -> String {
    format!("PUT {location}?digest={digest}")
}

#[test]
fn fault_12_a_patch_goes_on_from_its_range_wherever_the_server_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    killed_at_every_tenth(|| Process::start(folder.path()), patch);
}

#[test]
fn fault_12_a_put_goes_on_from_its_range_wherever_the_server_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    killed_at_every_tenth(|| Process::start(folder.path()), put);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_12_a_patch_to_a_bucket_goes_on_from_its_range_wherever_the_server_was_killed() {
    let Some(server) = Kind::Minio.server().await else { return };
    let config = server.config();
    killed_at_every_tenth(|| S3Server::process(&config), patch);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_12_a_put_to_a_bucket_goes_on_from_its_range_wherever_the_server_was_killed() {
    let Some(server) = Kind::Versitygw.server().await else { return };
    let config = server.config();
    killed_at_every_tenth(|| S3Server::process(&config), put);
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
#[tokio::test]
async fn what_a_client_sent_before_it_vanished_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let content = vec![7; FIRST];
    let (_, head, _) = server.ask(&format!("POST /v2/{REPO}/blobs/uploads/"), b"");
    let location = header(&head, "location").to_owned();
    drop(server.send(&format!("PATCH {location}"), FIRST, &content[..FIRST / 2]));
    let wanted = format!("0-{}", FIRST / 2 - 1);
    let arrived = async || header(&server.ask(&format!("GET {location}"), b"").1, "range") == wanted;
    until("what was sent is kept", arrived).await;
    let digest = Digest::sha256(&content);
    assert_eq!(server.ask(&format!("PUT {location}?digest={digest}"), &content[FIRST / 2..]).0, 201);
}
