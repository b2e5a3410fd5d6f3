//! The ConfigMap and the DaemonSet. Pure.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
            HostPathVolumeSource, ObjectFieldSelector, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile,
            SecurityContext, Toleration, Volume,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use node_trust::{
    desired::{CONFIG_KEY, Desired, HASH_ANNOTATION},
    report, runtime_config,
};
use sha2::{Digest, Sha256};

use super::{NAME, agents::Agents};
use crate::{
    arguments::Settings,
    container::{mount, probe},
    context::{COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, NAME as APP, NAME_LABEL},
};

/// Where the agent finds the ConfigMap.
const CONFIG_DIR: &str = "/etc/package-registry-node-trust";
/// Where the agent finds the runtime's trust folder.
const CERTS_MOUNT: &str = "/host/certs.d";
/// Where the agent finds the runtime's configuration.
const RUNTIME_MOUNT: &str = "/host/runtime-config";
/// Where the agent finds docker's trust folder.
const DOCKER_MOUNT: &str = "/host/docker-certs.d";

/// The ConfigMap's content as text, and its hash (sha256, hexadecimal).
///
/// # Errors
/// When the list has no JSON form.
pub fn content(desired: &Desired) -> Result<(String, String), serde_json::Error> {
    let text = serde_json::to_string_pretty(desired)?;
    let hash = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    Ok((text, hash))
}

/// Labels of the agents' pods; they never change.
#[must_use]
pub fn selector() -> BTreeMap<String, String> {
    [(NAME_LABEL, APP), (COMPONENT_LABEL, "node-trust")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The ConfigMap with that content.
#[must_use]
pub fn config_map(text: String, settings: &Settings) -> ConfigMap {
    ConfigMap {
        metadata: metadata(settings),
        data: Some([(CONFIG_KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    }
}

/// The DaemonSet whose agents read the content with that hash.
#[must_use]
pub fn daemon_set(hash: &str, settings: &Settings, agents: &Agents) -> DaemonSet {
    DaemonSet {
        metadata: metadata(settings),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(selector()), ..LabelSelector::default() },
            // Agents serve nobody, so they all may restart at once.
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::String("100%".into())),
                    ..RollingUpdateDaemonSet::default()
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels()),
                    annotations: Some([(HASH_ANNOTATION.to_owned(), hash.to_owned())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(settings, agents)),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn metadata(settings: &Settings) -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.into()),
        namespace: Some(settings.node_trust_namespace.clone()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    let mut labels = selector();
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels
}

fn pod(settings: &Settings, agents: &Agents) -> PodSpec {
    let mut volumes = vec![
        Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource { name: NAME.into(), ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        },
        host_path("certs", &settings.containerd_certs_dir),
        host_path("runtime-config", &settings.containerd_config_dir),
    ];
    if !agents.docker_certs_dir.is_empty() {
        volumes.push(host_path("docker-certs", &agents.docker_certs_dir));
    }
    PodSpec {
        host_network: Some(true),
        dns_policy: Some("Default".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: Some("system-node-critical".into()),
        termination_grace_period_seconds: Some(5),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        tolerations: Some(vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }]),
        containers: vec![container(settings, agents)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn host_path(name: &str, path: &str) -> Volume {
    Volume {
        name: name.into(),
        host_path: Some(HostPathVolumeSource { path: path.into(), type_: Some("DirectoryOrCreate".into()) }),
        ..Volume::default()
    }
}

fn container(settings: &Settings, agents: &Agents) -> Container {
    let mut mounts = vec![
        mount("config", CONFIG_DIR, true),
        mount("certs", CERTS_MOUNT, false),
        mount("runtime-config", RUNTIME_MOUNT, true),
    ];
    if !agents.docker_certs_dir.is_empty() {
        mounts.push(mount("docker-certs", DOCKER_MOUNT, false));
    }
    Container {
        name: "agent".into(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        command: Some(vec!["/package-registry-node-trust".into()]),
        args: Some(arguments(settings, agents)),
        env: Some(vec![
            from_field("NODE_NAME", "spec.nodeName"),
            from_field("TRUST_HASH", &format!("metadata.annotations['{HASH_ANNOTATION}']")),
        ]),
        ports: Some(vec![ContainerPort {
            name: Some("status".into()),
            container_port: i32::from(report::PORT),
            host_port: Some(i32::from(report::PORT)),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(probe("/readyz", report_port(), 1, 3)),
        liveness_probe: Some(probe("/livez", report_port(), 10, 6)),
        resources: Some(resources()),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn arguments(settings: &Settings, agents: &Agents) -> Vec<String> {
    let mut arguments = vec![
        agents.mode.as_str().into(),
        format!("--config={CONFIG_DIR}/{CONFIG_KEY}"),
        format!("--certs-dir={CERTS_MOUNT}"),
        format!("--host-certs-dir={}", settings.containerd_certs_dir),
        format!("--runtime-config={RUNTIME_MOUNT}/config.toml"),
        format!("--host-runtime-config={}/config.toml", settings.containerd_config_dir),
        "--node-name=$(NODE_NAME)".into(),
        "--expected-hash=$(TRUST_HASH)".into(),
        format!("--listen=0.0.0.0:{}", report::PORT),
    ];
    if agents.containerd_default_config_path {
        arguments.push(format!("--runtime-default-config-path={}", runtime_config::DEFAULT_SINCE_2_2));
    }
    if !agents.docker_certs_dir.is_empty() {
        arguments.push(format!("--docker-certs-dir={DOCKER_MOUNT}"));
        arguments.push(format!("--host-docker-certs-dir={}", agents.docker_certs_dir));
    }
    arguments
}

fn resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "5m"), ("memory", "16Mi")])),
        limits: Some(quantities(&[("memory", "128Mi")])),
        ..ResourceRequirements::default()
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn report_port() -> IntOrString {
    IntOrString::Int(i32::from(report::PORT))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use node_trust::settings::CommandLine;

    use super::{super::agents::Mode, *};

    #[test]
    fn the_daemon_set_is_as_the_snapshot_has_it() {
        let settings = crate::registry::fixtures::settings();
        insta::assert_yaml_snapshot!(daemon_set("abc", &settings, &Agents::default()));
    }

    #[test]
    fn the_agent_understands_what_it_is_told() {
        let settings = crate::registry::fixtures::settings();
        let agents = Agents {
            mode: Mode::Uninstall,
            containerd_default_config_path: true,
            docker_certs_dir: "/srv/docker/certs.d".into(),
        };
        let pod = pod(&settings, &agents);
        let container = &pod.containers[0];
        let line = CommandLine::parse_from([&["agent".to_owned()], container.args.as_deref().unwrap()].concat());
        assert_eq!(line.mode, Some(node_trust::settings::Mode::Uninstall { once: false }));
        let told = line.settings;
        assert_eq!(told.runtime_default_config_path.as_deref(), Some(runtime_config::DEFAULT_SINCE_2_2));
        assert_eq!(told.host_docker_certs_dir, "/srv/docker/certs.d");
        let inside = told.docker_certs_dir.unwrap();
        let mounts = container.volume_mounts.as_ref().unwrap();
        let mount = mounts.iter().find(|mount| inside.to_str() == Some(mount.mount_path.as_str())).unwrap();
        assert_eq!(mount.read_only, None);
        let volume = pod.volumes.unwrap().into_iter().find(|volume| volume.name == mount.name).unwrap();
        assert_eq!(volume.host_path.unwrap().path, "/srv/docker/certs.d");
    }

    #[test]
    fn the_hash_is_that_of_the_bytes_in_the_config_map() {
        let (text, hash) = content(&Desired::default()).unwrap();
        assert_eq!(text, "{\n  \"registries\": []\n}");
        // printf '{\n  "registries": []\n}' | sha256sum
        assert_eq!(hash.len(), 64);
        let again = content(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(again, (text, hash));
    }
}
