//! The `StorageReady` condition of a claimed volume. Pure.

use crds::reason;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::outcome;
use crate::{condition::Verdict, registry::apply::Outcome};

/// What the claim means. `objection`: what of the spec can't be done for it; `warning`: what its newest Event says.
#[must_use]
pub fn verdict(
    claim: &Outcome<Option<PersistentVolumeClaim>>,
    objection: Option<&str>,
    warning: Option<&str>,
) -> Verdict {
    let claim = match claim {
        Ok(Some(claim)) => claim,
        Ok(None) => return Verdict::no(reason::PROGRESSING, "the PersistentVolumeClaim is not made yet"),
        Err(error) => return outcome::verdict(error),
    };
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    match (phase, objection, warning) {
        ("Bound", Some(objection), _) => Verdict::no(reason::INVALID_SPEC, objection),
        ("Bound", None, _) => Verdict::yes(reason::SUCCEEDED, format!("PersistentVolumeClaim {name} is bound")),
        ("Lost", ..) => Verdict::no(
            reason::DEPENDENCY_NOT_READY,
            format!(
                "the volume of PersistentVolumeClaim {name} is gone: bring it back, or delete the claim to begin with an empty one"
            ),
        ),
        (_, _, Some(warning)) => Verdict::no(
            reason::PROGRESSING_WITH_RETRY,
            format!("PersistentVolumeClaim {name} gets no volume: {warning}"),
        ),
        _ => Verdict::no(reason::PROGRESSING, format!("PersistentVolumeClaim {name} waits for a volume")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Status;

    fn say(phase: &str, objection: Option<&str>, warning: Option<&str>) -> Verdict {
        let claim =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "registry"}, "status": {"phase": phase}}))
                .unwrap();
        verdict(&Ok(Some(claim)), objection, warning)
    }

    #[test]
    fn a_bound_claim_is_ready_unless_the_spec_asks_for_what_it_can_not_be() {
        let bound = say("Bound", None, None);
        assert_eq!(bound.status, Status::True);
        let objected = say("Bound", Some("can't shrink"), None);
        assert_eq!((objected.reason, objected.message.as_str()), (reason::INVALID_SPEC, "can't shrink"));
    }

    #[test]
    fn a_claim_without_volume_says_what_the_provisioner_says() {
        let waiting = say("Pending", None, None);
        assert_eq!(waiting.reason, reason::PROGRESSING);
        let failing = say("Pending", None, Some("storageclass \"x\" not found"));
        assert_eq!(failing.reason, reason::PROGRESSING_WITH_RETRY);
        assert!(failing.message.contains("storageclass \"x\" not found"));
    }
}
