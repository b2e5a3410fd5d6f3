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

/// A service that passes reads always, and writes only while this process leads.
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
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && !self.leadership.holds() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

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
}
