//! The operator on an API server without nodes: its manifests, and the controller's binary as a process of this machine.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};

use super::{ApiServer, free_port};
use crate::{cluster::Cluster, program, walk};

/// Where the operator lives.
pub const NAMESPACE: &str = "package-registry-system";
/// Where the agents live.
pub const TRUST_NAMESPACE: &str = "package-registry-system-node-trust";
/// The operator's account.
const ACCOUNT: &str = "package-registry-controller";

/// The operator, installed; its controllers are started one by one.
pub struct Operator {
    binary: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    privileged: String,
}

/// A process of the controller. It ends with this value.
pub struct Controller {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Builds the controller and applies the manifests that it needs, with its own account and rights.
    ///
    /// # Errors
    /// When the build fails or kubectl does.
    pub fn install(server: &ApiServer, privileged_namespaces: &[&str]) -> Result<Self, Whatever> {
        let binary = program::build("controller")?;
        apply_manifests(server.cluster())?;
        let kubeconfig = server.kubeconfig_of(NAMESPACE, ACCOUNT)?;
        let privileged = [&[NAMESPACE], privileged_namespaces].concat().join(",");
        Ok(Self { binary, kubeconfig, folder: server.folder().to_owned(), privileged })
    }

    /// The name that the API server knows it by.
    #[must_use]
    pub fn user() -> String {
        format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
    }

    /// Starts a controller as the pod of that name; a second of the same name continues the first one's lease.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, pod: &str) -> Result<Controller, Whatever> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = self.folder.join(format!("controller-{pod}.log"));
        let output = File::options().create(true).append(true).open(&log).whatever_context("cannot write its log")?;
        let errors = output.try_clone().whatever_context("cannot write its log")?;
        // It ends with the thread that started it, also where that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.binary).args([
            "--namespace",
            NAMESPACE,
            "--pod-name",
            pod,
            "--image=registry.test/package-registry:1",
            "--cluster-domain=cluster.local",
            "--privileged-namespaces",
            &self.privileged,
            "--admin-listen",
            &admin.to_string(),
        ]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PACKAGE_REGISTRY_") {
                command.env_remove(name);
            }
        }
        command.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().whatever_context("cannot start the controller")?;
        Ok(Controller { child, admin, log })
    }
}

/// The definitions, the operator's rights, and the agents' namespace with its admission policy; not its Deployment.
///
/// # Errors
/// What kubectl says.
pub(super) fn apply_manifests(cluster: &Cluster) -> Result<(), Whatever> {
    let manifests = walk::root().join("manifests");
    let path = |name: &str| manifests.join(name).display().to_string();
    let apply = |arguments: &[&str]| {
        cluster.kubectl(arguments).map(|_| ()).whatever_context("cannot apply the operator's manifests")
    };
    apply(&["apply", "-f", &path("controller/namespace.yaml")])?;
    for folder in ["crds", "node-trust", "rbac"] {
        apply(&["apply", "-k", &path(folder)])?;
    }
    apply(&["wait", "--for=condition=Established", "--timeout=20s", "crd", "--all"])
}

impl Operator {
    /// Applies the manifests again, as after somebody deleted some of it.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn apply_manifests(&self, server: &ApiServer) -> Result<(), Whatever> {
        apply_manifests(server.cluster())
    }
}

impl Controller {
    /// Ends it at once, as when its node loses power.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(mut self) -> Result<(), Whatever> {
        if let Some(status) = self.child.try_wait().whatever_context("cannot ask for the controller's end")? {
            whatever!("the controller has ended before: {status}; its log is {}", self.log.display());
        }
        Ok(())
    }

    /// Asks it to stop and waits until it has, with success.
    ///
    /// # Errors
    /// When it doesn't.
    pub fn stop(mut self) -> Result<(), Whatever> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).whatever_context("no process id")?;
        kill_process(pid, Signal::TERM).whatever_context("cannot signal the controller")?;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(15) {
            match self.child.try_wait().whatever_context("cannot wait for the controller")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => whatever!("the controller ended with {status}; its log is {}", self.log.display()),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        whatever!("the controller doesn't stop; its log is {}", self.log.display())
    }

    /// Whether it says that it leads.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub fn leads(&self) -> Result<bool, Whatever> {
        let metrics = get(self.admin, "/metrics").whatever_context("the controller's admin port doesn't answer")?;
        Ok(metrics.lines().any(|line| line == "package_registry_controller_leader 1"))
    }

    /// What it has logged, with what those of the same name did before.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where that is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
