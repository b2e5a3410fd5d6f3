//! etcd, API server, controller-manager and scheduler. All of them listen on the bridge's address alone, so that nothing else
//! on the machine can hold their ports.

use std::{path::Path, process::Command, time::Duration};

use serde_json::json;

use super::{
    command::{output, run, write},
    daemon,
    error::Result,
    journal::{Journal, Process},
    paths::{self, state},
    pki::file,
    versions::{API_PORT, ETCD_PORT, HOST_ADDRESS, POD_RANGE, SERVICE_RANGE},
    wait,
};

type Flags = Vec<(&'static str, String)>;

/// Who signs service account tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn pki(name: &str) -> String {
    file(name).display().to_string()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Starts etcd and the API server and waits until it is ready.
pub(crate) fn start_api_server(journal: &mut Journal) -> Result<Process> {
    let audit_policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}],
    });
    write(&state("audit-policy.json"), audit_policy.to_string())?;
    daemon::start(journal, "etcd", daemon::flags(Path::new("etcd"), &etcd_flags()))?;
    daemon::start(journal, "kube-apiserver", daemon::flags(&paths::kubernetes("kube-apiserver"), &api_server_flags()))
}

/// Waits until the API server says that it is ready. The others end at once when they start before.
pub(crate) fn await_ready(api_server: &Process) -> Result<()> {
    wait::until("the start of the API server", Duration::from_secs(90), || {
        if !daemon::is_alive(api_server) {
            return Ok(daemon::check_alive(api_server));
        }
        let answer = output(kubectl().args(["get", "--raw", "/readyz"])).map_err(|error| error.to_string())?;
        if answer.status.success() { Ok(Ok(())) } else { Err(String::from_utf8_lossy(&answer.stderr).into_owned()) }
    })?
}

/// Starts controller-manager and scheduler.
pub(crate) fn start_controllers(journal: &mut Journal) -> Result<()> {
    let parts = [
        ("kube-controller-manager", controller_manager_flags()),
        ("kube-scheduler", component_flags("kube-scheduler")),
    ];
    for (name, flags) in parts {
        daemon::start(journal, name, daemon::flags(&paths::kubernetes(name), &flags))?;
    }
    Ok(())
}

/// `kubectl` as the cluster's administrator.
pub(crate) fn kubectl() -> Command {
    let mut command = Command::new(paths::kubectl());
    command.arg("--kubeconfig").arg(paths::admin_kubeconfig()).arg("--request-timeout=30s");
    command
}

/// Applies manifests from a file.
pub(crate) fn apply(manifest: &Path) -> Result<()> {
    run(kubectl().args(["apply", "--server-side", "-f"]).arg(manifest))?;
    Ok(())
}

fn etcd_flags() -> Flags {
    let url = |port: u16| format!("https://{HOST_ADDRESS}:{port}");
    let (client, peer) = (url(ETCD_PORT), url(ETCD_PORT + 1));
    let certificate = |kind: &str| (pki(&format!("{kind}.crt")), pki(&format!("{kind}.key")));
    let (certificate, key) = certificate("etcd");
    vec![
        ("name", "etcd".to_owned()),
        ("data-dir", path(&state("etcd"))),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("etcd={peer}")),
        ("client-cert-auth", "true".to_owned()),
        ("trusted-ca-file", pki("etcd-ca.crt")),
        ("cert-file", certificate.clone()),
        ("key-file", key.clone()),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-trusted-ca-file", pki("etcd-ca.crt")),
        ("peer-cert-file", certificate),
        ("peer-key-file", key),
    ]
}

fn api_server_flags() -> Flags {
    let mut flags = serving_flags();
    flags.extend(audit_flags());
    flags.extend([
        ("etcd-servers", format!("https://{HOST_ADDRESS}:{ETCD_PORT}")),
        ("etcd-cafile", pki("etcd-ca.crt")),
        ("etcd-certfile", pki("etcd-client.crt")),
        ("etcd-keyfile", pki("etcd-client.key")),
        ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-certificate-authority", pki("ca.crt")),
        // Without it, exec and logs look the node's name up in DNS.
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-issuer", ISSUER.to_owned()),
        ("service-account-key-file", pki("service-accounts.pub")),
        ("service-account-signing-key-file", pki("service-accounts.key")),
    ]);
    flags
}

fn serving_flags() -> Flags {
    vec![
        ("bind-address", HOST_ADDRESS.to_string()),
        ("advertise-address", HOST_ADDRESS.to_string()),
        ("secure-port", API_PORT.to_string()),
        ("client-ca-file", pki("ca.crt")),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
    ]
}

/// One file that is never rotated, so that tests can read what happened since any moment.
fn audit_flags() -> Flags {
    vec![
        ("audit-policy-file", path(&state("audit-policy.json"))),
        ("audit-log-path", path(&paths::audit_log())),
        ("audit-log-maxsize", "100000".to_owned()),
    ]
}

fn component_flags(component: &str) -> Flags {
    let kubeconfig = path(&paths::kubeconfig(component));
    vec![
        ("kubeconfig", kubeconfig.clone()),
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig),
        ("bind-address", HOST_ADDRESS.to_string()),
        ("leader-elect", "false".to_owned()),
    ]
}

fn controller_manager_flags() -> Flags {
    let mut flags = component_flags("kube-controller-manager");
    flags.extend([
        ("controllers", "*,bootstrapsigner,tokencleaner".to_owned()),
        // Each node's CNI configuration names its range itself.
        ("allocate-node-cidrs", "false".to_owned()),
        ("cluster-cidr", POD_RANGE.to_owned()),
        ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
        ("use-service-account-credentials", "true".to_owned()),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("service-accounts.key")),
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-key-file", pki("ca.key")),
        ("flex-volume-plugin-dir", path(&state("volume-plugins"))),
    ]);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(flags: &Flags, name: &str) -> String {
        flags.iter().find(|(flag, _)| *flag == name).unwrap().1.clone()
    }

    #[test]
    fn whoever_the_cluster_signs_for_cannot_open_etcd() {
        assert_ne!(
            value(&etcd_flags(), "trusted-ca-file"),
            value(&controller_manager_flags(), "cluster-signing-cert-file")
        );
        assert_eq!(value(&api_server_flags(), "etcd-cafile"), value(&etcd_flags(), "trusted-ca-file"));
    }

    #[test]
    fn tokens_are_signed_and_checked_with_one_pair_of_keys() {
        let (server, manager) = (api_server_flags(), controller_manager_flags());
        assert_eq!(
            value(&server, "service-account-signing-key-file"),
            value(&manager, "service-account-private-key-file")
        );
    }
}
