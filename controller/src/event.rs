//! Events on objects: one for each change of what holds an object back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use crds::condition::READY;

use crate::{condition, context::Context};

/// Longest note, in bytes; the API allows 1 kB.
const LONGEST_NOTE: usize = 1000;

/// The Event for a change of `Ready`, if its status or reason changed. Pure.
#[must_use]
pub fn for_transition(before: &[Condition], after: &[Condition], action: &str) -> Option<Event> {
    let now = condition::find(after, READY)?;
    let same = condition::find(before, READY).is_some_and(|old| old.status == now.status && old.reason == now.reason);
    if same {
        return None;
    }
    let normal = now.status == "True"
        || matches!(
            now.reason.as_str(),
            crds::reason::PROGRESSING | crds::reason::SUSPENDED | crds::reason::DEPENDENCY_NOT_READY
        );
    Some(Event {
        type_: if normal { EventType::Normal } else { EventType::Warning },
        reason: now.reason.clone(),
        note: Some(shortened(&now.message)),
        action: action.to_owned(),
        secondary: None,
    })
}

/// Publishes an Event about `object`; a failure is logged and forgotten, nothing depends on Events.
pub async fn publish<K: Resource<DynamicType = ()>>(context: &Context, object: &K, event: &Event) {
    if let Err(error) = context.recorder.publish(event, &object.object_ref(&())).await {
        tracing::debug!(%error, reason = event.reason, "an Event could not be published");
    }
}

/// Publishes a warning about `object`.
pub async fn warn<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    reason: &str,
    note: &str,
    action: &str,
) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(shortened(note)),
        action: action.to_owned(),
        secondary: None,
    };
    publish(context, object, &event).await;
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(LONGEST_NOTE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::condition::{Verdict, set};

    fn ready(verdict: &Verdict) -> Vec<Condition> {
        let mut conditions = Vec::new();
        set(&mut conditions, READY, verdict, Some(1), Timestamp::UNIX_EPOCH);
        conditions
    }

    #[test]
    fn only_a_new_status_or_reason_makes_an_event() {
        let one = ready(&Verdict::no("FetchFailed", "once"));
        let again = ready(&Verdict::no("FetchFailed", "twice"));
        let done = ready(&Verdict::yes("Succeeded", "done"));
        assert!(for_transition(&one, &again, "Reconcile").is_none());
        let event = for_transition(&[], &one, "Reconcile").unwrap();
        assert_eq!((event.type_, event.reason.as_str()), (EventType::Warning, "FetchFailed"));
        assert_eq!(for_transition(&again, &done, "Reconcile").unwrap().type_, EventType::Normal);
    }
}
