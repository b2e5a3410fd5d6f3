//! Versions, names and addresses of everything that the cluster is made of.

use std::net::Ipv4Addr;

/// Kubernetes: 1.35 is the last minor version that works with containerd 1.6.
pub(crate) const KUBERNETES: &str = "v1.35.4";
/// `CoreDNS`, from a main of our own.
pub(crate) const COREDNS: &str = "v1.15.0";
/// The provisioner behind the default storage class.
pub(crate) const LOCAL_PATH_PROVISIONER: &str = "v0.0.30";
/// `MinIO`, for tests that keep content in a bucket; its module has no tagged versions.
pub(crate) const MINIO: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
/// A second S3 server, by other people, over a POSIX folder.
pub(crate) const VERSITYGW: &str = "v1.8.0";
/// CNCF Distribution, which `make bench` measures beside ours.
pub(crate) const DISTRIBUTION: &str = "v3.1.2";
/// cosign, whose signatures and ours must be good to each other.
pub(crate) const COSIGN: &str = "v3.1.3";
/// Our own pause program; raise it when `pause.c` changes.
pub(crate) const PAUSE: &str = "v1";
/// Raised when the content of the harness' own images changes otherwise than by the versions above.
pub(crate) const IMAGE_RECIPE: &str = "r1";
/// The oldest Go that builds all of them, as (major, minor).
pub(crate) const GO: (u32, u32) = (1, 26);

/// Clients of a registry, and the specification's own tests, which are a client too.
pub(crate) const CRANE: &str = "v0.22.1";
/// See [`CRANE`].
pub(crate) const ORAS: &str = "v1.3.6";
/// See [`CRANE`].
pub(crate) const HELM: &str = "v4.3.1";
/// See [`CRANE`].
pub(crate) const CONFORMANCE: &str = "v0.0.0-20260831232431-97274622c111";

/// Docker, as the Debian has it that this is raised for.
pub(crate) const DOCKER: &str = "debian-12";

/// Debian packages of clients of a registry.
pub(crate) const CLIENT_PACKAGES: [&str; 3] = ["containerd", "podman", "skopeo"];

/// Debian packages: the runtime, its plugins, what kubelet and kube-proxy call, a C compiler for the pause program,
/// and the clients that the tests call.
pub(crate) const DEBIAN_PACKAGES: [&str; 17] = [
    "busybox-static",
    "conntrack",
    "curl",
    "containerd",
    "containernetworking-plugins",
    "etcd-server",
    "ethtool",
    "gcc",
    "iproute2",
    "ipset",
    "iptables",
    "libc6-dev",
    "mount",
    "runc",
    "skopeo",
    "socat",
    "util-linux",
];

/// The bridge between the nodes, in the machine's own network namespace.
pub(crate) const BRIDGE: &str = "pkgreg0";
/// The bridge's address: the API server and etcd listen on it, and on nothing else.
pub(crate) const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 230, 0, 1);
/// Prefix length of the nodes' network.
pub(crate) const NODE_PREFIX: u8 = 24;
/// All pods.
pub(crate) const POD_RANGE: &str = "10.231.0.0/16";
/// All services.
pub(crate) const SERVICE_RANGE: &str = "10.232.0.0/16";
/// The service `kubernetes.default`: the first address of the range.
pub(crate) const API_SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 232, 0, 1);
/// The cluster's DNS service.
pub(crate) const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 232, 0, 10);
/// The DNS suffix of services.
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";
/// Where the API server listens.
pub(crate) const API_PORT: u16 = 6443;
/// Where etcd listens.
pub(crate) const ETCD_PORT: u16 = 2379;

/// One of the two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name in the API.
    pub(crate) name: &'static str,
    /// Its number: the last part of addresses.
    number: u8,
}

/// The nodes.
pub(crate) const NODES: [Node; 2] = [Node { name: "node1", number: 1 }, Node { name: "node2", number: 2 }];

impl Node {
    /// Its address on the bridge's network.
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 230, 0, 10 + self.number)
    }

    /// The addresses of its pods.
    pub(crate) fn pod_range(self) -> String {
        format!("10.231.{}.0/24", self.number)
    }

    /// The machine's end of its veth pair.
    pub(crate) fn host_link(self) -> String {
        format!("pkgreg-{}", self.name)
    }

    /// Its folder in every cgroup hierarchy, as kubelet's `cgroupRoot` without the slash.
    pub(crate) fn cgroup(self) -> String {
        format!("package-registry-e2e-{}", self.name)
    }
}
