//! Step 4: asks the registry's server, and tells it what is declared.

use std::time::{Duration, Instant};

use api::{Declaration, FailureReason, State};
use crds::Package;
use kube::ResourceExt;

use super::{
    build::build,
    dereference::{Dereferenced, secrets},
    error::Error,
    memory::{Ask, Wish},
    reconcile::PackageContext,
    validate::{self, ServingRegistry},
};
use crate::{backoff, error::key, server_client::ServerClient};

/// Time between looks at a declaration that is under way.
const POLL: Duration = Duration::from_secs(1);
/// Time between looks at content that is there, spread over its upper half.
const CHECK: Duration = Duration::from_mins(1);
/// Time until another attempt at what only a change can help.
const SLOW: Duration = Duration::from_mins(10);
/// Longest time until another attempt at what the registry's settings forbade.
const FORBIDDEN: Duration = Duration::from_mins(1);
/// Time until another attempt while a younger object gives way.
const GIVING_WAY: Duration = Duration::from_secs(3);

/// What the server says, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The declaration; `None`: nothing was asked, all is as it was.
    pub declaration: Option<Declaration>,
    /// Name and version that the declaration came upon, when another object has them.
    pub coordinate: Option<(String, String)>,
    /// Name of the object that has them.
    pub rival: Option<String>,
    /// Time until the next look.
    pub after: Duration,
}

impl Answer {
    /// Nothing was said; looked at again after that time.
    #[must_use]
    pub fn nothing(after: Duration) -> Self {
        Self { declaration: None, coordinate: None, rival: None, after }
    }
}

/// Brings the declaration of `package` to the server of `registry`, as far as needed.
///
/// # Errors
/// When a Secret is wrong or the server can't be asked.
pub async fn apply(
    package: &Package,
    registry: &ServingRegistry,
    found: &Dereferenced,
    wish: &Wish,
    current: bool,
    context: &PackageContext,
) -> Result<Answer, Error> {
    let uid = package.uid().unwrap_or_default();
    let entry = context.memory.get(&uid);
    let ask = entry.plan(wish, current, &registry.marker, Instant::now());
    if let Ask::Nothing(after) = ask {
        return Ok(Answer::nothing(after));
    }
    let shared = &context.shared;
    let server = shared.servers.connect(&shared.client, &shared.tokens, &registry.object).await?;
    let known = if ask == Ask::Look { server.declaration(&uid).await? } else { None };
    let declaration = match known {
        Some(declaration) => declaration,
        None => put(package, &uid, &server, wish, context).await?,
    };
    Ok(weigh(package, declaration, registry, found, wish, context))
}

async fn put(
    package: &Package,
    uid: &str,
    server: &ServerClient<'_>,
    wish: &Wish,
    context: &PackageContext,
) -> Result<Declaration, Error> {
    let source = validate::source_of(package)?;
    let secrets = secrets(&context.shared.client, &package.namespace().unwrap_or_default(), source).await?;
    let spec = build(package, validate::source(source, &secrets)?);
    let declaration = server.put_declaration(uid, &spec).await?;
    context.memory.change(uid, |entry| entry.put(wish));
    Ok(declaration)
}

/// Remembers what the answer means for the next passes.
pub(super) fn weigh(
    package: &Package,
    declaration: Declaration,
    registry: &ServingRegistry,
    found: &Dereferenced,
    wish: &Wish,
    context: &PackageContext,
) -> Answer {
    let uid = package.uid().unwrap_or_default();
    let now = Instant::now();
    let mut answer = Answer::nothing(POLL);
    match declaration.state {
        State::Added => {
            answer.after = backoff::jittered(CHECK, backoff::random());
            context.shared.backoff.reset(&key(package));
            context.memory.change(&uid, |entry| entry.published(wish, &registry.marker, answer.after, now));
        }
        State::Failed => {
            let reason = declaration.reason.unwrap_or(FailureReason::FetchFailed);
            context.shared.metrics.failed("Package", super::status::word(reason));
            answer.after = rest(reason, || context.shared.backoff.next(&key(package)));
            if reason == FailureReason::AlreadyDeclared
                && let Some(other) = validate::rival(declaration.message.as_deref().unwrap_or_default(), found)
            {
                let status = other.status.clone().unwrap_or_default();
                answer.coordinate = status.name.zip(status.version);
                answer.rival = Some(other.name_any());
                if validate::is_older(package, other) {
                    answer.after = GIVING_WAY;
                }
            }
            let depends_on_registry =
                matches!(reason, FailureReason::NotAllowed | FailureReason::StorageFull | FailureReason::FetchFailed);
            let marker = depends_on_registry.then(|| registry.marker.clone());
            context.memory.change(&uid, |entry| entry.failed(wish, marker, answer.after, now));
        }
        State::Pending | State::Validating | State::Storing | State::Removing => {}
    }
    answer.declaration = Some(declaration);
    answer
}

/// How long a failure rests.
fn rest(reason: FailureReason, next: impl FnOnce() -> Duration) -> Duration {
    if reason == FailureReason::NotAllowed {
        next().min(FORBIDDEN)
    } else if reason.is_transient() {
        next()
    } else {
        backoff::jittered(SLOW, backoff::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_heal_by_itself_is_tried_again_soon() {
        let soon = || Duration::from_secs(2);
        assert_eq!(rest(FailureReason::FetchFailed, soon), Duration::from_secs(2));
        assert_eq!(rest(FailureReason::NotAllowed, || Duration::from_mins(5)), FORBIDDEN);
        for reason in [FailureReason::InvalidBundle, FailureReason::DigestMismatch, FailureReason::Conflict] {
            assert!(rest(reason, soon) >= SLOW / 2, "{reason:?}");
        }
    }
}
