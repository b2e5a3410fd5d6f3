//! A connection that is given up when the other end doesn't begin to speak.
//!
//! Until it is known whether a connection speaks HTTP/1 or HTTP/2, and until the preface of HTTP/2 is there, nothing
//! else measures time; from then on the limits of that protocol hold.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose reads fail when its first bytes don't come in time.
#[derive(Debug)]
pub struct Greeted<S> {
    stream: S,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// Bytes of the preface that have come.
    seen: usize,
}

impl<S> Greeted<S> {
    /// Waits for the first bytes no longer than `patience`.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, waiting: Some(Waiting { deadline: Box::pin(sleep(patience)), seen: 0 }) }
    }
}

impl Waiting {
    /// Whether the protocol is known with these bytes.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let rest = PREFACE.get(self.seen..).unwrap_or_default();
        self.seen += bytes.len();
        self.seen >= PREFACE.len() || !rest.starts_with(bytes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(waiting) = &mut this.waiting else { return polled };
        if polled.is_ready() {
            if waiting.take(buffer.filled().get(before..).unwrap_or_default()) {
                this.waiting = None;
            }
        } else if waiting.deadline.as_mut().poll(context).is_ready() {
            let message = "the other end did not say in time what it speaks";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_says_nothing_or_half_a_preface_is_given_up() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM"] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(said).await.unwrap();
            let error = Greeted::new(ours, SHORT).read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{said:?}");
        }
    }

    #[tokio::test]
    async fn who_has_said_what_it_speaks_may_take_its_time() {
        for said in [&b"G"[..], b"PRX", PREFACE] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(said).await.unwrap();
            let taker = tokio::spawn(async move {
                let mut taken = Vec::new();
                Greeted::new(ours, SHORT).read_to_end(&mut taken).await.map(|_| taken)
            });
            sleep(SHORT * 3).await;
            theirs.write_all(b"later").await.unwrap();
            drop(theirs);
            assert_eq!(taker.await.unwrap().unwrap(), [said, b"later"].concat());
        }
    }
}
