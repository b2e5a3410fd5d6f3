//! The daemons' flags. Everything listens on loopback alone.

use std::path::Path;

/// Names and values.
pub(super) type Flags = Vec<(&'static str, String)>;

/// Every request once, when it is answered.
pub(super) const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
"omitStages": ["RequestReceived", "ResponseStarted"], "rules": [{"level": "Metadata"}]}"#;

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(super) fn etcd(folder: &Path, client: u16, peer: u16) -> Flags {
    vec![
        ("name", "etcd".to_owned()),
        ("data-dir", folder.join("etcd").display().to_string()),
        ("listen-client-urls", url(client)),
        ("advertise-client-urls", url(client)),
        ("listen-peer-urls", url(peer)),
        ("initial-advertise-peer-urls", url(peer)),
        ("initial-cluster", format!("etcd={}", url(peer))),
        ("log-level", "warn".to_owned()),
        ("logger", "zap".to_owned()),
    ]
}

pub(super) fn api_server(folder: &Path, port: u16, etcd: u16) -> Flags {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        ("etcd-servers", url(etcd)),
        ("bind-address", "127.0.0.1".to_owned()),
        ("advertise-address", "127.0.0.1".to_owned()),
        // Nobody reaches it through a Service, and loopback may not be an endpoint of one.
        ("endpoint-reconciler-type", "none".to_owned()),
        ("secure-port", port.to_string()),
        ("cert-dir", file("certs")),
        ("client-ca-file", file("ca.crt")),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("authorization-mode", "RBAC".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("service-cluster-ip-range", "10.0.0.0/22".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", file("service-accounts.pub")),
        ("service-account-signing-key-file", file("service-accounts.key")),
        ("audit-policy-file", file("audit-policy.json")),
        ("audit-log-path", file("audit.log")),
        ("audit-log-maxsize", "100000".to_owned()),
    ]
}

pub(super) fn controller_manager(folder: &Path) -> Flags {
    let file = |name: &str| folder.join(name).display().to_string();
    let controllers = [
        "garbage-collector-controller",
        "namespace-controller",
        "persistentvolume-protection-controller",
        "persistentvolumeclaim-protection-controller",
        "root-ca-certificate-publisher-controller",
        "serviceaccount-controller",
    ];
    vec![
        ("kubeconfig", file("admin.kubeconfig")),
        ("controllers", controllers.join(",")),
        ("leader-elect", "false".to_owned()),
        ("secure-port", "0".to_owned()),
        ("cert-dir", file("certs")),
        ("root-ca-file", file("ca.crt")),
    ]
}
