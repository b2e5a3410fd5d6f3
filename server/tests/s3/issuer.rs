//! Who hands temporary credentials to workloads in a cloud: a security token service that takes web identities, and the
//! agent that a container asks. What is handed out here is real: a `MinIO`'s own temporary credentials, which it takes with
//! their session token only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::Credentials as Own;
use aws_sdk_sts::Client;
use aws_sdk_sts::primitives::DateTimeFormat as Format;
use aws_sdk_sts::types::Credentials;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

use crate::common::s3_server::{KEY_ID, S3Server, SECRET};

/// The role that workloads ask for.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/registry";
/// What they call themselves.
pub const SESSION: &str = "registry-0";
/// Where a container asks.
pub const CONTAINER_PATH: &str = "/v1/credentials";

/// What was handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// For which token.
    pub token: &'static str,
    /// Id of the temporary key.
    pub key_id: String,
}

struct Shared {
    minio: Client,
    tokens: Vec<(&'static str, Option<Duration>)>,
    issued: Mutex<Vec<Issued>>,
}

/// A running issuer.
pub struct Issuer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Issuer {
    /// Starts one that hands out credentials of a server to who has one of these tokens. Beside a token is for how long it says
    /// that they are good, if not the truth, an hour.
    pub async fn start(server: &S3Server, tokens: &[(&'static str, Option<Duration>)]) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", server.address))
            .credentials_provider(Own::new(KEY_ID, SECRET, None, None, "tests"))
            .load()
            .await;
        let shared =
            Arc::new(Shared { minio: Client::new(&config), tokens: tokens.to_vec(), issued: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", post(web_identity))
            .route(CONTAINER_PATH, get(container))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared }
    }

    /// Everything that was handed out.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.issued.lock().unwrap().clone()
    }
}

impl Shared {
    /// New credentials, and when they expire; `None` for a token that isn't known.
    async fn issue(&self, token: &str) -> Option<(Credentials, String)> {
        let (token, lifetime) = *self.tokens.iter().find(|(known, _)| *known == token)?;
        let answer = self.minio.assume_role().role_arn(ROLE).role_session_name(SESSION).send().await.unwrap();
        let credentials = answer.credentials.unwrap();
        self.issued.lock().unwrap().push(Issued { token, key_id: credentials.access_key_id.clone() });
        let soon = lifetime.map(|lifetime| (Timestamp::now() + lifetime).to_string());
        let expiration = soon.unwrap_or_else(|| credentials.expiration.fmt(Format::DateTime).unwrap());
        Some((credentials, expiration))
    }
}

/// `AssumeRoleWithWebIdentity`, as the API reference of AWS' security token service has it.
async fn web_identity(State(shared): State<Arc<Shared>>, Form(form): Form<HashMap<String, String>>) -> Response {
    let said = |name: &str| form.get(name).map_or("", String::as_str);
    assert_eq!(said("Action"), "AssumeRoleWithWebIdentity");
    assert_eq!((said("RoleArn"), said("RoleSessionName")), (ROLE, SESSION));
    let Some((credentials, expiration)) = shared.issue(said("WebIdentityToken")).await else {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
            <Message>unknown token</Message></Error></ErrorResponse>";
        return (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "text/xml")], error).into_response();
    };
    let Credentials { access_key_id: id, secret_access_key: secret, session_token: token, .. } = credentials;
    let answer = format!(
        r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleWithWebIdentityResult>
            <Credentials>
                <AccessKeyId>{id}</AccessKeyId>
                <SecretAccessKey>{secret}</SecretAccessKey>
                <SessionToken>{token}</SessionToken>
                <Expiration>{expiration}</Expiration>
            </Credentials>
            <AssumedRoleUser><Arn>{ROLE}/{SESSION}</Arn><AssumedRoleId>ID:{SESSION}</AssumedRoleId></AssumedRoleUser>
        </AssumeRoleWithWebIdentityResult>
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
        </AssumeRoleWithWebIdentityResponse>"#
    );
    ([(CONTENT_TYPE, "text/xml")], answer).into_response()
}

/// What the agent of EKS Pod Identity answers, which looks at the header alone.
async fn container(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
    let Some((credentials, expiration)) = shared.issue(token).await else {
        return (StatusCode::UNAUTHORIZED, "unknown token").into_response();
    };
    let answer = json!({
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": expiration,
    });
    Json(answer).into_response()
}
