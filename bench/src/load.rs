//! What clients send: plain HTTP/1.1 on kept connections, read in large pieces, so that the server is what is measured.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::images::Noise;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// Most bytes of an answer's head.
const LONGEST_HEAD: usize = 16 << 10;

/// A connection that is kept.
struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

/// What an answer's head says.
struct Answer {
    status: u16,
    location: Option<String>,
    length: u64,
}

fn unexpected(what: String) -> io::Error {
    io::Error::other(what)
}

impl Connection {
    fn open(host: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, buffer: vec![0; PIECE] })
    }

    /// Sends a request and reads its answer to the end, whose status must be `expected`.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]], expected: u16) -> io::Result<Answer> {
        let length: usize = body.iter().map(|part| part.len()).sum();
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {length}\r\n") };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}{length}\r\n", self.host);
        self.stream.write_all(head.as_bytes())?;
        for part in body {
            self.stream.write_all(part)?;
        }
        let answer = self.answer()?;
        if answer.status != expected {
            return Err(unexpected(format!("{method} {path}: {} instead of {expected}", answer.status)));
        }
        Ok(answer)
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut filled = 0;
        let (head, answer) = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 || filled > LONGEST_HEAD {
                return Err(unexpected("the answer has no end of its head".into()));
            }
            filled += read;
            if let Some(head) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break (head + 4, parse(&String::from_utf8_lossy(&self.buffer[..head]))?);
            }
        };
        let mut left = answer.length.saturating_sub((filled - head) as u64);
        while left > 0 {
            match self.stream.read(&mut self.buffer)? {
                0 => return Err(unexpected("the answer ends early".into())),
                read => left = left.saturating_sub(read as u64),
            }
        }
        Ok(answer)
    }
}

fn parse(head: &str) -> io::Result<Answer> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| unexpected(format!("no HTTP: {head}")))?;
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let header =
        |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let length = header("content-length").and_then(|value| value.parse().ok()).unwrap_or_default();
    // Of an address with a host only the path: it is this connection's.
    let location = header("location").map(|value| match value.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
        None => value.to_owned(),
    });
    Ok(Answer { status, location, length })
}

/// Answers that were read, and the bytes in them, by second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests a second.
    pub requests: f64,
    /// Megabytes (10^6) a second.
    pub megabytes: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn of(requests: u64, bytes: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self { requests: requests as f64 / seconds, megabytes: bytes as f64 / 1e6 / seconds }
    }
}

/// Runs `work` on so many connections at once and sums up what each has done: requests and bytes.
fn together(
    host: SocketAddr,
    connections: usize,
    work: impl Fn(usize, &mut Connection) -> io::Result<(u64, u64)> + Sync,
) -> io::Result<Rate> {
    let mut open = (0..connections).map(|_| Connection::open(host)).collect::<io::Result<Vec<_>>>()?;
    let start = Instant::now();
    let done: Vec<io::Result<(u64, u64)>> = thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> =
            open.iter_mut().enumerate().map(|(index, one)| scope.spawn(move || work(index, one))).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|ended| ended.unwrap_or_else(|_| Err(unexpected("a client panicked".into())))).collect()
    });
    let time = start.elapsed();
    let (mut requests, mut bytes) = (0, 0);
    for done in done {
        let (some, more) = done?;
        requests += some;
        bytes += more;
    }
    Ok(Rate::of(requests, bytes, time))
}

/// Reads `path` again and again.
///
/// # Errors
/// A broken connection, or an answer that isn't 200.
pub fn get(host: SocketAddr, path: &str, headers: &str, connections: usize, time: Duration) -> io::Result<Rate> {
    together(host, connections, |_, connection| {
        let (start, mut requests, mut bytes) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            bytes += connection.ask("GET", path, headers, &[], 200)?.length;
            requests += 1;
        }
        Ok((requests, bytes))
    })
}

/// Blobs of one size that differ in their first bytes alone.
pub struct Blobs {
    heads: Vec<([u8; 8], String)>,
    rest: Vec<u8>,
}

impl Blobs {
    /// So many of so many bytes (more than 8), digested already.
    ///
    /// # Errors
    /// None in practice: noise can always be read.
    pub fn make(count: u64, size: usize) -> io::Result<Self> {
        let mut rest = vec![0; size.saturating_sub(8)];
        Noise(size as u64).read_exact(&mut rest)?;
        let head = |index: u64| {
            let bytes = index.to_le_bytes();
            let digest = Sha256::new().chain_update(bytes).chain_update(&rest).finalize();
            (bytes, format!("sha256:{}", HEXLOWER.encode(&digest)))
        };
        let heads = (0..count).map(head).collect();
        Ok(Self { heads, rest })
    }

    /// Digest of the first one.
    pub fn digest(&self) -> &str {
        self.heads.first().map_or("", |(_, digest)| digest)
    }

    /// Bytes of each.
    pub fn size(&self) -> usize {
        8 + self.rest.len()
    }

    /// Pushes all of them: each by a session, whole or in so many pieces before its end.
    ///
    /// # Errors
    /// A broken connection, or an answer that isn't the specification's.
    pub fn push(&self, host: SocketAddr, clients: usize, pieces: usize) -> io::Result<Rate> {
        let shares: Vec<_> = (0..clients).map(|client| self.heads.iter().skip(client).step_by(clients)).collect();
        together(host, clients, |client, connection| {
            let (mut requests, mut bytes) = (0, 0);
            for (head, digest) in shares[client].clone() {
                self.push_one(connection, client, (head, digest), pieces)?;
                requests += 1;
                bytes += self.size() as u64;
            }
            Ok((requests, bytes))
        })
    }

    fn push_one(
        &self,
        connection: &mut Connection,
        client: usize,
        (head, digest): (&[u8; 8], &str),
        pieces: usize,
    ) -> io::Result<()> {
        let next = |answer: Answer| answer.location.ok_or_else(|| unexpected("no Location".into()));
        let mut location =
            next(connection.ask("POST", &format!("/v2/measured/{client}/blobs/uploads/"), "", &[], 202)?)?;
        let mut body: &[u8] = &self.rest;
        let mut head: &[u8] = head;
        let mut offset = 0;
        for piece in 1..=pieces {
            let until = if piece == pieces { body.len() } else { self.size() / pieces - head.len() };
            let (now, later) = body.split_at(until);
            let end = offset + head.len() + now.len();
            let range = format!("Content-Type: application/octet-stream\r\nContent-Range: {offset}-{}\r\n", end - 1);
            location = next(connection.ask("PATCH", &location, &range, &[head, now], 202)?)?;
            (head, body, offset) = (&[], later, end);
        }
        let sign = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{sign}digest={digest}");
        connection.ask("PUT", &end, "Content-Type: application/octet-stream\r\n", &[head, body], 201)?;
        Ok(())
    }
}

/// Puts a document, as a manifest.
///
/// # Errors
/// When it is refused.
pub fn put_manifest(host: SocketAddr, path: &str, media_type: &str, document: &str) -> io::Result<()> {
    let header = format!("Content-Type: {media_type}\r\n");
    Connection::open(host)?.ask("PUT", path, &header, &[document.as_bytes()], 201).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_head_gives_status_length_and_the_path_of_where_to_go_on() {
        let answer = parse("HTTP/1.1 202 Accepted\r\nContent-length: 12\r\nLocation: http://a:1/v2/x?y=z").unwrap();
        assert_eq!((answer.status, answer.length), (202, 12));
        assert_eq!(answer.location.as_deref(), Some("/v2/x?y=z"));
        assert!(parse("nothing").is_err());
    }

    #[test]
    fn blobs_differ_and_are_digested_whole() {
        let blobs = Blobs::make(2, 1000).unwrap();
        assert_ne!(blobs.heads[0].1, blobs.heads[1].1);
        let whole = [&blobs.heads[1].0[..], &blobs.rest].concat();
        assert_eq!((whole.len(), blobs.size()), (1000, 1000));
        assert_eq!(blobs.heads[1].1, format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(whole))));
    }
}
