//! The cluster's keys and certificates: one authority for Kubernetes, one for etcd (so that no certificate that the cluster
//! signs opens etcd), one for the front proxy, and the key that signs service account tokens.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use snafu::ResultExt;

use super::{
    command::{create_folder, write},
    error::{CertificateSnafu, FileSnafu, Result},
    paths::state,
    versions::{API_SERVICE_ADDRESS, CLUSTER_DOMAIN, HOST_ADDRESS, NODES},
};

/// A certificate with its key and the authority that signed it, PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its private key.
    pub(crate) key: String,
    /// The authority's certificate.
    pub(crate) authority: String,
}

/// An authority that signs certificates.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What the API server and the kubeconfigs are made of. The files lie in the cluster's `pki/` folder.
pub(crate) struct Pki {
    /// Signs everything in Kubernetes.
    pub(crate) authority: Authority,
}

/// Where a file of the PKI lies.
pub(crate) fn file(name: &str) -> PathBuf {
    state("pki").join(name)
}

impl Authority {
    /// Makes a self-signed authority and writes `<name>.crt` and `<name>.key`.
    fn create(name: &str) -> Result<Self> {
        let (authority, key) = Self::generate(name)?;
        write(&file(&format!("{name}.crt")), &authority.certificate)?;
        write_secret(&file(&format!("{name}.key")), &key)?;
        Ok(authority)
    }

    /// Makes a self-signed authority; its key comes beside it, PEM.
    pub(crate) fn generate(name: &str) -> Result<(Self, String)> {
        let context = CertificateSnafu { name };
        let key = KeyPair::generate().context(context)?;
        let mut params = CertificateParams::new(Vec::new()).context(context)?;
        params.distinguished_name = distinguished_name(&format!("package-registry-e2e-{name}"), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context(context)?.pem();
        let key_pem = key.serialize_pem();
        Ok((Self { certificate, issuer: Issuer::new(params, key) }, key_pem))
    }

    /// Its certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate. `group` becomes its organization, which Kubernetes reads as the group of a user; `hosts` are the
    /// names and addresses that it serves.
    pub(crate) fn sign(&self, name: &str, group: Option<&str>, hosts: &[String]) -> Result<Identity> {
        let context = CertificateSnafu { name };
        let key = KeyPair::generate().context(context)?;
        let mut params = CertificateParams::new(hosts).context(context)?;
        params.distinguished_name = distinguished_name(name, group);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.issuer).context(context)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem(), authority: self.certificate.clone() })
    }

    fn sign_to_files(&self, file_name: &str, name: &str, group: Option<&str>, hosts: &[String]) -> Result<()> {
        let identity = self.sign(name, group, hosts)?;
        write(&file(&format!("{file_name}.crt")), identity.certificate)?;
        write_secret(&file(&format!("{file_name}.key")), &identity.key)
    }
}

fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, content: &str) -> Result<()> {
    write(path, "")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).context(FileSnafu { act: "protect", path })?;
    write(path, content)
}

/// The names and addresses under which the API server is reached.
fn api_server_hosts() -> Vec<String> {
    let mut hosts = vec![HOST_ADDRESS.to_string(), API_SERVICE_ADDRESS.to_string(), "kubernetes".to_owned()];
    hosts.extend(["default", "default.svc"].map(|rest| format!("kubernetes.{rest}")));
    hosts.push(format!("kubernetes.default.svc.{CLUSTER_DOMAIN}"));
    hosts
}

impl Pki {
    /// Makes all keys and certificates and writes them to the cluster's `pki/` folder.
    pub(crate) fn create() -> Result<Self> {
        create_folder(&state("pki"))?;
        let etcd = Authority::create("etcd-ca")?;
        etcd.sign_to_files("etcd", "etcd", None, &[HOST_ADDRESS.to_string()])?;
        etcd.sign_to_files("etcd-client", "kube-apiserver", None, &[])?;
        let authority = Authority::create("ca")?;
        authority.sign_to_files("apiserver", "kube-apiserver", None, &api_server_hosts())?;
        // The API server is every kubelet's administrator: logs, exec, port-forward.
        authority.sign_to_files(
            "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            Some("system:masters"),
            &[],
        )?;
        for node in NODES {
            let hosts = [node.name.to_owned(), node.address().to_string()];
            authority.sign_to_files(
                &node.daemon("kubelet"),
                &format!("system:node:{}", node.name),
                Some("system:nodes"),
                &hosts,
            )?;
        }
        // With an authority of its own, so that only the API server can speak for users to aggregated servers.
        let front_proxy = Authority::create("front-proxy-ca")?;
        front_proxy.sign_to_files("front-proxy-client", "front-proxy-client", None, &[])?;
        let service_accounts = KeyPair::generate().context(CertificateSnafu { name: "service accounts" })?;
        write_secret(&file("service-accounts.key"), &service_accounts.serialize_pem())?;
        write(&file("service-accounts.pub"), service_accounts.public_key_pem())?;
        Ok(Self { authority })
    }
}
