//! Tokens with which the controller speaks to a registry's server: made for its publisher account, for its audience alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::context::FIELD_MANAGER;

/// Life that is asked for, in seconds.
const LIFE: i64 = 3600;

/// Why there is no token.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The API server refused or could not be asked.
    #[snafu(display("no token could be made for ServiceAccount {account}"))]
    Request {
        /// Name of the account.
        account: String,
        /// What the API client says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// An answer without a token.
    #[snafu(display("the API server answered a token request for ServiceAccount {account} without a token"))]
    Empty {
        /// Name of the account.
        account: String,
    },
}

impl Error {
    /// Whether there is no such account (any more): its registry or its namespace is going.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Request { source, .. }
            if matches!(source.as_ref(), kube::Error::Api(status) if status.is_not_found() || is_terminating(status)))
    }
}

fn is_terminating(status: &kube::core::Status) -> bool {
    status.is_forbidden() && status.message.contains("being terminated")
}

/// Name of the account that may publish in the registry `name`.
#[must_use]
pub fn publisher(name: &str) -> String {
    format!("{name}-publisher")
}

struct Kept {
    token: String,
    renew_at: Timestamp,
}

/// Tokens that are still good, by namespace and registry.
#[derive(Default)]
pub struct Tokens {
    kept: Mutex<HashMap<(String, String), Kept>>,
}

impl Tokens {
    /// A token for the registry `name`; made anew after 80 % of its life.
    ///
    /// # Errors
    /// When none can be made.
    pub async fn get(&self, client: &Client, namespace: &str, name: &str) -> Result<String, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        let now = Timestamp::now();
        if let Some(token) = self.lock().get(&key).filter(|kept| now < kept.renew_at).map(|kept| kept.token.clone()) {
            return Ok(token);
        }
        let account = publisher(name);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![api::token_audience(namespace, name)],
                expiration_seconds: Some(LIFE),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let answer = Api::<ServiceAccount>::namespaced(client.clone(), namespace)
            .create_token_request(&account, &parameters, &request)
            .await
            .context(RequestSnafu { account: account.as_str() })?;
        let status = answer.status.filter(|status| !status.token.is_empty()).context(EmptySnafu { account })?;
        let token = status.token.clone();
        let renew_at = renewal(now, status.expiration_timestamp.0);
        self.lock().insert(key, Kept { token: status.token, renew_at });
        Ok(token)
    }

    /// Forgets the token: the server refused it.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Forgets all but those of these registries, by namespace and name: the others are gone.
    pub fn keep_only(&self, registries: &BTreeSet<(String, String)>) {
        self.lock().retain(|key, _| registries.contains(key));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Kept>> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// When a token made at `now` is replaced: after four fifths of its life.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    now.checked_add(life * 4 / 5).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_with_its_registry() {
        let tokens = Tokens::default();
        for name in ["a", "b"] {
            let kept = Kept { token: "t".into(), renew_at: Timestamp::MAX };
            tokens.lock().insert(("apps".into(), name.into()), kept);
        }
        tokens.keep_only(&BTreeSet::from([("apps".into(), "b".into()), ("apps".into(), "c".into())]));
        assert_eq!(tokens.lock().keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_token_is_replaced_after_four_fifths_of_its_life() {
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(renewal(now, Timestamp::from_second(2000).unwrap()), Timestamp::from_second(1800).unwrap());
        assert_eq!(renewal(now, Timestamp::from_second(500).unwrap()), now);
    }
}
