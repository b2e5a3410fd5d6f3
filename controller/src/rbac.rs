//! What the operator may do, as a table: `manifests/rbac/controller.yaml`, `own-namespace.yaml` and `node-trust.yaml` are
//! written from it, so that a right stands beside the code that needs it.

use std::fmt::Write as _;

/// One rule.
pub struct Rule {
    /// Why it is needed.
    pub why: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resources, with their sub-resources.
    pub resources: &'static [&'static str],
    /// Names it is limited to; empty for all.
    pub names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// A `ClusterRole` or a `Role` with its binding to the operator's account.
pub struct Grant {
    /// Name of role and binding.
    pub name: &'static str,
    /// Namespace of a `Role`; `None` for a `ClusterRole`.
    pub namespace: Option<&'static str>,
    /// What it allows.
    pub rules: &'static [Rule],
}

/// Namespace of the operator in the manifests; an overlay may change it.
const OPERATOR: &str = "package-registry-system";
/// Server-side apply of an object that may not be there needs `create` beside `patch`; and some clusters let only who may
/// delete an object change its owner, which `deletionPolicy` and a repaired child need.
const APPLY: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Everything in the cluster.
pub const CONTROLLER: Grant = Grant {
    name: "package-registry-controller",
    namespace: None,
    rules: &[
        Rule {
            why: "Whether the kinds are there, before they are watched.",
            group: "apiextensions.k8s.io",
            resources: &["customresourcedefinitions"],
            names: &["packageregistries.registry.dcos.io", "packages.registry.dcos.io"],
            verbs: &["get"],
        },
        Rule {
            why: "The objects themselves; finalizers are patched.",
            group: "registry.dcos.io",
            resources: &["packageregistries", "packages"],
            names: &[],
            verbs: &["get", "list", "watch", "patch"],
        },
        Rule {
            why: "What was uploaded gets a Package, and one whose removal was asked for at the registry loses it.",
            group: "registry.dcos.io",
            resources: &["packages"],
            names: &[],
            verbs: &["create", "delete"],
        },
        Rule {
            why: "Their status.",
            group: "registry.dcos.io",
            resources: &["packageregistries/status", "packages/status"],
            names: &[],
            verbs: &["patch"],
        },
        Rule {
            why: "Some clusters ask for this before an owner may block its children's deletion.",
            group: "registry.dcos.io",
            resources: &["packageregistries/finalizers"],
            names: &[],
            verbs: &["update"],
        },
        Rule {
            why: "Children that are renamed with the spec: what isn't built any more is deleted.",
            group: "",
            resources: &["services", "serviceaccounts"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "Other children; they go with their owner.",
            group: "",
            resources: &["configmaps", "persistentvolumeclaims"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "The volumes of nodes' folders (storage.volume.hostPath); cluster-scoped, they go by finalizer.",
            group: "",
            resources: &["persistentvolumes"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "The host name of the node that has such a folder: a volume's affinity knows labels alone.",
            group: "",
            resources: &["nodes"],
            names: &[],
            verbs: &["get"],
        },
        Rule {
            why: "Its own Secrets and those that users name: by name, never listed.",
            group: "",
            resources: &["secrets"],
            names: &[],
            verbs: &["get", "create", "patch", "delete"],
        },
        Rule { why: "The serving pods.", group: "apps", resources: &["deployments"], names: &[], verbs: APPLY },
        Rule {
            why: "How many of several serving pods may be evicted at a time.",
            group: "policy",
            resources: &["poddisruptionbudgets"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "Why a pod or a claim isn't ready, for the registry's status; which pods use a package's images.",
            group: "",
            resources: &["pods", "events"],
            names: &[],
            verbs: &["list"],
        },
        Rule {
            why: "What uses a package's images although it has no pods now, before the package is removed.",
            group: "apps",
            resources: &["statefulsets"],
            names: &[],
            verbs: &["list"],
        },
        Rule { why: "As above.", group: "batch", resources: &["cronjobs", "jobs"], names: &[], verbs: &["list"] },
        Rule {
            why: "A package whose namespace goes doesn't wait for its users.",
            group: "",
            resources: &["namespaces"],
            names: &[],
            verbs: &["get"],
        },
        Rule {
            why: "Tokens of the publisher accounts, with the registry's audience.",
            group: "",
            resources: &["serviceaccounts/token"],
            names: &[],
            verbs: &["create"],
        },
        Rule {
            why: "Who may publish in a registry's namespace.",
            group: "rbac.authorization.k8s.io",
            resources: &["rolebindings"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "The right to ask for reviews is cluster-scoped; its binding goes by finalizer.",
            group: "rbac.authorization.k8s.io",
            resources: &["clusterrolebindings"],
            names: &[],
            verbs: APPLY,
        },
        Rule {
            why: "The two roles that it binds, and no others.",
            group: "rbac.authorization.k8s.io",
            resources: &["clusterroles"],
            names: &["package-registry-reviewer", "package-registry-publisher"],
            verbs: &["bind"],
        },
        Rule {
            why: "Events.",
            group: "events.k8s.io",
            resources: &["events"],
            names: &[],
            verbs: &["create", "patch"],
        },
    ],
};

/// The operator's own namespace.
pub const OWN_NAMESPACE: Grant = Grant {
    name: "package-registry-controller",
    namespace: Some(OPERATOR),
    rules: &[
        Rule {
            why: "Its own pod: serving pods and agents run from the same image.",
            group: "",
            resources: &["pods"],
            names: &[],
            verbs: &["get"],
        },
        Rule {
            why: "The lease of the leader; a name can't limit its creation.",
            group: "coordination.k8s.io",
            resources: &["leases"],
            names: &[],
            verbs: &["create"],
        },
        Rule {
            why: "The one lease.",
            group: "coordination.k8s.io",
            resources: &["leases"],
            names: &["package-registry-controller"],
            verbs: &["get", "update"],
        },
    ],
};

/// The agents' namespace.
pub const NODE_TRUST: Grant = Grant {
    name: "package-registry-node-trust",
    namespace: Some("package-registry-system-node-trust"),
    rules: &[Rule {
        why: "The one DaemonSet of the agents; their ConfigMap and pods are in the ClusterRole.",
        group: "apps",
        resources: &["daemonsets"],
        names: &[],
        verbs: APPLY,
    }],
};

/// A grant as YAML: the role and its binding.
#[must_use]
pub fn yaml(grant: &Grant) -> String {
    let prefix = if grant.namespace.is_some() { "" } else { "Cluster" };
    let namespace = grant.namespace.map(|name| format!("  namespace: {name}\n")).unwrap_or_default();
    let name = grant.name;
    let mut text = format!(
        "# Generated by `make generate`; the table is in controller/src/rbac.rs.\napiVersion: rbac.authorization.k8s.io/v1\n\
         kind: {prefix}Role\nmetadata:\n  name: {name}\n{namespace}rules:\n"
    );
    for rule in grant.rules {
        let group = if rule.group.is_empty() { "\"\"" } else { rule.group };
        let _ = write!(
            text,
            "  # {}\n  - apiGroups: [{group}]\n    resources: [{}]\n",
            rule.why,
            rule.resources.join(", ")
        );
        if !rule.names.is_empty() {
            let _ = writeln!(text, "    resourceNames: [{}]", rule.names.join(", "));
        }
        let _ = writeln!(text, "    verbs: [{}]", rule.verbs.join(", "));
    }
    let _ = write!(
        text,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}RoleBinding\nmetadata:\n  name: {name}\n{namespace}roleRef:\n  \
         apiGroup: rbac.authorization.k8s.io\n  kind: {prefix}Role\n  name: {name}\nsubjects:\n  - kind: ServiceAccount\n    \
         name: package-registry-controller\n    namespace: {OPERATOR}\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_has_a_wildcard_and_secrets_are_never_listed() {
        for rule in [&CONTROLLER, &OWN_NAMESPACE, &NODE_TRUST].into_iter().flat_map(|grant| grant.rules) {
            let words = rule.resources.iter().chain(rule.verbs).chain(rule.names).chain([&rule.group]);
            assert!(words.into_iter().all(|word| !word.contains('*')), "{}", rule.why);
            let broad = rule.verbs.iter().any(|verb| ["list", "watch"].contains(verb));
            assert!(!(broad && rule.resources.contains(&"secrets")), "{}", rule.why);
        }
    }

    #[test]
    fn a_role_is_written_with_its_namespace_and_its_binding() {
        let text = yaml(&OWN_NAMESPACE);
        assert_eq!(text.matches("  namespace: package-registry-system\n").count(), 3);
        assert!(
            text.contains("kind: RoleBinding") && text.contains("resourceNames: [package-registry-controller]"),
            "{text}"
        );
        assert!(yaml(&CONTROLLER).contains("kind: ClusterRoleBinding"));
    }
}
