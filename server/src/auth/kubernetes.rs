//! Tokens and rights as the API server judges them: `TokenReview` and `SubjectAccessReview`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use super::table::Verb;
use super::{AuthError, Identity};
use crate::digest::Digest;

const GROUP: &str = "registry.dcos.io";
const RESOURCE: &str = "packages";
/// How long a good token is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long a bad token is refused without asking again.
const REFUSED: Duration = Duration::from_secs(5);
/// Tokens of each kind that are remembered, at most.
const REMEMBERED: usize = 1000;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the API server.
pub struct Kubernetes {
    client: Client,
    audience: String,
    namespace: String,
    /// Good tokens, by the hash of their text.
    believed: Remembered<UserInfo>,
    /// Bad tokens, by the hash of their text.
    refused: Remembered<()>,
}

impl Kubernetes {
    /// Tokens for `audience`, rights in `namespace`.
    #[must_use]
    pub fn new(client: Client, audience: String, namespace: String) -> Self {
        Self {
            client,
            audience,
            namespace,
            believed: Remembered::for_up_to(BELIEVED),
            refused: Remembered::for_up_to(REFUSED),
        }
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// A token that isn't good, an API server that can't be asked.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let hash = Digest::sha256(token.as_bytes()).hex().to_owned();
        if let Some(user) = self.believed.get(&hash) {
            return Ok(Identity::Kubernetes(Box::new(user)));
        }
        let bad = || AuthError::Unauthenticated { message: format!("the token is not valid for {}", self.audience) };
        if self.refused.get(&hash).is_some() {
            return Err(bad());
        }
        let spec = TokenReviewSpec { audiences: Some(vec![self.audience.clone()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = ask(&self.client, &review).await?;
        let status = answer.status.unwrap_or_default();
        let for_us = status.audiences.unwrap_or_default().contains(&self.audience);
        match status.user {
            Some(user) if status.authenticated == Some(true) && for_us => {
                self.believed.put(hash, user.clone());
                Ok(Identity::Kubernetes(Box::new(user)))
            }
            _ => {
                self.refused.put(hash, ());
                Err(bad())
            }
        }
    }

    /// Whether a user has a right on the registry's packages.
    ///
    /// # Errors
    /// A user without that right, an API server that can't be asked.
    pub async fn authorize(&self, user: &UserInfo, verb: Verb) -> Result<(), AuthError> {
        let attributes = ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(RESOURCE.to_owned()),
            namespace: Some(self.namespace.clone()),
            verb: Some(verb.as_str().to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: user.username.clone(),
            groups: user.groups.clone(),
            uid: user.uid.clone(),
            extra: user.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = ask(&self.client, &review).await?;
        if answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
            return Ok(());
        }
        Err(AuthError::Forbidden {
            message: format!(
                "{} may not {} {RESOURCE}.{GROUP} in namespace {}; a Role with that verb and a RoleBinding are needed",
                user.username.as_deref().unwrap_or("the user"),
                verb.as_str(),
                self.namespace
            ),
        })
    }
}

/// What was found out about tokens a short while ago.
struct Remembered<T> {
    lifetime: Duration,
    found: Mutex<HashMap<String, (Instant, T)>>,
}

impl<T: Clone> Remembered<T> {
    fn for_up_to(lifetime: Duration) -> Self {
        Self { lifetime, found: Mutex::default() }
    }

    fn get(&self, hash: &str) -> Option<T> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, what) = found.get(hash)?;
        (since.elapsed() < self.lifetime).then(|| what.clone())
    }

    fn put(&self, hash: String, what: T) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= REMEMBERED {
            found.retain(|_, (since, _)| since.elapsed() < self.lifetime);
        }
        if found.len() < REMEMBERED {
            found.insert(hash, (Instant::now(), what));
        }
    }
}

async fn ask<K>(client: &Client, review: &K) -> Result<K, AuthError>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let parameters = PostParams::default();
    match tokio::time::timeout(PATIENCE, api.create(&parameters, review)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(AuthError::Unavailable { message: error.to_string() }),
        Err(_) => Err(AuthError::Unavailable { message: "no answer in time".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_in_time() {
        let remembered = Remembered::for_up_to(Duration::from_mins(1));
        for number in 0..REMEMBERED + 10 {
            remembered.put(number.to_string(), number);
        }
        assert_eq!(remembered.get("0"), Some(0));
        assert_eq!(remembered.get(&REMEMBERED.to_string()), None);
        let short = Remembered::for_up_to(Duration::ZERO);
        short.put("a".into(), ());
        assert_eq!(short.get("a"), None);
    }
}
