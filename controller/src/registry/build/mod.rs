//! Step 3: every child as it should be. Pure.

pub mod deployment;
pub mod identity;
pub mod labels;
pub mod secrets;
pub mod service;
pub mod storage;
mod token_volume;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};

use super::validate::Validated;
use crate::certificate::plan::Plan;

/// What nothing else has to be there for.
#[derive(Clone, Debug)]
pub struct Foundations {
    /// The volume's claim.
    pub claim: PersistentVolumeClaim,
    /// The Service, with the addresses that it had.
    pub service: Service,
    /// The same with any address, for when those are somebody else's now.
    pub service_anywhere: Service,
    /// The serving pods' account.
    pub service_account: ServiceAccount,
    /// The account for publishing.
    pub publisher: ServiceAccount,
}

/// The first part.
#[must_use]
pub fn foundations(registry: &Validated) -> Foundations {
    Foundations {
        claim: storage::claim(registry),
        service: service::service(registry, &registry.service.cluster_ips),
        service_anywhere: service::service(registry, &[]),
        service_account: identity::service_account(registry),
        publisher: identity::publisher(registry),
    }
}

/// What the accounts may do, once they are known to be the registry's own.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Of those who publish.
    pub publisher_binding: RoleBinding,
    /// Of the serving pods.
    pub reviewer_binding: ClusterRoleBinding,
}

/// The second part.
#[must_use]
pub fn rights(registry: &Validated) -> Rights {
    Rights {
        publisher_binding: identity::publisher_binding(registry),
        reviewer_binding: identity::reviewer_binding(registry),
    }
}

/// Certificates, once the Service's addresses are known.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authorities' Secret.
    pub authority: Secret,
    /// The serving Secret.
    pub serving: Secret,
    /// The certificates to trust.
    pub config_map: ConfigMap,
}

/// The third part.
#[must_use]
pub fn certificates(registry: &Validated, plan: &Plan) -> Certificates {
    Certificates {
        authority: secrets::authority(registry, plan),
        serving: secrets::serving(registry, plan),
        config_map: secrets::authority_config_map(registry, plan),
    }
}

/// The serving pods.
#[must_use]
pub fn deployment(registry: &Validated) -> Deployment {
    deployment::deployment(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{
        fixtures::{registry, settings},
        validate::validate,
    };

    fn validated(spec: &str) -> Validated {
        validate(&registry(spec), None, &settings()).unwrap()
    }

    const FULL: &str = "
image: registry.example/other:2
imagePullSecrets: [{name: pull}]
resources: {limits: {memory: 1Gi}}
podTemplate:
  nodeSelector: {disk: fast}
  tolerations: [{key: storage, operator: Exists}]
  priorityClassName: high
  annotations: {a: b}
  labels: {team: x, registry.dcos.io/registry: stolen}
storage: {local: {size: 20Gi, storageClassName: fast}}
service: {name: images, type: NodePort}
serviceAccount: {name: server, annotations: {role: arn}}
packages: {sources: {allowedHosts: [files.example], allowedCIDRs: [10.0.0.0/8], requireDigest: false}}
deletionPolicy: Delete
";

    #[test]
    fn an_empty_spec_builds_what_the_snapshot_has() {
        let registry = validated("{}");
        insta::assert_yaml_snapshot!("default_deployment", deployment(&registry));
        let built = foundations(&registry);
        insta::assert_yaml_snapshot!("default_service", built.service);
        insta::assert_yaml_snapshot!("default_claim", built.claim);
        let rights = rights(&registry);
        insta::assert_yaml_snapshot!("default_reviewer_binding", rights.reviewer_binding);
        insta::assert_yaml_snapshot!("default_publisher_binding", rights.publisher_binding);
    }

    #[test]
    fn a_full_spec_builds_what_the_snapshot_has() {
        let registry = validated(FULL);
        insta::assert_yaml_snapshot!("full_deployment", deployment(&registry));
        let built = foundations(&registry);
        insta::assert_yaml_snapshot!("full_service", built.service);
        insta::assert_yaml_snapshot!("full_claim", built.claim);
        insta::assert_yaml_snapshot!("full_service_account", built.service_account);
    }

    #[test]
    fn labels_of_the_operator_win_over_those_of_the_spec() {
        let built = deployment(&validated(FULL));
        let labels = built.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        assert_eq!(labels["registry.dcos.io/registry"], "registry");
        assert_eq!(labels["team"], "x");
    }

    #[test]
    fn a_kept_volume_has_no_owner_and_one_that_goes_has() {
        let owners = |spec: &str| storage::claim(&validated(spec)).metadata.owner_references;
        assert_eq!(owners("{}"), None);
        assert_eq!(owners("deletionPolicy: Delete").unwrap().len(), 1);
    }

    #[test]
    fn a_service_asks_for_the_addresses_it_had() {
        let registry = validated("{}");
        let addresses = ["10.96.0.7".to_owned(), "fd00::7".to_owned()];
        let spec = service::service(&registry, &addresses).spec.unwrap();
        assert_eq!(spec.cluster_ip.as_deref(), Some("10.96.0.7"));
        assert_eq!(spec.cluster_ips.as_deref(), Some(&addresses[..]));
        let spec = service::service(&registry, &[]).spec.unwrap();
        assert_eq!((spec.cluster_ip, spec.cluster_ips), (None, None));
    }
}
