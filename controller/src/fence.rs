//! The fence in front of the API client: a process that no longer leads can't write, whatever code still runs.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request};
use snafu::Snafu;
use tower::{BoxError, Layer, Service};

use crate::leader::Leadership;

/// A write was held back.
#[derive(Debug, Snafu)]
#[snafu(display("this process doesn't lead, so it writes nothing"))]
pub struct NotLeading;

/// Puts [`Fenced`] around a service.
#[derive(Clone)]
pub struct Fence(pub Leadership);

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, leadership: self.0.clone() }
    }
}

/// A service that passes reads always, and writes only while this process leads. A write that is under way when that ends is
/// given up: below, kube's client may be connecting still, or about to try again for minutes what was answered with 429 or 503.
#[derive(Clone)]
pub struct Fenced<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let leadership = self.leadership.clone();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && !leadership.holds() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            tokio::select! {
                biased;
                () = leadership.ended(), if !reads => Err(NotLeading.into()),
                answer = answer => answer.map_err(Into::into),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::{Duration, Instant},
    };

    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn send(leadership: &Leadership, method: Method) -> Result<(), BoxError> {
        let service = Fence(leadership.clone()).layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(()) }));
        service.oneshot(Request::builder().method(method).body(()).unwrap()).await
    }

    #[tokio::test]
    async fn a_process_that_does_not_lead_reads_and_writes_nothing() {
        let leadership = Leadership::elected();
        send(&leadership, Method::GET).await.unwrap();
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            assert!(send(&leadership, method).await.unwrap_err().to_string().contains("doesn't lead"));
        }
        leadership.extend(std::time::Instant::now() + Duration::from_secs(5));
        send(&leadership, Method::PATCH).await.unwrap();
        leadership.end();
        assert!(send(&leadership, Method::PATCH).await.is_err());
    }

    #[tokio::test]
    async fn a_write_that_is_tried_again_and_again_ends_with_the_lease_and_a_read_goes_on() {
        const LEASE: Duration = Duration::from_millis(100);
        let leadership = Leadership::elected();
        leadership.extend(Instant::now() + LEASE);
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        // As kube's client does with what is answered with 503.
        let retrying = Fence(leadership).layer(service_fn(move |_: Request<()>| {
            let attempts = Arc::clone(&counted);
            async move {
                for _ in 0..50 {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok::<_, Infallible>(())
            }
        }));
        let request = |method| Request::builder().method(method).body(()).unwrap();
        let (read, write) =
            tokio::join!(retrying.clone().oneshot(request(Method::GET)), retrying.oneshot(request(Method::PATCH)),);
        read.unwrap();
        assert!(write.unwrap_err().to_string().contains("doesn't lead"));
        assert!(attempts.load(Ordering::SeqCst) < 100, "only the read was tried to the end");
    }
}
