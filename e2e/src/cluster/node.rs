//! One node: containerd in network and mount namespaces of its own; kubelet and kube-proxy join them.

use std::{
    ffi::OsString,
    fs,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    cgroups,
    command::{create_folder, output, run, write},
    daemon,
    error::{NotOursSnafu, Result},
    journal::{self, Act, Journal, Process},
    node_config::{self, CONTAINERD_SOCKET},
    paths::{self, MARK, STATE, journal_path},
    versions::{NODES, Node},
    wait,
};

/// Folders of which each node has its own version, and where that lies in the node's folder.
const OWN_FOLDERS: [(&str, &str); 5] = [
    ("/etc/containerd", "etc-containerd"),
    ("/var/lib/cni", "var-lib-cni"),
    ("/var/lib/kubelet", "var-lib-kubelet"),
    ("/var/log/containers", "var-log-containers"),
    ("/var/log/pods", "var-log-pods"),
];

/// Makes the mount points of the nodes' own folders where the machine lacks them.
pub(crate) fn create_mount_points(journal: &mut Journal) -> Result<()> {
    for (folder, _) in OWN_FOLDERS {
        let missing = missing_folders(Path::new(folder), Path::exists);
        for path in missing {
            journal.record(&Act::Folder(path.clone()))?;
            create_folder(&path)?;
        }
    }
    Ok(())
}

/// The folders to make, from the top, so that `path` exists.
fn missing_folders(path: &Path, exists: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path.ancestors().take_while(|path| !exists(path)).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Writes a node's files and makes its cgroups.
pub(crate) fn prepare(journal: &mut Journal, node: Node) -> Result<()> {
    cgroups::create(journal, node)?;
    for (_, own) in OWN_FOLDERS {
        create_folder(&node.state(own))?;
    }
    let etc = node.state("etc-containerd");
    create_folder(&etc.join("certs.d"))?;
    create_folder(&node.state("volumes"))?;
    write(&etc.join("config.toml"), node_config::containerd(node, snapshotter()?))?;
    write(&node.state("cni/10-pods.conflist"), node_config::cni(node))?;
    write(&node.state("kubelet.json"), node_config::kubelet(node))?;
    write(&node.state("kube-proxy.json"), node_config::kube_proxy(node))?;
    write(&node.state("resolv.conf"), node_config::RESOLV_CONF)
}

/// overlayfs does not lie on another overlayfs, as in a container.
fn snapshotter() -> Result<&'static str> {
    let file_system = run(Command::new("stat").args(["-f", "-c", "%T", STATE]))?;
    Ok(if file_system.trim() == "overlayfs" { "native" } else { "overlayfs" })
}

/// Starts a node's containerd, which holds the node's namespaces.
pub(crate) fn start_containerd(journal: &mut Journal, node: Node) -> Result<Process> {
    let network = format!("--net={}", node.state("netns").display());
    let arguments = ["nsenter", &network, "unshare", "--mount", "sh", "-c", &mount_script(node)];
    daemon::start(journal, &node.daemon("containerd"), arguments.map(OsString::from).to_vec())
}

/// Mounts are made private first, so that the machine sees none of them, then shared among the node's pods, which
/// `mountPropagation` needs.
fn mount_script(node: Node) -> String {
    let binds =
        OWN_FOLDERS.map(|(folder, own)| format!("mount --bind {} {folder}", node.state(own).display())).join("\n");
    format!(
        "set -e\n\
         mount --make-rprivate /\n\
         mount --make-rshared /\n\
         mount --no-mtab -t tmpfs -o mode=755 tmpfs /run\n\
         mkdir /run/lock\n\
         {binds}\n\
         exec containerd --config /etc/containerd/config.toml\n"
    )
}

/// Waits until a node's containerd answers.
pub(crate) fn await_containerd(node: Node, process: &Process) -> Result<()> {
    wait::until(&format!("the start of {}", process.name), Duration::from_secs(30), || {
        daemon::check_alive(process).map_err(|error| error.to_string())?;
        let answer = output(&mut inside(node, process.pid, &["ctr", "--address", CONTAINERD_SOCKET, "version"]));
        match answer {
            Ok(answer) if answer.status.success() => Ok(()),
            Ok(answer) => Err(String::from_utf8_lossy(&answer.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
}

/// Starts kubelet and kube-proxy in the namespaces of the node's containerd.
pub(crate) fn start_kubernetes(journal: &mut Journal, node: Node, containerd: &Process) -> Result<()> {
    let path = |path: PathBuf| path.display().to_string();
    let kubelet = [
        ("config", path(node.state("kubelet.json"))),
        ("kubeconfig", path(paths::kubeconfig(&node.daemon("kubelet")))),
        ("hostname-override", node.name.to_owned()),
        ("node-ip", node.address().to_string()),
    ];
    let kube_proxy = [("config", path(node.state("kube-proxy.json")))];
    for (part, flags) in [("kubelet", &kubelet[..]), ("kube-proxy", &kube_proxy[..])] {
        let mut arguments: Vec<OsString> = vec!["nsenter".into(), format!("--target={}", containerd.pid).into()];
        arguments.extend(["--mount".into(), "--net".into()]);
        arguments.extend(daemon::flags(&paths::kubernetes(part), flags));
        daemon::start(journal, &node.daemon(part), arguments)?;
    }
    Ok(())
}

/// A command in a node's namespaces.
fn inside(node: Node, containerd: i32, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={containerd}")).args(["--mount", "--net", "--"]).args(words);
    // Marked, since whatever runs in a node keeps its namespaces alive.
    command.env(MARK, STATE).env("NODE_NAME", node.name).current_dir("/");
    command
}

/// The process id of a node's containerd, whose namespaces are the node's.
pub(crate) fn containerd_pid(node: Node) -> Result<i32> {
    let name = node.daemon("containerd");
    let acts = journal::read(&journal_path())?;
    let running = acts.into_iter().rev().find_map(|act| match act {
        Act::Process(process) if process.name == name && daemon::is_alive(&process) => Some(process.pid),
        _ => None,
    });
    running.map_or_else(|| NotOursSnafu { what: format!("Looking into {}", node.name) }.fail(), Ok)
}

/// A command in the namespaces of a running node.
pub(crate) fn command_on(node: Node, words: &[&str]) -> Result<Command> {
    Ok(inside(node, containerd_pid(node)?, words))
}

/// Imports an image archive on a node.
pub(crate) fn import_image(node: Node, containerd: i32, archive: &Path) -> Result<()> {
    // Through standard input: the node sees another /run and might not see the file.
    let file = fs::File::open(archive).map_err(|source| super::Error::File {
        act: "read",
        path: archive.to_owned(),
        source,
    })?;
    let words = ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "image", "import", "-"];
    run(inside(node, containerd, &words).stdin(file))?;
    Ok(())
}

/// Imports image archives on all nodes at once.
pub(crate) fn import_images(archives: &[PathBuf]) -> Result<()> {
    let import = |node: Node| -> Result<()> {
        let containerd = containerd_pid(node)?;
        archives.iter().try_for_each(|archive| import_image(node, containerd, archive))
    };
    std::thread::scope(|scope| {
        let imports = NODES.map(|node| scope.spawn(move || import(node)));
        imports.into_iter().try_for_each(|import| import.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// A path of a node as this machine sees it.
pub(crate) fn root_path(node: Node, path: &Path) -> Result<PathBuf> {
    let root = PathBuf::from(format!("/proc/{}/root", containerd_pid(node)?));
    Ok(root.join(path.strip_prefix("/").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node_config::TRUST_FOLDER;

    #[test]
    fn only_folders_that_are_missing_are_made_and_later_removed() {
        let exists = |path: &Path| ["/", "/var", "/var/lib"].contains(&path.to_str().unwrap());
        let missing = missing_folders(Path::new("/var/lib/cni/results"), exists);
        assert_eq!(missing, [Path::new("/var/lib/cni"), Path::new("/var/lib/cni/results")]);
    }

    #[test]
    fn a_node_sees_its_own_trust_folder() {
        let script = mount_script(NODES[1]);
        assert!(TRUST_FOLDER.starts_with("/etc/containerd/"));
        assert!(
            script.contains("mount --bind /var/lib/package-registry-e2e/node2/etc-containerd /etc/containerd\n"),
            "{script}"
        );
    }
}
