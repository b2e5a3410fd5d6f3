//! The configuration files of a node's parts, as text.

use serde_json::{Value, json};

use super::{
    container_images::PAUSE_IMAGE,
    paths, pki,
    versions::{CLUSTER_DOMAIN, DNS_ADDRESS, Node, POD_RANGE},
};

/// Where a node's containerd listens: the node has a `/run` of its own.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// The folder that tells containerd which registries to trust.
pub(crate) const TRUST_FOLDER: &str = "/etc/containerd/certs.d";

/// containerd's `config.toml`. Pods that mount `/etc/containerd` of the node see this file.
pub(crate) fn containerd(node: Node, snapshotter: &str) -> String {
    let root = node.state("containerd");
    let (root, cni) = (root.display(), node.state("cni"));
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Where root may not lower a process' chance of being killed, pods cannot start without this.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{TRUST_FOLDER}"
"#,
        cni = cni.display()
    )
}

/// The CNI configuration: a bridge in the node, addresses from the node's range.
pub(crate) fn cni(node: Node) -> String {
    text(&json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.pod_range()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    }))
}

/// kubelet's configuration.
pub(crate) fn kubelet(node: Node) -> String {
    let name = node.daemon("kubelet");
    text(&json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki::file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki::file(&format!("{name}.crt")),
        "tlsPrivateKeyFile": pki::file(&format!("{name}.key")),
        "clusterDNS": [DNS_ADDRESS.to_string()],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": node.state("resolv.conf"),
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "serializeImagePulls": false,
        // The machine's disk is not the cluster's to judge.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }))
}

/// What pods that take DNS from the node get, and nodes have none: an address that refuses at once.
pub(crate) const RESOLV_CONF: &str = "nameserver 127.0.0.1\n";

/// kube-proxy's configuration.
pub(crate) fn kube_proxy(node: Node) -> String {
    text(&json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": paths::kubeconfig("kube-proxy")},
        "hostnameOverride": node.name,
        "clusterCIDR": POD_RANGE,
        // Only the machine's own network namespace may set these; 0 leaves them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "250ms"},
        "oomScoreAdj": 0,
    }))
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::versions::NODES;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn containerd_reads_its_trust_from_the_folder_that_agents_write() {
        let config = containerd(NODES[0], "overlayfs");
        assert!(config.contains("config_path = \"/etc/containerd/certs.d\""), "{config}");
        assert!(config.contains("restrict_oom_score_adj = true"), "{config}");
    }

    #[test]
    fn two_nodes_share_neither_addresses_nor_cgroups_nor_folders() {
        let [one, two] = NODES;
        let range = |node| json(&cni(node))["plugins"][0]["ipam"]["ranges"].clone();
        assert_eq!(range(one)[0][0]["subnet"], "10.231.1.0/24");
        assert_eq!(range(two)[0][0]["subnet"], "10.231.2.0/24");
        assert_eq!(json(&kubelet(one))["cgroupRoot"], "/package-registry-e2e-node1");
        assert_eq!(json(&kubelet(two))["cgroupRoot"], "/package-registry-e2e-node2");
        assert_ne!(containerd(one, "overlayfs"), containerd(two, "overlayfs"));
        assert_eq!(json(&kube_proxy(two))["hostnameOverride"], "node2");
    }
}
