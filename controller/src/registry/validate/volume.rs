//! The claimed volume. Pure.

use crds::LocalStorage;
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::api::resource::Quantity};
use snafu::OptionExt;

use super::{Error, InvalidSpecSnafu};
use crate::quantity;

/// The volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its size: never below what is claimed already.
    pub size: Quantity,
    /// Its class.
    pub storage_class_name: Option<String>,
    /// What of the spec can't be done for the volume that is there, in words.
    pub objection: Option<String>,
}

/// Checks what is asked for against the claim that is there.
///
/// # Errors
/// [`Error::InvalidSpec`] when the size is none.
pub(super) fn check(local: &LocalStorage, claim: Option<&PersistentVolumeClaim>) -> Result<Volume, Error> {
    let field = "spec.storage.local.size";
    let wanted = quantity::nanos(&local.size.0).filter(|amount| *amount > 0).context(InvalidSpecSnafu {
        field,
        problem: format!("{:?} is no size: write a number of bytes above zero, as 10Gi", local.size.0),
    })?;
    let mut volume =
        Volume { size: local.size.clone(), storage_class_name: local.storage_class_name.clone(), objection: None };
    let Some(claimed) = claim.and_then(|claim| claim.spec.as_ref()) else {
        return Ok(volume);
    };
    let size = claimed.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    if let Some(size) = size
        && quantity::nanos(&size.0).is_some_and(|amount| amount > wanted)
    {
        volume.objection = Some(format!(
            "{field} is {}, less than the {} that are claimed: a volume can't shrink, so write {} or more",
            local.size.0, size.0, size.0
        ));
        volume.size = size.clone();
    }
    if let Some(class) = &claimed.storage_class_name
        && volume.storage_class_name.as_ref().is_some_and(|wanted| wanted != class)
    {
        volume.objection = Some(format!(
            "spec.storage.local.storageClassName differs from the claim's class {class:?}: a volume can't move to another \
             class, so write {class:?}"
        ));
        volume.storage_class_name = Some(class.clone());
    }
    Ok(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(local: &str) -> LocalStorage {
        serde_saphyr::from_str(local).unwrap()
    }

    fn claim(size: &str, class: &str) -> PersistentVolumeClaim {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "registry"},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}
        }))
        .unwrap()
    }

    #[test]
    fn a_smaller_size_than_claimed_is_an_objection_and_changes_nothing_else() {
        let volume = check(&asked("{size: 5Gi}"), Some(&claim("10Gi", "fast"))).unwrap();
        assert_eq!(volume.size.0, "10Gi");
        assert!(volume.objection.unwrap().contains("write 10Gi or more"));
    }

    #[test]
    fn a_larger_size_and_another_spelling_are_no_objection() {
        for size in ["10240Mi", "20Gi"] {
            let volume = check(&asked(&format!("{{size: {size}}}")), Some(&claim("10Gi", "fast"))).unwrap();
            assert_eq!(volume.size.0, size);
            assert_eq!(volume.objection, None);
        }
    }

    #[test]
    fn an_adopted_claim_of_another_class_is_an_objection() {
        let volume = check(&asked("{storageClassName: slow}"), Some(&claim("10Gi", "fast"))).unwrap();
        assert_eq!(volume.storage_class_name.as_deref(), Some("fast"));
        assert!(volume.objection.unwrap().contains("\"fast\""));
    }
}
