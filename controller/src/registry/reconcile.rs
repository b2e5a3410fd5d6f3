//! The driver of a pass over one PackageRegistry: dereference → validate → build → apply → status.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{PackageRegistry, PackageRegistryStatus, condition::READY, names};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    runtime::{
        controller::Action,
        finalizer::{self, Event, finalizer},
    },
};

use super::{
    apply::{self, Foundations, Outcome},
    build, certificates,
    dereference::{self, Live, Symptoms},
    error::Error,
    finalize::finalize,
    names::Names,
    poll::Polls,
    reports,
    status::{self, Findings, certificate::Certificates, serving},
    validate::{Storage, Validated, validate},
};
use crate::{
    certificate::rotation::Step,
    condition,
    context::Context,
    error::key,
    event,
    trust::{self, Trust, verdict},
};

/// Time until the next look at a registry that is as it should be. Secrets are read again then: they aren't watched.
const RESYNC: Duration = Duration::from_secs(30);

/// What the reconciler has at hand.
pub struct RegistryContext {
    /// What all reconcilers have.
    pub shared: Arc<Context>,
    /// Node trust.
    pub trust: Arc<Trust>,
    /// When to look again at what isn't as it should be.
    pub polls: Polls,
}

impl RegistryContext {
    /// A context that knows nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Context>, trust: Arc<Trust>) -> Self {
        Self { shared, trust, polls: Polls::default() }
    }
}

/// One pass, given up when it takes too long: the next one begins from what is.
///
/// # Errors
/// Why not everything is in place; the status says the same.
pub async fn reconcile(registry: Arc<PackageRegistry>, context: Arc<RegistryContext>) -> Result<Action, Error> {
    let begin = Instant::now();
    // Whatever has changed may be of interest to nodes.
    context.trust.ring();
    let namespace = registry.namespace().unwrap_or_default();
    let api: Api<PackageRegistry> = Api::namespaced(context.shared.client.clone(), &namespace);
    let pass = finalizer(&api, names::REGISTRY_FINALIZER, registry, |event| async {
        match event {
            Event::Apply(registry) => Box::pin(pass(&registry, &context)).await,
            Event::Cleanup(registry) => cleanup(&registry, &context).await,
        }
    });
    let longest = context.shared.longest_pass;
    let result = tokio::time::timeout(longest, pass).await;
    context.shared.metrics.reconciled("PackageRegistry", begin.elapsed());
    let result = result.map_err(|_| Error::TimedOut { after: longest })?;
    result.map_err(|error| match error {
        finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
        finalizer::Error::AddFinalizer(source) | finalizer::Error::RemoveFinalizer(source) => {
            Error::Finalizer { source: Box::new(source) }
        }
        other => Error::Finalizer { source: other.to_string().into() },
    })
}

async fn cleanup(registry: &PackageRegistry, context: &RegistryContext) -> Result<Action, Error> {
    let snapshot = context.trust.snapshot();
    let action = finalize(&context.shared.client, registry, &snapshot).await?;
    context.shared.backoff.reset(&key(registry));
    context.polls.forget(&key(registry));
    Ok(action)
}

async fn pass(registry: &PackageRegistry, context: &RegistryContext) -> Result<Action, Error> {
    let now = Timestamp::now();
    let (status, result) = if registry.spec.suspend {
        (status::suspended(registry, now), Ok(()))
    } else {
        match Box::pin(steps(registry, context, now)).await {
            Ok((status, result)) => (status, result),
            Err(error) => (status::after_error(registry, &error, now), Err(error)),
        }
    };
    let changed = publish(registry, &status, context).await?;
    let key = key(registry);
    let settled = registry.spec.suspend || condition::is_true(&status.conditions, READY);
    let after = if settled {
        context.polls.forget(&key);
        RESYNC
    } else {
        context.polls.next(&key, changed, Instant::now())
    };
    result?;
    context.shared.backoff.reset(&key);
    Ok(Action::requeue(after))
}

/// True when the status changed.
async fn publish(
    registry: &PackageRegistry,
    status: &PackageRegistryStatus,
    context: &RegistryContext,
) -> Result<bool, Error> {
    if !status::write(&context.shared.client, registry, status).await? {
        return Ok(false);
    }
    let before = registry.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if let Some(event) = event::for_transition(before, &status.conditions, "Reconcile") {
        event::publish(&context.shared, registry, &event).await;
    }
    Ok(true)
}

/// The five steps. An error of a single child comes beside the status that tells it.
async fn steps(
    registry: &PackageRegistry,
    context: &RegistryContext,
    now: Timestamp,
) -> Result<(PackageRegistryStatus, Result<(), Error>), Error> {
    let client = &context.shared.client;
    let trust_key = trust::plan::key(registry);
    let names = Names::new(&trust_key.namespace, &trust_key.name);
    let mut live = dereference::live(client, registry, &trust_key.namespace, &names).await?;
    let validated = validate(registry, &live, &context.shared.settings)?;

    let accounts = std::mem::take(&mut live.accounts);
    let former = build::identity::former_accounts(&validated, &accounts);
    let (mut foundations, own) =
        Box::pin(apply::foundations(client, &validated, &mut live, build::foundations(&validated))).await;
    let (certificates, deployment, rights) = tokio::join!(
        certify(registry, context, &validated, &mut live, &foundations, now),
        apply::deployment(client, &validated, own, build::deployment(&validated)),
        apply::rights(client, &validated, own, build::rights(&validated, &former))
    );
    foundations.identity = foundations.identity.and(rights);
    let pruned = apply::prune(client, &validated, &foundations, &deployment, &former).await;

    let symptoms = symptoms(registry, context, &validated, &foundations, &deployment).await;
    let before = registry.status.clone().unwrap_or_default();
    let snapshot = context.trust.snapshot();
    let enabled = registry.spec.node_trust.enabled;
    let opinion = enabled.then(|| verdict::opinion(&snapshot, &trust_key, status::trusted_before(&before)));
    let packages = context.shared.packages.state();
    let findings = Findings {
        registry: &validated,
        foundations: &foundations,
        certificates: &certificates,
        deployment: &deployment,
        symptoms: &symptoms,
        opinion,
        packages: status::count(registry, packages.iter().map(AsRef::as_ref)),
        handled_rotation: handled_rotation(registry, &certificates),
    };
    let status = status::after_pass(registry, &findings, now);
    let result = first_error(foundations, certificates, deployment, pruned);
    Ok((status, result))
}

/// Plans and applies the certificates, once there is an address that they can stand for.
async fn certify(
    registry: &PackageRegistry,
    context: &RegistryContext,
    validated: &Validated,
    live: &mut Live,
    foundations: &Foundations,
    now: Timestamp,
) -> Certificates {
    let addresses = foundations.service.as_ref().map(certificates::addresses).unwrap_or_default();
    if addresses.is_empty() {
        return Certificates::Waiting;
    }
    let trust = certificates::trust(
        live,
        &context.trust.snapshot(),
        &trust::plan::key(registry),
        registry.spec.node_trust.enabled,
    );
    let requested = requested_rotation(registry).is_some();
    let trusted = registry.status.as_ref().and_then(|status| status.ca_bundle.as_deref());
    let plan = match certificates::plan(validated, live, &addresses, trusted, requested, trust, now) {
        Ok(plan) => plan,
        Err(error) => return Certificates::Refused(error),
    };
    let desired = build::certificates(validated, &plan);
    let applied = apply::certificates(&context.shared.client, validated, live, desired).await;
    if applied.is_ok() {
        tell(registry, context, &plan).await;
    }
    Certificates::Planned(Box::new(plan), applied)
}

/// Says what happened to certificates, where somebody will want to know.
async fn tell(registry: &PackageRegistry, context: &RegistryContext, plan: &crate::certificate::plan::Plan) {
    if let Some(violation) = &plan.violation {
        tracing::info!(
            object.namespace = registry.namespace(),
            object.name = registry.name_any(),
            "PackageRegistry {}: a new serving certificate, since {violation}",
            registry.name_any()
        );
    }
    if plan.step != Step::Keep {
        tracing::info!(
            object.namespace = registry.namespace(),
            object.name = registry.name_any(),
            step = ?plan.step,
            "PackageRegistry {}: the authority is being replaced",
            registry.name_any()
        );
    }
    if plan.step == (Step::Promote { late: true }) {
        let note =
            "the new authority signs although not every node has it: nodes that were down trust it when they are back";
        event::warn(&context.shared, registry, crds::reason::DEPENDENCY_NOT_READY, note, "RotateAuthority").await;
    }
}

/// The annotation's value, if it asks for a new authority and that was not acted on yet.
fn requested_rotation(registry: &PackageRegistry) -> Option<&String> {
    let asked = registry.annotations().get(names::ROTATE_CA)?;
    let handled = registry.status.as_ref().and_then(|status| status.last_handled_ca_rotation.as_ref());
    (handled != Some(asked)).then_some(asked)
}

/// What of it is handled after this pass: an authority that is new, or has a successor, is what was asked for.
fn handled_rotation(registry: &PackageRegistry, certificates: &Certificates) -> Option<String> {
    let before = registry.status.as_ref().and_then(|status| status.last_handled_ca_rotation.clone());
    let replaced = certificates.in_place().is_some_and(|plan| plan.first || plan.authorities.next.is_some());
    match requested_rotation(registry) {
        Some(asked) if replaced => Some(asked.clone()),
        _ => before,
    }
}

/// Read only while something isn't ready, but for what the pods say of a bucket; a failure to read them is no failure of the
/// pass.
async fn symptoms(
    object: &PackageRegistry,
    context: &RegistryContext,
    registry: &Validated,
    foundations: &Foundations,
    deployment: &Outcome<Deployment>,
) -> Symptoms {
    let client = &context.shared.client;
    let mut symptoms = Symptoms::default();
    let is_available = deployment.as_ref().is_ok_and(serving::is_available);
    let is_on_a_bucket = matches!(registry.storage, Storage::S3(_));
    let mut pods = Vec::new();
    if !is_available || is_on_a_bucket {
        pods = dereference::pods(client, &registry.namespace, &registry.names).await.unwrap_or_default();
    }
    if is_on_a_bucket {
        symptoms.bucket = match reports::of_pods(&pods, registry.names.registry()).await {
            Some(report) => Some(report),
            // The operator may not reach pods by their own addresses, say because of a network policy.
            None => reports::of_service(object, &context.shared).await,
        };
    }
    if !is_available {
        symptoms.pods = pods;
    }
    if let Ok(Some(claim)) = &foundations.claim {
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        if phase == Some("Pending") {
            let warning = dereference::claim_warning(client, claim).await;
            symptoms.claim_warning = warning.unwrap_or_default();
        }
    }
    if let (Storage::Existing(_), Ok(Some(claim))) = (&registry.storage, &foundations.claim) {
        for pod in &symptoms.pods {
            let warning = dereference::mount_warning(client, pod, claim).await.unwrap_or_default();
            symptoms.mount_warning = symptoms.mount_warning.or(warning);
        }
    }
    symptoms
}

fn first_error(
    foundations: Foundations,
    certificates: Certificates,
    deployment: Outcome<Deployment>,
    pruned: Outcome<()>,
) -> Result<(), Error> {
    let Foundations { volume, claim, service, identity, disruption_budget } = foundations;
    service?;
    volume?;
    claim?;
    identity?;
    disruption_budget?;
    match certificates {
        Certificates::Refused(error) => return Err(error),
        Certificates::Planned(_, applied) => applied?,
        Certificates::Waiting => {}
    }
    deployment?;
    pruned?;
    Ok(())
}
