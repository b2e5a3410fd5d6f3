//! Kubeconfig files.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    error::Result,
    paths,
    pki::{Identity, Pki, write_secret},
    versions::{API_PORT, HOST_ADDRESS, NODES},
};

/// Writes the kubeconfigs of the administrator and of every component.
pub(crate) fn write_all(pki: &Pki) -> Result<()> {
    let identity = pki.authority.sign("admin", Some("system:masters"), &[])?;
    write_secret(&paths::admin_kubeconfig(), &render("admin", &identity))?;
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        let identity = pki.authority.sign(&format!("system:{component}"), None, &[])?;
        write_secret(&paths::kubeconfig(component), &render(component, &identity))?;
    }
    for node in NODES {
        let identity = pki.authority.sign(&format!("system:node:{}", node.name), Some("system:nodes"), &[])?;
        write_secret(&paths::kubeconfig(&node.daemon("kubelet")), &render(node.name, &identity))?;
    }
    Ok(())
}

/// A kubeconfig; JSON is YAML.
fn render(user: &str, identity: &Identity) -> String {
    let cluster = "package-registry-e2e";
    let encode = |pem: &str| STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": format!("https://{HOST_ADDRESS}:{API_PORT}"),
            "certificate-authority-data": encode(&identity.authority),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": encode(&identity.certificate),
            "client-key-data": encode(&identity.key),
        }}],
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
        let config: serde_json::Value = serde_json::from_str(&render("someone", &identity)).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://10.230.0.1:6443");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode("ca"));
        assert_eq!(config["users"][0]["user"]["client-key-data"], STANDARD.encode("key"));
        assert_eq!(config["contexts"][0]["context"]["user"], config["users"][0]["name"]);
    }
}
