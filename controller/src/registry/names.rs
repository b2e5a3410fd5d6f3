//! Names of what belongs to a registry. One place knows them.

/// Names of the children of one registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    namespace: String,
    registry: String,
}

impl Names {
    /// The names for the registry `registry` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, registry: &str) -> Self {
        Self { namespace: namespace.to_owned(), registry: registry.to_owned() }
    }

    /// The Deployment, and what is called like the registry unless its spec says otherwise.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The `PersistentVolumeClaim`.
    #[must_use]
    pub fn claim(&self) -> String {
        self.registry.clone()
    }

    /// The claim of a node's folder. Another name than [`Self::claim`]: a claim can't change its volume, and that of a registry
    /// of before may have been kept.
    #[must_use]
    pub fn folder_claim(&self) -> String {
        format!("{}-volume", self.registry)
    }

    /// The `PersistentVolume` of a node's folder. Volumes have no namespace, and a namespace's name has no dot.
    #[must_use]
    pub fn folder_volume(&self) -> String {
        format!("package-registry.{}.{}", self.namespace, self.registry)
    }

    /// The Secret of the certificate authority, and the ConfigMap with its public half.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}-ca", self.registry)
    }

    /// The Secret that serving pods mount.
    #[must_use]
    pub fn serving(&self) -> String {
        format!("{}-tls", self.registry)
    }

    /// The account that may publish, and its `RoleBinding`.
    #[must_use]
    pub fn publisher(&self) -> String {
        format!("{}-publisher", self.registry)
    }

    /// The `ClusterRoleBinding` of the serving pods.
    #[must_use]
    pub fn reviewer(&self) -> String {
        format!("package-registry:{}:{}", self.namespace, self.registry)
    }

    /// Audience of tokens for the registry's server.
    #[must_use]
    pub fn audience(&self) -> String {
        format!("{}/{}/{}", crds::GROUP, self.namespace, self.registry)
    }
}
