//! Brings one object of the cluster to what it should be: read, compare, and only then server-side apply.

use std::{collections::BTreeSet, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::{
    compare::first_difference,
    context::{FIELD_MANAGER, IDENTITY_LABELS},
};

/// How often a lost race (409) is tried again before it becomes an error.
const ATTEMPTS: usize = 4;

/// Why an object could not be brought to what it should be.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    /// Something of that name belongs to somebody else.
    #[snafu(display(
        "{kind} {name} exists and isn't the operator's: rename or delete it, choose another name in the spec, or \
         hand it over as docs/operations.md says"
    ))]
    NameTaken {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The object is on its way out; it is made again once it is gone.
    #[snafu(display("{kind} {name} of before is still being deleted"))]
    Leaving {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The API server refused or could not be asked.
    #[snafu(display("{kind} {name} can't be {verb}"))]
    Call {
        /// What was tried, as a participle.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API client says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// An object without a name.
    #[snafu(display("a {kind} without a name can't be applied"))]
    Unnamed {
        /// Kind of the object.
        kind: String,
    },
    /// An object that has no JSON form.
    #[snafu(display("{kind} has no JSON form"))]
    Form {
        /// Kind of the object.
        kind: String,
        /// What the serialiser says.
        source: serde_json::Error,
    },
}

/// What an apply did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Nothing: the object is as it should be.
    Unchanged,
    /// It was not there.
    Created,
    /// It was there and different.
    Changed,
}

/// An object after an apply.
#[derive(Clone, Debug)]
pub struct Applied<K> {
    /// As the API server has it now.
    pub object: K,
    /// What was done.
    pub change: Change,
}

/// Brings the object of that name to `desired`. An object that is right already causes no mutating request.
///
/// The object is ours when its controller owner is `desired`'s; when it has no controller owner and carries all of
/// [`IDENTITY_LABELS`] that `desired` has; or when it has neither owner nor a label that says otherwise, and the API server noted
/// that this operator applied it: a retained volume stays the registry's although somebody took its labels off. Whoever may
/// forge that note may set the labels as well.
///
/// # Errors
/// [`Error::NameTaken`] when it is somebody else's, [`Error::Leaving`] while it is being deleted, [`Error::Call`] otherwise.
pub async fn apply<K>(api: &Api<K>, desired: &K) -> Result<Applied<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let kind = K::kind(&()).into_owned();
    let name = desired.meta().name.clone().context(UnnamedSnafu { kind: kind.clone() })?;
    for attempt in 1.. {
        let live =
            api.get_opt(&name).await.context(CallSnafu { verb: "read", kind: kind.as_str(), name: name.as_str() })?;
        match Box::pin(apply_over(api, desired, &name, live)).await {
            Err(Error::Call { source, .. }) if attempt < ATTEMPTS && is_conflict(&source) => {}
            result => return result,
        }
    }
    LeavingSnafu { kind, name }.fail()
}

/// Like [`apply`], for a caller that has just read the object (`None`: it isn't there). A lost race is read anew.
///
/// # Errors
/// As [`apply`].
pub async fn apply_read<K>(api: &Api<K>, desired: &K, live: Option<K>) -> Result<Applied<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = desired.meta().name.clone().context(UnnamedSnafu { kind: K::kind(&()) })?;
    match Box::pin(apply_over(api, desired, &name, live)).await {
        Err(Error::Call { source, .. }) if is_conflict(&source) => Box::pin(apply(api, desired)).await,
        result => result,
    }
}

async fn apply_over<K>(api: &Api<K>, desired: &K, name: &str, live: Option<K>) -> Result<Applied<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let kind = K::kind(&()).into_owned();
    let mut wanted = serde_json::to_value(desired).context(FormSnafu { kind: kind.as_str() })?;
    let change = match &live {
        None => Change::Created,
        Some(found) => {
            match ownership(desired, found) {
                Ownership::Ours => {}
                Ownership::Leaving => return LeavingSnafu { kind, name }.fail(),
                Ownership::Foreign => return NameTakenSnafu { kind, name }.fail(),
            }
            let found_value = serde_json::to_value(found).context(FormSnafu { kind: kind.as_str() })?;
            let Some(path) = first_difference(&wanted, &found_value, FIELD_MANAGER) else {
                return Ok(Applied { object: found.clone(), change: Change::Unchanged });
            };
            tracing::info!(
                object.kind = kind,
                object.name = name,
                object.namespace = found.namespace(),
                field = path,
                "{kind} {name} differs at {path}, applying"
            );
            Change::Changed
        }
    };
    // With its uid, the patch can't make anew, or change, another object than the one that was read.
    if let Some(uid) = live.as_ref().and_then(ResourceExt::uid)
        && let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("uid".to_owned(), Value::String(uid));
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    let object = match api.patch(name, &parameters, &Patch::Apply(&wanted)).await {
        Err(refused) if live.is_some() && is_invalid(&refused) => {
            replace_lists(api, name, &wanted).await.map_err(|_| refused).context(CallSnafu {
                verb: "applied",
                kind: kind.as_str(),
                name,
            })?;
            api.patch(name, &parameters, &Patch::Apply(&wanted)).await
        }
        other => other,
    }
    .context(CallSnafu { verb: "applied", kind, name })?;
    Ok(Applied { object, change })
}

/// Server-side apply merges lists by key, so an element whose key was edited by hand stays beside the one that we set, and
/// both together may be invalid (two ports of one name). A merge patch sets each list as a whole.
async fn replace_lists<K>(api: &Api<K>, name: &str, wanted: &Value) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(wanted)).await.map(drop)
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

enum Ownership {
    Ours,
    Leaving,
    Foreign,
}

fn ownership<K: Resource>(desired: &K, live: &K) -> Ownership {
    let wanted = controller_of(desired);
    let found = controller_of(live);
    let ours = match (wanted, found) {
        (Some(wanted), Some(found)) if wanted.uid == found.uid => true,
        // The same owner, deleted and made again: the garbage collector takes this child away.
        (Some(wanted), Some(found))
            if wanted.kind == found.kind && wanted.name == found.name && wanted.api_version == found.api_version =>
        {
            return Ownership::Leaving;
        }
        (_, Some(found)) => carries_identity(desired, live) && is_own_kind(found),
        (_, None) => carries_identity(desired, live) || (was_applied(live) && !contradicts(desired, live)),
    };
    match (ours, live.meta().deletion_timestamp.is_some()) {
        (true, false) => Ownership::Ours,
        (true, true) => Ownership::Leaving,
        (false, _) => Ownership::Foreign,
    }
}

fn is_own_kind(owner: &OwnerReference) -> bool {
    owner.api_version.starts_with(crds::GROUP)
}

fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

fn carries_identity<K: Resource>(desired: &K, live: &K) -> bool {
    let (Some(wanted), Some(found)) = (&desired.meta().labels, &live.meta().labels) else { return false };
    let mut identity =
        IDENTITY_LABELS.iter().filter_map(|label| wanted.get(*label).map(|value| (*label, value))).peekable();
    identity.peek().is_some() && identity.all(|(label, value)| found.get(label) == Some(value))
}

/// Whether the API server noted that this operator applied the object.
fn was_applied<K: Resource>(object: &K) -> bool {
    let notes = object.meta().managed_fields.iter().flatten();
    notes.into_iter().any(|note| {
        note.manager.as_deref() == Some(FIELD_MANAGER)
            && note.operation.as_deref() == Some("Apply")
            && note.subresource.as_deref().unwrap_or_default().is_empty()
    })
}

/// Whether a label says that the object is somebody else's, or another registry's.
fn contradicts<K: Resource>(desired: &K, live: &K) -> bool {
    let labels = |object: &K, label: &str| object.meta().labels.as_ref().and_then(|labels| labels.get(label).cloned());
    IDENTITY_LABELS.iter().any(|label| labels(live, label).is_some_and(|found| labels(desired, label) != Some(found)))
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

/// Writes the status of `object`, and nothing else of it. Fields that `status` lacks and we wrote before go away.
///
/// # Errors
/// When the API server refuses; 404 and 409 mean that the object is gone or another one.
pub async fn status<K, S>(api: &Api<K>, object: &K, status: &S) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let name = object.name_any();
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await
}

/// Takes the owner with the uid `owner` off the object of that name: the garbage collector leaves it when that owner goes. One
/// that isn't there, or has no such owner, stays as it is.
///
/// # Errors
/// [`Error::Call`] when the API server can't be asked or refuses, with a conflict also when the object changed meanwhile.
pub async fn disown<K>(api: &Api<K>, name: &str, owner: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = K::kind(&());
    let live = api.get_opt(name).await.context(CallSnafu { verb: "read", kind: kind.as_ref(), name })?;
    let Some(object) = live.filter(|object| object.owner_references().iter().any(|found| found.uid == owner)) else {
        return Ok(());
    };
    let others: Vec<_> = object.owner_references().iter().filter(|found| found.uid != owner).collect();
    // A merge patch sets the list as a whole, so it must be that of the object as it was read and no other.
    let patch = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "ownerReferences": others,
    }});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(name, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => {
            tracing::info!(object.kind = %kind, object.name = name, "{kind} {name} is kept, it has no owner any more");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(source).context(CallSnafu { verb: "kept", kind, name }),
    }
}

/// Deletes the objects that carry `selector` (`label=value,…`), belong to `owner` (uid of a controller owner) where given, and
/// are not in `keep`. Returns the names of those deleted. What changed hands or went away meanwhile is left alone.
///
/// # Errors
/// When the list or a deletion fails.
pub async fn prune<K>(
    api: &Api<K>,
    selector: &str,
    owner: Option<&str>,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = K::kind(&()).into_owned();
    let found = api.list(&ListParams::default().labels(selector)).await.context(CallSnafu {
        verb: "listed",
        kind: kind.as_str(),
        name: "",
    })?;
    let mut deleted = Vec::new();
    for object in found {
        let name = object.name_any();
        let kept = keep.contains(&name)
            || object.meta().deletion_timestamp.is_some()
            || owner.is_some_and(|uid| controller_of(&object).is_none_or(|found| found.uid != uid));
        if !kept && delete(api, &object).await? {
            tracing::info!(object.kind = kind, object.name = name, "{kind} {name} is no longer wanted, deleted");
            deleted.push(name);
        }
    }
    Ok(deleted)
}

/// Deletes exactly this object (by uid); false when it is gone or another one has its name.
///
/// # Errors
/// When the API server refuses for another reason.
pub async fn delete<K>(api: &Api<K>, object: &K) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let name = object.name_any();
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: None }),
        ..DeleteParams::background()
    };
    match api.delete(&name, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(source) => Err(source).context(CallSnafu { verb: "deleted", kind: K::kind(&()), name }),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
