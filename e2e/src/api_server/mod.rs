//! A real API server without nodes: etcd, kube-apiserver and of the controller-manager what deletes, on loopback ports of
//! their own and in a temporary folder. Whatever a kubelet would say, tests say.
//!
//! [`ApiServer`] starts it, [`Operator`] runs the controller's binary against it, [`AuditLog`] tells who asked for what.

mod audit;
mod daemons;
mod flags;
mod operator;

pub use audit::{AuditLog, Moment, Request};
pub use operator::{Controller, NAMESPACE, Operator, TRUST_NAMESPACE};

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::KeyPair;
use snafu::{ResultExt as _, Whatever};

use self::daemons::Daemons;
use crate::cluster::{
    Cluster,
    command::{output, write},
    go_build, kubeconfig, paths,
    pki::{Authority, Identity, write_secret},
    prerequisites,
    progress::Progress,
    up, wait,
};

/// A running API server. Its end, or that of the process that started it, ends its daemons and removes its folder.
pub struct ApiServer {
    // Before the folder's path is forgotten, the daemons that live in it end.
    daemons: Daemons,
    authority: Authority,
    port: u16,
    cluster: Cluster,
}

impl ApiServer {
    /// Starts etcd and the API server and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing that can't be installed or built, or the server doesn't start: the message carries the end
    /// of its log.
    pub fn start() -> Result<Self, Whatever> {
        ensure_programs()?;
        let folder = tempfile::Builder::new().prefix("package-registry-api-server-").tempdir();
        let folder = folder.whatever_context("cannot make a temporary folder")?.keep();
        let daemons = Daemons::begin(folder.clone())?;
        let (port, etcd, peer) = (free_port()?, free_port()?, free_port()?);
        let (authority, _) = Authority::generate("api-server").whatever_context("cannot make certificates")?;
        write_identities(&authority, &folder, port).whatever_context("cannot write certificates")?;
        write(&folder.join("audit-policy.json"), flags::AUDIT_POLICY)
            .whatever_context("cannot write the audit policy")?;
        daemons.start("etcd", Path::new("etcd"), &flags::etcd(&folder, etcd, peer))?;
        let program = paths::kubernetes("kube-apiserver");
        daemons.start("kube-apiserver", &program, &flags::api_server(&folder, port, etcd))?;
        let cluster = Cluster::foreign(folder.join("admin.kubeconfig"), folder.join("discovery"));
        let server = Self { daemons, authority, port, cluster };
        server.await_ready()?;
        Ok(server)
    }

    /// Starts the parts of the controller-manager that delete: garbage collector, namespaces, protection of claims and volumes; and those
    /// that every namespace has its account and authority from. Kinds that are defined before are known to it at once.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_collectors(&self) -> Result<(), Whatever> {
        let program = paths::kubernetes("kube-controller-manager");
        self.daemons.start("kube-controller-manager", &program, &flags::controller_manager(self.folder()))
    }

    /// The API server as its administrator sees it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Who asked for what.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.folder().join("audit.log"))
    }

    /// Everything that belongs to it lies here.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.daemons.folder()
    }

    /// Writes a kubeconfig for a ServiceAccount, with a token that the API server gives for it.
    fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf, Whatever> {
        let token = self
            .cluster
            .kubectl(&["create", "token", account, "-n", namespace, "--duration=4h"])
            .whatever_context(format!("no token for ServiceAccount {namespace}/{account}"))?;
        let path = self.folder().join(format!("{account}.kubeconfig"));
        let text = kubeconfig::render_token(&address(self.port), account, self.authority.certificate(), token.trim());
        write_secret(&path, &text).whatever_context("cannot write a kubeconfig")?;
        Ok(path)
    }

    fn await_ready(&self) -> Result<(), Whatever> {
        let ready = wait::until("the start of the API server", Duration::from_mins(1), || {
            let mut command = self.cluster.kubectl_command();
            let answer = output(command.args(["--request-timeout=5s", "get", "--raw", "/readyz"]));
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&answer.stderr).into_owned()) }
        });
        ready.with_whatever_context(|error| {
            format!("{error}\nThe end of its log:\n{}", self.daemons.log_end("kube-apiserver"))
        })
    }
}

/// What is missing on the machine is installed and built, as for the whole cluster.
fn ensure_programs() -> Result<(), Whatever> {
    let programs = ["kube-apiserver", "kube-controller-manager", "kubectl"];
    let built = programs.iter().all(|program| paths::kubernetes(program).exists());
    if built && daemons::is_in_path("etcd") && daemons::is_in_path("setpriv") {
        return Ok(());
    }
    let progress = Progress::start();
    prerequisites::ensure_all(&progress).whatever_context("the API server can't run here")?;
    let _lock = up::lock().whatever_context("cannot wait for other builds")?;
    go_build::ensure_kubernetes(&progress).whatever_context("the API server can't be built")
}

/// A port of loopback that nothing listens on now.
fn free_port() -> Result<u16, Whatever> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).whatever_context("no free port")?;
    Ok(listener.local_addr().whatever_context("no free port")?.port())
}

fn address(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// Writes what the API server proves itself with, what it knows others by, and its administrator's kubeconfig.
fn write_identities(authority: &Authority, folder: &Path, port: u16) -> Result<(), crate::cluster::Error> {
    write(&folder.join("ca.crt"), authority.certificate())?;
    let hosts = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let Identity { certificate, key, .. } = authority.sign("kube-apiserver", None, &hosts)?;
    write(&folder.join("apiserver.crt"), certificate)?;
    write_secret(&folder.join("apiserver.key"), &key)?;
    let accounts = KeyPair::generate()
        .map_err(|source| crate::cluster::Error::Certificate { name: "service accounts".to_owned(), source })?;
    write_secret(&folder.join("service-accounts.key"), &accounts.serialize_pem())?;
    write(&folder.join("service-accounts.pub"), accounts.public_key_pem())?;
    let admin = authority.sign("admin", Some("system:masters"), &[])?;
    write_secret(&folder.join("admin.kubeconfig"), &kubeconfig::render(&address(port), "admin", &admin))
}
