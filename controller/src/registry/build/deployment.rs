//! The Deployment of the serving pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, PersistentVolumeClaimVolumeSource,
            PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretVolumeSource,
            SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    arguments::arguments,
    bucket,
    identity::account_name,
    labels::{Component, labels, owned, server_selector},
    token_volume::token_volume,
};
use crate::{
    container::{mount, probe},
    registry::validate::{Storage, Validated},
};

/// Name of the serving port.
pub const HTTPS_PORT_NAME: &str = "https";
/// The serving port.
pub(super) const HTTPS_PORT: i32 = 8443;
/// Port of probes and metrics.
pub(in crate::registry) const ADMIN_PORT: i32 = 9090;
/// User and group of the server.
const USER: i64 = 65532;

/// Where the serving Secret is.
pub(super) const TLS_DIR: &str = "/etc/package-registry/tls";
/// Name of the volume with the content.
const STORAGE: &str = "storage";
/// Where the API token is.
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The Deployment. The serving Secret is not part of its template: the server loads a new one without a restart.
#[must_use]
pub fn deployment(registry: &Validated) -> Deployment {
    let selector = server_selector(registry.names.registry());
    Deployment {
        metadata: owned(registry, registry.names.registry(), Component::Server),
        spec: Some(DeploymentSpec {
            replicas: Some(registry.pods.instances),
            revision_history_limit: Some(2),
            // The default, said so that it is repaired: a paused Deployment never rolls out what the spec says.
            paused: Some(false),
            strategy: Some(strategy(&registry.storage, registry.pods.instances)),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: PodTemplateSpec { metadata: Some(pod_metadata(registry)), spec: Some(pod(registry)) },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod_metadata(registry: &Validated) -> ObjectMeta {
    let template = &registry.pods.template;
    let mut all = template.labels.clone();
    all.extend(labels(registry.names.registry(), Component::Server));
    ObjectMeta { labels: Some(all), annotations: filled(&template.annotations), ..ObjectMeta::default() }
}

fn filled(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn pod(registry: &Validated) -> PodSpec {
    let template = &registry.pods.template;
    PodSpec {
        service_account_name: Some(account_name(registry).to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: some(&registry.pods.image_pull_secrets),
        // Empty, too: what isn't said isn't ours, and a selector that somebody else set would stay.
        node_selector: Some(template.node_selector.clone()),
        tolerations: some(&template.tolerations),
        affinity: template.affinity.clone(),
        topology_spread_constraints: spread(registry),
        priority_class_name: template.priority_class_name.clone(),
        termination_grace_period_seconds: Some(60),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // A large volume is not walked through at every start.
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(registry)],
        volumes: Some(volumes(registry)),
        ..PodSpec::default()
    }
}

fn volumes(registry: &Validated) -> Vec<Volume> {
    let mut all = match &registry.storage {
        Storage::S3(s3) => bucket::volumes(s3),
        Storage::Local(_) | Storage::Existing(_) => Vec::new(),
    };
    all.extend(registry.storage.mounted(&registry.names).map(|mounted| Volume {
        name: STORAGE.into(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: mounted.claim,
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }));
    let others = [
        Volume {
            name: "tls".into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(registry.names.serving()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume { name: "tmp".into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
        token_volume("token"),
    ];
    all.extend(others);
    all
}

fn mounts(registry: &Validated) -> Vec<VolumeMount> {
    let mut all = match &registry.storage {
        Storage::S3(s3) => bucket::mounts(s3),
        Storage::Local(_) | Storage::Existing(_) => Vec::new(),
    };
    all.extend(registry.storage.mounted(&registry.names).map(|mounted| mount(STORAGE, mounted.path, false)));
    let others = [mount("tls", TLS_DIR, true), mount("tmp", "/tmp", false), mount("token", TOKEN_DIR, true)];
    all.extend(others);
    all
}

/// Two processes must never have a volume at once, nor a bucket whose store may let both win: only several instances ask for
/// one that doesn't. Of these, each goes when another one is there.
fn strategy(storage: &Storage, instances: i32) -> DeploymentStrategy {
    match storage {
        Storage::S3(_) if instances > 1 => DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        },
        _ => DeploymentStrategy { type_: Some("Recreate".into()), ..DeploymentStrategy::default() },
    }
}

/// What the spec says; else several pods spread over nodes as far as these take them.
fn spread(registry: &Validated) -> Option<Vec<TopologySpreadConstraint>> {
    let asked = some(&registry.pods.template.topology_spread_constraints);
    asked.or_else(|| {
        let constraint = TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(LabelSelector {
                match_labels: Some(server_selector(registry.names.registry())),
                ..LabelSelector::default()
            }),
            // During a roll-out the pods of before don't count.
            match_label_keys: Some(vec!["pod-template-hash".into()]),
            ..TopologySpreadConstraint::default()
        };
        (registry.pods.instances > 1).then(|| vec![constraint])
    })
}

fn container(registry: &Validated) -> Container {
    Container {
        name: "server".into(),
        image: Some(registry.pods.image.clone()),
        image_pull_policy: Some(registry.pods.image_pull_policy.clone()),
        command: Some(vec!["/package-registry-server".into()]),
        args: Some(arguments(registry)),
        env: Some(environment()),
        ports: Some(vec![port(HTTPS_PORT_NAME, HTTPS_PORT), port("admin", ADMIN_PORT)]),
        // Asked every second, so that a pod serves as soon as it can.
        readiness_probe: Some(probe("/readyz", admin_port(), 1, 3)),
        liveness_probe: Some(probe("/livez", admin_port(), 10, 6)),
        resources: Some(registry.pods.resources.clone().unwrap_or_else(default_resources)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        // So that a pod that fails says why in its status.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts(registry)),
        ..Container::default()
    }
}

/// `--operator-managed` by its environment variable: a server of an older `spec.image` ends at a flag that it doesn't know.
fn environment() -> Vec<EnvVar> {
    vec![EnvVar { name: "PACKAGE_REGISTRY_OPERATOR_MANAGED".into(), value: Some("true".into()), ..EnvVar::default() }]
}

fn default_resources() -> ResourceRequirements {
    let amounts = |cpu: Option<&str>, memory: &str| {
        cpu.map(|cpu| ("cpu".to_owned(), Quantity(cpu.to_owned())))
            .into_iter()
            .chain([("memory".to_owned(), Quantity(memory.to_owned()))])
            .collect()
    };
    ResourceRequirements {
        requests: Some(amounts(Some("50m"), "64Mi")),
        limits: Some(amounts(None, "512Mi")),
        ..ResourceRequirements::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn admin_port() -> IntOrString {
    IntOrString::String("admin".into())
}
