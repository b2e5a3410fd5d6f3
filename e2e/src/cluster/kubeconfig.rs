//! Kubeconfig files.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    error::Result,
    paths,
    pki::{Identity, Pki, write_secret},
    versions::{API_PORT, HOST_ADDRESS, NODES},
};

/// Writes the kubeconfigs of the administrator and of every component.
pub(crate) fn write_all(pki: &Pki) -> Result<()> {
    let identity = pki.authority.sign("admin", Some("system:masters"), &[])?;
    write_secret(&paths::admin_kubeconfig(), &render(&server(), "admin", &identity))?;
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        let identity = pki.authority.sign(&format!("system:{component}"), None, &[])?;
        write_secret(&paths::kubeconfig(component), &render(&server(), component, &identity))?;
    }
    for node in NODES {
        let identity = pki.authority.sign(&format!("system:node:{}", node.name), Some("system:nodes"), &[])?;
        write_secret(&paths::kubeconfig(&node.daemon("kubelet")), &render(&server(), node.name, &identity))?;
    }
    Ok(())
}

/// Where the cluster's API server is.
fn server() -> String {
    format!("https://{HOST_ADDRESS}:{API_PORT}")
}

/// The kubeconfig of somebody with a certificate.
pub(crate) fn render(server: &str, user: &str, identity: &Identity) -> String {
    let credentials = json!({
        "client-certificate-data": STANDARD.encode(&identity.certificate),
        "client-key-data": STANDARD.encode(&identity.key),
    });
    render_with(server, user, &identity.authority, &credentials)
}

/// The kubeconfig of somebody with a bearer token.
pub(crate) fn render_token(server: &str, user: &str, authority: &str, token: &str) -> String {
    render_with(server, user, authority, &json!({"token": token}))
}

/// JSON is YAML.
fn render_with(server: &str, user: &str, authority: &str, credentials: &Value) -> String {
    let cluster = "package-registry-e2e";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_the_api_server_and_carries_the_whole_identity() {
        let identity = Identity { certificate: "cert".to_owned(), key: "key".to_owned(), authority: "ca".to_owned() };
        let config: serde_json::Value = serde_json::from_str(&render(&server(), "someone", &identity)).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://10.230.0.1:6443");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode("ca"));
        assert_eq!(config["users"][0]["user"]["client-key-data"], STANDARD.encode("key"));
        assert_eq!(config["contexts"][0]["context"]["user"], config["users"][0]["name"]);
    }
}
