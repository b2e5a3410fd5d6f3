//! Bodies that nobody takes. On an HTTP/2 connection a stream whose window stays shut keeps its body, with the file
//! behind it, although the connection itself lives.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// From this number on, bodies that ended are forgotten before another is watched.
const TIDY: usize = 64;

/// The bodies of one connection.
#[derive(Clone, Debug)]
pub struct Taking {
    patience: Duration,
    bodies: Arc<Mutex<Vec<Weak<Mutex<Untaken>>>>>,
}

#[derive(Debug)]
struct Untaken {
    /// `None` once it was given up.
    body: Option<Body>,
    /// Since when the other end could take something and did not; `None` while the body itself is waited for.
    since: Option<Instant>,
}

struct Watched(Arc<Mutex<Untaken>>);

impl Taking {
    /// Bodies may lie untaken for so long.
    pub fn new(patience: Duration) -> Self {
        Self { patience, bodies: Arc::default() }
    }

    /// The same body, watched.
    pub fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let untaken = Arc::new(Mutex::new(Untaken { body: Some(body), since: Some(Instant::now()) }));
        let mut bodies = lock(&self.bodies);
        if bodies.len() >= TIDY {
            bodies.retain(|body| body.strong_count() > 0);
        }
        bodies.push(Arc::downgrade(&untaken));
        Body::new(Watched(untaken))
    }

    /// Gives up bodies that nobody takes; ends when nothing but such bodies is left.
    pub async fn stalled(&self) {
        loop {
            sleep(self.patience / 4).await;
            if self.give_up() {
                return;
            }
        }
    }

    fn give_up(&self) -> bool {
        let bodies: Vec<_> = lock(&self.bodies).iter().filter_map(Weak::upgrade).collect();
        let mut given_up = 0;
        for body in &bodies {
            let mut body = lock(body);
            if body.since.is_some_and(|since| since.elapsed() >= self.patience) {
                given_up += 1;
                body.body = None;
            }
        }
        given_up > 0 && given_up == bodies.len()
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut untaken = lock(&self.0);
        let Some(body) = &mut untaken.body else {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the other end took nothing for too long");
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        };
        let polled = Pin::new(body).poll_frame(context);
        untaken.since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{self, StreamExt};
    use http_body_util::BodyExt;

    const PATIENCE: Duration = Duration::from_millis(60);

    fn pieces() -> Body {
        Body::from_stream(stream::iter(["a", "b"].map(Ok::<_, io::Error>)))
    }

    #[tokio::test]
    async fn a_body_that_nobody_takes_ends_with_an_error_and_its_connection_with_it() {
        let taking = Taking::new(PATIENCE);
        let mut body = taking.watch(pieces());
        body.frame().await.unwrap().unwrap();
        let began = Instant::now();
        taking.stalled().await;
        assert!(began.elapsed() >= PATIENCE);
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_connection_goes_on_while_another_body_is_taken() {
        let taking = Taking::new(PATIENCE);
        let (mut left, mut taken) = (taking.watch(pieces()), taking.watch(pieces()));
        sleep(PATIENCE).await;
        taken.frame().await.unwrap().unwrap();
        assert!(!taking.give_up());
        assert!(left.frame().await.unwrap().is_err());
        assert_eq!(taken.collect().await.unwrap().to_bytes(), "b");
    }

    #[tokio::test]
    async fn a_body_that_is_itself_slow_is_waited_for() {
        let taking = Taking::new(PATIENCE);
        let slow = stream::once(async {
            sleep(PATIENCE * 3).await;
            Ok::<_, io::Error>("late")
        });
        let body = taking.watch(Body::from_stream(slow.boxed()));
        tokio::select! {
            () = taking.stalled() => unreachable!("it waits for the body"),
            all = body.collect() => assert_eq!(all.unwrap().to_bytes(), "late"),
        }
    }
}
