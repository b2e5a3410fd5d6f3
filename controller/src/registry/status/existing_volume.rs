//! The `StorageReady` condition of a volume that exists already. Pure.

use crds::reason;

use super::{outcome, storage};
use crate::{
    apply::Error,
    condition::{Status, Verdict},
    registry::{
        apply::Foundations,
        dereference::Symptoms,
        validate::{ExistingVolume, Source},
    },
};

/// What volume and claim mean.
#[must_use]
pub fn verdict(volume: &ExistingVolume, foundations: &Foundations, symptoms: &Symptoms) -> Verdict {
    if let Some(objection) = &volume.objection {
        return Verdict::no(objection.reason, objection.message.clone());
    }
    match &foundations.volume {
        Err(Error::Leaving { name, .. }) => {
            return Verdict::no(
                reason::PROGRESSING,
                format!(
                    "PersistentVolume {name} is being deleted, which waits for its claim and the pods that use it: delete \
                     these, and all are made again; what is in the folder stays"
                ),
            );
        }
        Err(error) => return outcome::verdict(error),
        Ok(_) => {}
    }
    let claimed = storage::verdict(&foundations.claim, None, symptoms.claim_warning.as_deref());
    match &symptoms.mount_warning {
        Some(warning) if claimed.status == Status::True => Verdict::no(
            reason::PROGRESSING_WITH_RETRY,
            format!("{} can't be mounted: {warning}", place(&volume.source)),
        ),
        _ => claimed,
    }
}

/// The volume, for people.
fn place(source: &Source) -> String {
    match source {
        Source::Claim(name) => format!("the volume of PersistentVolumeClaim {name}"),
        Source::Folder(folder) => format!("the folder {} of node {}", folder.path, folder.node),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
    use serde_json::json;

    use super::*;
    use crate::registry::{
        apply::Outcome,
        validate::{Folder, Objection},
    };

    fn folder(objection: Option<Objection>) -> ExistingVolume {
        let (path, node, hostname) = ("/srv/packages".into(), "n1".into(), "n1".into());
        let source = Source::Folder(Folder { path, node, hostname, claim_uid: None });
        ExistingVolume { container_path: "/var/lib/package-registry".into(), source, objection }
    }

    fn foundations(phase: &str) -> Foundations {
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"name": "registry-volume"}, "status": {"phase": phase}}))
                .unwrap();
        let service: Outcome<Service> = Ok(Service::default());
        Foundations { volume: Ok(None), claim: Ok(Some(claim)), service, identity: Ok(()), disruption_budget: Ok(()) }
    }

    #[test]
    fn a_bound_claim_is_ready_unless_its_folder_can_not_be_mounted() {
        let said = verdict(&folder(None), &foundations("Bound"), &Symptoms::default());
        assert_eq!(said.status, Status::True);
        let mount_warning = Some("path \"/srv/packages\" does not exist".to_owned());
        let symptoms = Symptoms { mount_warning, ..Symptoms::default() };
        let said = verdict(&folder(None), &foundations("Bound"), &symptoms);
        assert_eq!(said.reason, reason::PROGRESSING_WITH_RETRY);
        assert_eq!(
            said.message,
            "the folder /srv/packages of node n1 can't be mounted: path \"/srv/packages\" does not exist"
        );
    }

    #[test]
    fn what_can_not_be_used_is_said_whatever_else_is_there() {
        let objection = Objection { reason: reason::NOT_ALLOWED, message: "not here".into() };
        let said = verdict(&folder(Some(objection)), &foundations("Bound"), &Symptoms::default());
        assert_eq!((said.status, said.reason, said.message.as_str()), (Status::False, reason::NOT_ALLOWED, "not here"));
    }

    #[test]
    fn a_claim_that_waits_or_lost_its_volume_says_so() {
        let said = |phase| verdict(&folder(None), &foundations(phase), &Symptoms::default()).reason;
        assert_eq!(said("Pending"), reason::PROGRESSING);
        assert_eq!(said("Lost"), reason::DEPENDENCY_NOT_READY);
    }

    #[test]
    fn a_volume_that_somebody_deleted_says_what_its_end_waits_for() {
        let leaving = Error::Leaving { kind: "PersistentVolume".into(), name: "v".into() };
        let all = Foundations { volume: Err(leaving), ..foundations("Bound") };
        let said = verdict(&folder(None), &all, &Symptoms::default());
        assert_eq!(said.reason, reason::PROGRESSING);
        assert!(said.message.contains("waits for its claim"), "{}", said.message);
    }
}
