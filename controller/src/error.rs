//! What an error asks of the driver: wait for the user, wait for something else, or try again.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};

use crate::context::Context;

/// Time until the next pass after the API server saw another object than we did.
const AFTER_LOST_RACE: Duration = Duration::from_millis(500);

/// What to do after an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// Nothing will change until somebody acts; looked at again after this long all the same.
    Stalled {
        /// Time until the next look.
        after: Duration,
    },
    /// Something else must come first.
    Waiting {
        /// Time until the next look.
        after: Duration,
    },
    /// Another attempt may succeed: exponential backoff for this object.
    Transient,
}

/// An error of a reconciler.
pub trait Classified: StdError + Send + Sync + 'static {
    /// What to do about it.
    fn policy(&self) -> Policy;
    /// The word for it: reason of the Event and label of the metric. One of a fixed set.
    fn reason(&self) -> &'static str;
}

/// The `error_policy` of every controller: logs once, counts, and decides when to look again.
#[must_use]
pub fn on_error<K, E>(object: &Arc<K>, error: &E, context: &Context) -> Action
where
    K: Resource<DynamicType = ()>,
    E: Classified,
{
    let kind = K::kind(&());
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let key = key(object.as_ref());
    if !is_lost_race(error) {
        context.backoff.end_races(&key);
    } else if context.backoff.is_early_race(&key) {
        tracing::debug!(object.kind = %kind, object.namespace = namespace, object.name = name, "{kind} {namespace}/{name} has changed meanwhile: {}", chain(error));
        return Action::requeue(AFTER_LOST_RACE);
    }
    let waits = matches!(error.policy(), Policy::Waiting { .. });
    if !waits {
        context.metrics.failed(&kind, error.reason());
    }
    let after = match error.policy() {
        Policy::Stalled { after } | Policy::Waiting { after } => after,
        Policy::Transient => context.backoff.next(&key),
    };
    let message = chain(error);
    if waits {
        tracing::debug!(object.kind = %kind, object.namespace = namespace, object.name = name, reason = error.reason(), ?after, "{kind} {namespace}/{name} waits: {message}");
    } else {
        tracing::warn!(object.kind = %kind, object.namespace = namespace, object.name = name, reason = error.reason(), ?after, "{kind} {namespace}/{name}: {message}");
    }
    Action::requeue(after)
}

/// Whether the API server refused since the object is another one than we saw, which is no failure: the next pass sees it as
/// it is; unless it is always refused so, say by a webhook. Finalizers are changed by JSON patches that test what they change;
/// a failed test is a 422.
#[must_use]
pub fn is_lost_race(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let call =
            error.downcast_ref::<kube::Error>().or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref));
        if let Some(kube::Error::Api(status)) = call {
            let failed_test =
                status.code == 422 && status.details.as_ref().is_none_or(|details| details.causes.is_empty());
            return status.is_conflict() || failed_test;
        }
        cause = error.source();
    }
    false
}

/// Key of an object in [`crate::backoff::Backoffs`]: kind and uid.
#[must_use]
pub fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}", K::kind(&()), object.uid().unwrap_or_else(|| object.name_any()))
}

/// An error with its sources, in one line.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = words(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = words(cause);
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What one error says of itself. The API server's own sentence stands alone: the client's text prints the whole answer.
fn words(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use snafu::Snafu;

    use super::*;

    #[derive(Debug, Snafu)]
    enum Outer {
        #[snafu(display("the Service can't be applied"))]
        Apply { source: std::fmt::Error },
    }

    #[derive(Debug, Snafu)]
    enum Wrapped {
        #[snafu(display("boxed"))]
        Boxed {
            #[snafu(source(from(kube::Error, Box::new)))]
            source: Box<kube::Error>,
        },
        #[snafu(display("any"))]
        Any { source: Box<dyn StdError + Send + Sync> },
    }

    fn answered(code: u16, reason: &str) -> kube::Error {
        let status = serde_json::json!({"status": "Failure", "code": code, "reason": reason, "message": ""});
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn a_lost_race_is_told_from_a_refusal_however_deep_it_lies() {
        for (code, reason, lost) in [(409, "Conflict", true), (422, "Invalid", true), (403, "Forbidden", false)] {
            assert_eq!(is_lost_race(&Wrapped::Boxed { source: Box::new(answered(code, reason)) }), lost);
            assert_eq!(is_lost_race(&Wrapped::Any { source: Box::new(answered(code, reason)) }), lost);
        }
        let mut invalid = answered(422, "Invalid");
        if let kube::Error::Api(status) = &mut invalid {
            status.details = serde_json::from_value(
                serde_json::json!({"causes": [{"message": "no", "field": "spec", "reason": "x"}]}),
            )
            .unwrap();
        }
        assert!(!is_lost_race(&Wrapped::Any { source: Box::new(invalid) }));
    }

    impl Classified for Wrapped {
        fn policy(&self) -> Policy {
            Policy::Transient
        }

        fn reason(&self) -> &'static str {
            "Test"
        }
    }

    #[tokio::test]
    async fn races_that_are_lost_without_end_back_off_like_any_failure() {
        let nobody = |_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
        };
        let context = Context::new(
            kube::Client::new(tower::service_fn(nobody), "ops"),
            crate::registry::fixtures::settings(),
            crate::metrics::Metrics::new(),
            None,
            kube::runtime::reflector::store().0,
            kube::runtime::reflector::store().0,
        );
        let object = Arc::new(crate::registry::fixtures::registry("{}"));
        let race = Wrapped::Boxed { source: Box::new(answered(409, "Conflict")) };
        let at_once = Action::requeue(AFTER_LOST_RACE);
        let lose = || on_error(&object, &race, &context);
        for _ in 0..crate::backoff::RACES {
            assert_eq!(lose(), at_once);
        }
        for _ in 0..5 {
            assert_ne!(lose(), at_once);
        }
        assert!(context.backoff.next(&key(object.as_ref())) > Duration::from_secs(10));
        assert!(context.metrics.text().contains("reason=\"Test\"} 5"));

        let refused = Wrapped::Boxed { source: Box::new(answered(403, "Forbidden")) };
        let _ = on_error(&object, &refused, &context);
        assert_eq!(lose(), at_once, "what was refused otherwise is no race in a row");
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer::Apply { source: std::fmt::Error };
        assert!(chain(&error).starts_with("the Service can't be applied: "));
    }
}
