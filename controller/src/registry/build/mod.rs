//! Step 3: every child as it should be. Pure.

mod arguments;
mod bucket;
pub mod deployment;
pub mod disruption;
pub mod identity;
pub mod labels;
pub mod secrets;
pub mod service;
pub mod storage;
mod token_volume;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};

use super::validate::{Storage, Validated};
use crate::certificate::plan::Plan;

/// What nothing else has to be there for.
#[derive(Clone, Debug)]
pub struct Foundations {
    /// The volume's claim, where there is one.
    pub claim: Option<PersistentVolumeClaim>,
    /// The Service, with the addresses that it had.
    pub service: Service,
    /// The same with any address, for when those are somebody else's now.
    pub service_anywhere: Service,
    /// The serving pods' account.
    pub service_account: ServiceAccount,
    /// The account for publishing.
    pub publisher: ServiceAccount,
    /// How many pods may be evicted at a time, where there are several.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// The first part.
#[must_use]
pub fn foundations(registry: &Validated) -> Foundations {
    Foundations {
        claim: match &registry.storage {
            Storage::Local(volume) => Some(storage::claim(registry, volume)),
            Storage::S3(_) => None,
        },
        service: service::service(registry, &registry.service.cluster_ips),
        service_anywhere: service::service(registry, &[]),
        service_account: identity::service_account(registry),
        publisher: identity::publisher(registry),
        disruption_budget: disruption::budget(registry),
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
        dereference::Live,
        fixtures::{registry, settings},
        validate::validate,
    };

    fn validated(spec: &str) -> Validated {
        validate(&registry(spec), &Live::default(), &settings()).unwrap()
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

    const S3: &str = "
instances: 3
storage:
  s3:
    bucket: packages
    path: teams/blue
    endpoint: https://minio.example:9000
    credentialsSecretRef: {name: store}
    profile: blue
    caBundleRef: {name: store-ca, key: bundle.pem}
    serverSideEncryption: aws:kms:key-1
    redirect: true
packages: {onConflict: Replace, maxBytes: 2Gi}
garbageCollection: {interval: 1h30m, gracePeriod: 36h, dryRun: true}
";

    #[test]
    fn a_registry_on_a_bucket_builds_what_the_snapshot_has() {
        let registry = validated(S3);
        insta::assert_yaml_snapshot!("s3_deployment", deployment(&registry));
        let built = foundations(&registry);
        insta::assert_yaml_snapshot!("s3_disruption_budget", built.disruption_budget);
        assert_eq!(built.claim, None);
    }

    #[test]
    fn a_registry_on_amazons_store_names_what_the_spec_leaves_open() {
        let built = deployment(&validated("storage: {s3: {bucket: packages}}"));
        let pod = built.spec.unwrap().template.spec.unwrap();
        let arguments = pod.containers[0].args.as_ref().unwrap();
        let s3: Vec<&str> = arguments.iter().map(String::as_str).filter(|flag| flag.contains("s3")).collect();
        assert_eq!(s3, ["--storage=s3://packages", "--s3-region=us-east-1", "--s3-force-path-style=false"]);
        let volumes: Vec<String> = pod.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(volumes, ["tls", "tmp", "token"]);
    }

    #[test]
    fn one_instance_has_no_disruption_budget_and_needs_no_coordination_for_it_is_never_two() {
        let registry = validated("storage: {s3: {bucket: packages}}");
        assert_eq!(foundations(&registry).disruption_budget, None);
        let spec = deployment(&registry).spec.unwrap();
        assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("Recreate"));
        let pod = spec.template.spec.unwrap();
        assert!(!pod.containers[0].args.as_ref().unwrap().contains(&"--require-coordination".to_owned()));
        assert_eq!(pod.topology_spread_constraints, None);
    }

    #[test]
    fn a_spread_of_the_spec_takes_the_place_of_the_operators() {
        let spec = "{instances: 2, storage: {s3: {bucket: packages}}, podTemplate: {topologySpreadConstraints: [{maxSkew: 2, \
                    topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}}";
        let pod = deployment(&validated(spec)).spec.unwrap().template.spec.unwrap();
        let keys: Vec<String> =
            pod.topology_spread_constraints.unwrap().into_iter().map(|spread| spread.topology_key).collect();
        assert_eq!(keys, ["zone"]);
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
        let owners = |spec: &str| foundations(&validated(spec)).claim.unwrap().metadata.owner_references;
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
