//! Step 3: every child as it should be. Pure.

mod arguments;
mod bucket;
pub mod deployment;
pub mod disruption;
pub mod folder;
pub mod identity;
pub mod labels;
pub mod secrets;
pub mod service;
pub mod storage;
mod token_volume;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};

use super::validate::{ExistingVolume, Source, Storage, Validated};
use crate::certificate::plan::Plan;

/// What nothing else has to be there for.
#[derive(Clone, Debug)]
pub struct Foundations {
    /// The volume of a node's folder, where the spec names one that can be used.
    pub volume: Option<PersistentVolume>,
    /// The claim, unless it is the user's or there is none to make.
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
    let (volume, claim) = match &registry.storage {
        Storage::Local(volume) => (None, Some(storage::claim(registry, volume))),
        Storage::Existing(ExistingVolume { source: Source::Folder(folder), objection: None, .. }) => {
            (Some(folder::volume(registry, folder)), Some(folder::claim(registry)))
        }
        Storage::Existing(_) | Storage::S3(_) => (None, None),
    };
    Foundations {
        volume,
        claim,
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

/// The second part; `former` as [`identity::former_accounts`] has them.
#[must_use]
pub fn rights(registry: &Validated, former: &[&ServiceAccount]) -> Rights {
    Rights {
        publisher_binding: identity::publisher_binding(registry),
        reviewer_binding: identity::reviewer_binding(registry, former),
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
        let rights = rights(&registry, &[]);
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

    const FOLDER: &str = "storage: {volume: {hostPath: /srv/packages, nodeName: n1, containerPath: packages}}";

    /// The registry with that spec on a folder of the node `n1`, whose host name is another one, in a privileged namespace.
    fn on_folder(spec: &str, claim: serde_json::Value) -> Validated {
        let mut object = registry(spec);
        object.metadata.namespace = Some("ops".into());
        let node = serde_json::json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "host-1"}}});
        let live = Live {
            node: Some(serde_json::from_value(node).unwrap()),
            claim: serde_json::from_value(claim).unwrap(),
            ..Live::default()
        };
        validate(&object, &live, &settings()).unwrap()
    }

    #[test]
    fn a_registry_on_a_folder_builds_what_the_snapshot_has() {
        let registry = on_folder(FOLDER, serde_json::Value::Null);
        insta::assert_yaml_snapshot!("folder_deployment", deployment(&registry));
        let built = foundations(&registry);
        insta::assert_yaml_snapshot!("folder_volume", built.volume);
        insta::assert_yaml_snapshot!("folder_claim", built.claim);
    }

    #[test]
    fn the_volume_of_a_folder_is_held_for_the_claim_that_is_there() {
        let held_for = |claim| {
            let spec = foundations(&on_folder(FOLDER, claim)).volume.unwrap().spec.unwrap();
            spec.claim_ref.unwrap().uid
        };
        assert_eq!(held_for(serde_json::Value::Null), None);
        let claim = serde_json::json!({"metadata": {"name": "registry-volume", "uid": "second"}});
        assert_eq!(held_for(claim).as_deref(), Some("second"));
    }

    #[test]
    fn the_claim_of_a_folder_goes_by_policy_and_its_volume_by_finalizer() {
        let delete = format!("{{{FOLDER}, deletionPolicy: Delete}}");
        for (spec, owned) in [(FOLDER, false), (&delete, true)] {
            let built = foundations(&on_folder(spec, serde_json::Value::Null));
            assert_eq!(built.claim.unwrap().metadata.owner_references.is_some(), owned);
            assert_eq!(built.volume.unwrap().metadata.owner_references, None);
        }
    }

    #[test]
    fn a_folder_that_may_not_be_used_has_neither_volume_nor_claim() {
        let built = foundations(&validated(FOLDER));
        assert_eq!((built.volume, built.claim), (None, None));
    }

    #[test]
    fn a_claim_of_the_user_is_mounted_and_never_built() {
        let registry = validated("storage: {volume: {claimName: mine, containerPath: /srv/packages}}");
        let built = foundations(&registry);
        assert_eq!((built.volume, built.claim), (None, None));
        let pod = deployment(&registry).spec.unwrap().template.spec.unwrap();
        let volume = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "storage").unwrap();
        assert_eq!(volume.persistent_volume_claim.unwrap().claim_name, "mine");
        let container = &pod.containers[0];
        let mounts = container.volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().any(|mount| mount.name == "storage" && mount.mount_path == "/srv/packages"));
        assert!(container.args.as_ref().unwrap().contains(&"--storage=file:///srv/packages".to_owned()));
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
