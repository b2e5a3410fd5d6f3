//! Whole passes, and the binary.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser as _;
use node_trust::agent::{Agent, Goal};
use node_trust::desired;
use node_trust::report::{Reason, Report};
use node_trust::settings::CommandLine;
use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A node's folders, all below a temporary one.
struct Node {
    root: TempDir,
}

impl Node {
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        for folder in ["certs.d", "docker", "containerd"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let node = Self { root };
        node.write("containerd/config.toml", &"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n");
        node
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &dyn std::fmt::Display) {
        fs::write(self.path(name), text.to_string()).unwrap();
    }

    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, path: &str| [format!("--{name}"), self.path(path).display().to_string()];
        [
            flag("config", "trust.json"),
            flag("certs-dir", "certs.d"),
            flag("docker-certs-dir", "docker"),
            flag("runtime-config", "containerd/config.toml"),
            ["--node-name".into(), "node1".into()],
        ]
        .concat()
    }

    fn agent(&self, goal: Goal, expected_hash: Option<&str>) -> Agent {
        let flags = ["x".to_owned()].into_iter().chain(self.flags());
        let mut settings = CommandLine::parse_from(flags).settings;
        settings.expected_hash = expected_hash.map(ToOwned::to_owned);
        Agent::new(settings, goal).0
    }
}

/// Trusts a registry at an address where nothing answers.
fn configuration(host: &str) -> String {
    let ca = CertificateParams::new(vec![]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let registry = serde_json::json!({
        "namespace": "packages", "name": "main", "hosts": [host], "mirrors": ["docker.io"],
        "addresses": ["127.0.0.1"], "port": 1, "caBundle": ca.pem(),
    });
    serde_json::json!({ "registries": [registry] }).to_string()
}

fn hash(text: &str) -> String {
    desired::hash(text.as_bytes())
}

fn reasons(report: &Report) -> Vec<Reason> {
    report.problems.iter().map(|problem| problem.reason).collect()
}

fn folders(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_pass_writes_for_both_runtimes_and_asks_the_registry() {
    let node = Node::new();
    let text = configuration("main.packages.svc");
    node.write("trust.json", &text);
    let report = node.agent(Goal::Trust, Some(&hash(&text))).pass().await;
    assert_eq!((report.node.as_str(), report.hash, report.ready), ("node1", hash(&text), false));
    assert_eq!(report.problems.len(), 1);
    let problem = &report.problems[0];
    assert_eq!(
        (problem.reason, problem.namespace.as_deref(), problem.name.as_deref()),
        (Reason::Unreachable, Some("packages"), Some("main"))
    );
    assert_eq!(folders(&node.path("certs.d")), ["docker.io", "main.packages.svc"]);
    assert_eq!(folders(&node.path("docker")), ["main.packages.svc"]);
    assert_eq!(folders(&node.path("docker/main.packages.svc")), [".package-registry", "ca.crt"]);
}

#[tokio::test]
async fn nothing_listed_and_the_runtime_configured_is_ready() {
    let node = Node::new();
    node.write("trust.json", &r#"{"registries":[]}"#);
    let report = node.agent(Goal::Trust, None).pass().await;
    assert_eq!((report.ready, report.problems), (true, vec![]));
}

#[tokio::test]
async fn a_runtime_that_reads_other_folders_keeps_the_agent_from_being_ready() {
    let node = Node::new();
    node.write("trust.json", &r#"{"registries":[]}"#);
    node.write("containerd/config.toml", &"version = 2\n");
    let report = node.agent(Goal::Trust, None).pass().await;
    assert_eq!(reasons(&report), [Reason::ConfigPathUnset]);
    assert!(
        report.problems[0].message.contains("/etc/containerd/config.toml on the node"),
        "{}",
        report.problems[0].message
    );
}

#[tokio::test]
async fn a_configuration_of_another_hash_is_waited_for_and_changes_nothing() {
    let node = Node::new();
    let (old, new) = (configuration("old.packages.svc"), configuration("new.packages.svc"));
    let mut agent = node.agent(Goal::Trust, Some(&hash(&new)));
    node.write("trust.json", &old);
    let report = agent.pass().await;
    assert_eq!((reasons(&report), report.hash.as_str()), (vec![Reason::Progressing], ""));
    assert_eq!(folders(&node.path("certs.d")), Vec::<String>::new());
    node.write("trust.json", &new);
    assert_eq!(reasons(&agent.pass().await), [Reason::Unreachable]);
    assert_eq!(folders(&node.path("certs.d")), ["docker.io", "new.packages.svc"]);
    // What was accepted is kept up while the next one is not yet ours.
    node.write("trust.json", &old);
    fs::remove_dir_all(node.path("certs.d/docker.io")).unwrap();
    let report = agent.pass().await;
    assert_eq!((reasons(&report), report.hash), (vec![Reason::Progressing, Reason::Unreachable], hash(&new)));
    assert_eq!(folders(&node.path("certs.d")), ["docker.io", "new.packages.svc"]);
}

#[tokio::test]
async fn a_configuration_that_is_missing_or_no_json_leaves_what_is_there() {
    let node = Node::new();
    node.write("trust.json", &configuration("main.packages.svc"));
    node.agent(Goal::Trust, None).pass().await;
    for spoil in
        [(|node| node.write("trust.json", &"{")) as fn(&Node), |node| fs::remove_file(node.path("trust.json")).unwrap()]
    {
        spoil(&node);
        assert_eq!(reasons(&node.agent(Goal::Trust, None).pass().await), [Reason::Progressing]);
        assert_eq!(folders(&node.path("certs.d")), ["docker.io", "main.packages.svc"]);
    }
}

#[tokio::test]
async fn uninstalling_removes_ours_and_leaves_theirs() {
    let node = Node::new();
    node.write("trust.json", &configuration("main.packages.svc"));
    fs::create_dir(node.path("certs.d/theirs.io")).unwrap();
    node.agent(Goal::Trust, None).pass().await;
    let report = node.agent(Goal::Nothing, None).pass().await;
    assert_eq!((report.ready, report.problems), (true, vec![]));
    assert_eq!(folders(&node.path("certs.d")), ["theirs.io"]);
    assert_eq!(folders(&node.path("docker")), Vec::<String>::new());
}

fn binary(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_package-registry-node-trust"));
    command.args(arguments).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn the_binary_stops_at_once_on_sigterm_leaves_the_files_and_uninstalls_once() {
    let node = Node::new();
    node.write("trust.json", &configuration("main.packages.svc"));
    let mut flags = node.flags();
    flags.extend(["--listen".into(), "127.0.0.1:0".into()]);
    let mut child = binary(&flags).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !node.path("certs.d/docker.io/hosts.toml").exists() {
        assert!(Instant::now() < deadline, "no files were written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    assert_eq!(folders(&node.path("certs.d")), ["docker.io", "main.packages.svc"]);

    flags.extend(["uninstall".into(), "--once".into()]);
    assert!(binary(&flags).status().unwrap().success());
    assert_eq!(folders(&node.path("certs.d")), Vec::<String>::new());
    fs::remove_dir(node.path("certs.d")).unwrap();
    assert_eq!(binary(&flags).status().unwrap().code(), Some(1));
}
