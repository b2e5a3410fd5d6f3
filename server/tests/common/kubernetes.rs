//! The part of an API server that says who somebody is and what they may do, played by a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::auth::Auth;
use server::auth::kubernetes::Kubernetes;

/// What tokens for the registry are for.
pub const AUDIENCE: &str = "registry.dcos.io/apps/main";

/// What it was asked, and how it answers.
#[derive(Clone)]
pub struct ApiServer {
    /// Tokens that were reviewed.
    pub reviews: Arc<AtomicUsize>,
    /// Accesses that were reviewed.
    pub asked: Arc<Mutex<Vec<Value>>>,
    /// Whether it doesn't answer at all.
    pub down: bool,
    status: fn(&str) -> Value,
    allows: fn(&str, &str) -> bool,
}

impl ApiServer {
    /// `status` is what the review of a token says, `allows` whether a user has the right to a verb.
    pub fn new(status: fn(&str) -> Value, allows: fn(&str, &str) -> bool) -> Self {
        Self { reviews: Arc::default(), asked: Arc::default(), down: false, status, allows }
    }

    /// Authentication that asks this server.
    pub fn auth(&self) -> Auth {
        Auth::Kubernetes(Kubernetes::new(self.client(), AUDIENCE.into(), "apps".into()))
    }

    fn client(&self) -> kube::Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let this = this.clone();
            async move {
                if this.down {
                    return Err(std::io::Error::other("connection refused"));
                }
                let token_review = request.uri().path().ends_with("/tokenreviews");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                let status = if token_review { this.token(&review["spec"]) } else { this.access(&review["spec"]) };
                review["status"] = status;
                Ok(Response::builder().status(201).body(Body::from(review.to_string())).unwrap())
            }
        });
        kube::Client::new(service, "default")
    }

    fn token(&self, spec: &Value) -> Value {
        self.reviews.fetch_add(1, Ordering::SeqCst);
        assert_eq!(spec["audiences"], json!([AUDIENCE]));
        (self.status)(spec["token"].as_str().unwrap())
    }

    fn access(&self, spec: &Value) -> Value {
        self.asked.lock().unwrap().push(spec.clone());
        let verb = spec["resourceAttributes"]["verb"].as_str().unwrap();
        json!({ "allowed": (self.allows)(spec["user"].as_str().unwrap(), verb) })
    }
}

/// The review of a good token of that user.
pub fn user(name: &str) -> Value {
    json!({ "authenticated": true, "audiences": [AUDIENCE], "user": { "username": name } })
}

/// The review of a token that is none.
pub fn nobody() -> Value {
    json!({ "authenticated": false, "error": "expired" })
}
