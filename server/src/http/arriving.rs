//! A request's body, as long as it keeps coming.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::timeout;

use crate::incoming::{Incoming, Interruption};

/// How long is waited for the least that must come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes that must come while so long is waited: a line of 8 kbit/s can do that, and who sends less keeps a place from others.
const LEAST: usize = 64 << 10;

/// The body as a stream that ends when it breaks off or comes too slowly.
pub(super) fn arriving(body: Body) -> Incoming<'static> {
    watched(body, PATIENCE, LEAST)
}

fn watched(body: Body, patience: Duration, least: usize) -> Incoming<'static> {
    let watch = Watch { patience, least, waited: Duration::ZERO, came: 0 };
    stream::unfold(Some((body.into_data_stream(), watch)), |state| async move {
        let (mut body, mut watch) = state?;
        loop {
            let began = Instant::now();
            let next = timeout(watch.patience.saturating_sub(watch.waited), body.next()).await;
            if !watch.goes_on(began.elapsed(), next.as_ref().ok()) {
                return Some((Err(Interruption::Stalled), None));
            }
            match next {
                Err(_) => {}
                Ok(None) => return None,
                Ok(Some(Ok(bytes))) => return Some((Ok(bytes), Some((body, watch)))),
                Ok(Some(Err(_))) => return Some((Err(Interruption::Broken), None)),
            }
        }
    })
    .boxed()
}

/// Time that was spent waiting, and what came meanwhile. Time in which nobody asked doesn't count.
struct Watch {
    patience: Duration,
    least: usize,
    waited: Duration,
    came: usize,
}

impl Watch {
    /// Whether the body may go on.
    fn goes_on(&mut self, waited: Duration, next: Option<&Option<Result<Bytes, axum::Error>>>) -> bool {
        self.waited += waited;
        self.came += match next {
            Some(Some(Ok(bytes))) => bytes.len(),
            // The end is no reason to give up.
            Some(_) => return true,
            None => 0,
        };
        if self.waited < self.patience {
            return true;
        }
        let enough = self.came >= self.least;
        (self.waited, self.came) = (Duration::ZERO, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const SHORT: Duration = Duration::from_millis(40);

    fn dripping(every: Duration, count: usize) -> Body {
        Body::from_stream(stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        }))
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
        assert_eq!(watched(silent, SHORT, 1).next().await, Some(Err(Interruption::Stalled)));
    }

    #[tokio::test]
    async fn a_body_that_only_drips_is_given_up() {
        let mut body = watched(dripping(SHORT / 8, 1000), SHORT, 1000);
        let last = loop {
            match body.next().await {
                Some(Ok(_)) => {}
                other => break other,
            }
        };
        assert_eq!(last, Some(Err(Interruption::Stalled)));
        assert_eq!(body.next().await, None);
    }

    #[tokio::test]
    async fn a_slow_body_that_brings_enough_goes_on_to_its_end() {
        let came: Vec<_> = watched(dripping(SHORT / 8, 24), SHORT, 2).collect().await;
        assert_eq!(came.len(), 24);
        assert!(came.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_broken_body_is_told_from_a_slow_one() {
        let broken = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"x")), Err(io::Error::other("gone"))]));
        let came: Vec<_> = arriving(broken).collect().await;
        assert_eq!(came, [Ok(Bytes::from_static(b"x")), Err(Interruption::Broken)]);
    }
}
