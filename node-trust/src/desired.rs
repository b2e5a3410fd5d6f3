//! The content of the one ConfigMap: what every node should trust.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Key in the ConfigMap, and name of the file that it is mounted as.
pub const CONFIG_KEY: &str = "trust.json";

/// Annotation of the agent's pod template, and through the downward API its argument: the sha256 (hex) of [`CONFIG_KEY`]'s
/// bytes. An agent whose file has another hash waits for the kubelet to bring the new one and isn't Ready.
pub const HASH_ANNOTATION: &str = "registry.dcos.io/trust-hash";

/// The value of [`HASH_ANNOTATION`] for a file's bytes.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// All registries, sorted by namespace and name.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Desired {
    /// One entry a registry.
    pub registries: Vec<TrustedRegistry>,
}

/// One registry that nodes trust.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedRegistry {
    /// Namespace of the `PackageRegistry`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Host names that images are pulled by, without port; each gets a folder of its own.
    pub hosts: Vec<String>,
    /// Upstreams (`docker.io`) whose images this registry is asked for first.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Where nodes reach it: the Service's cluster IPs, all families, as plain addresses.
    pub addresses: Vec<String>,
    /// Port at these addresses.
    pub port: u16,
    /// PEM certificates that sign what it serves; during a rotation the old and the new one.
    pub ca_bundle: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_sha256_in_hex() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_file_is_spelt_as_agreed() {
        let text = r#"{"registries":[{"namespace":"packages","name":"main","hosts":["main.packages.svc"],"mirrors":["docker.io"],"addresses":["10.96.0.7","fd00::7"],"port":443,"caBundle":"PEM"}]}"#;
        let desired: Desired = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&desired).unwrap(), text);
    }
}
