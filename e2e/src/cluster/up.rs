//! Bringing the cluster up.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use snafu::ResultExt;

use super::{
    addons,
    command::create_folder,
    container_images, control_plane, daemon,
    error::{FileSnafu, Result},
    go_build,
    journal::{self, Act, Journal, Process},
    kubeconfig, network, node,
    paths::{self, STATE, journal_path},
    pki::Pki,
    prerequisites,
    progress::Progress,
    teardown,
    versions::{NODES, Node},
};

/// How many daemons a whole cluster has: four of the control plane, three per node.
const DAEMONS: usize = 4 + 3 * NODES.len();

/// Brings the cluster up unless it runs; what is left of a broken one is taken down first. Returns its kubeconfig.
///
/// # Errors
/// When the machine lacks something that cannot be installed, or a part does not start; the message says which and where
/// its log is.
pub fn up() -> Result<PathBuf> {
    let progress = Progress::start();
    if !rustix::process::geteuid().is_root() || !is_running() {
        prerequisites::ensure_all(&progress)?;
        let _lock = lock()?;
        // Another process may have brought it up while this one waited for the lock.
        if !is_running() {
            bring_up(&progress)?;
        }
    }
    Ok(paths::admin_kubeconfig())
}

fn bring_up(progress: &Progress) -> Result<()> {
    teardown::take_down(progress)?;
    go_build::ensure_all(progress)?;
    let images = container_images::ensure_all()?;
    progress.say("everything is built");
    let mut journal = begin()?;
    network::create(&mut journal)?;
    kubeconfig::write_all(&Pki::create()?)?;
    node::create_mount_points(&mut journal)?;
    progress.say("network and certificates are made");

    let api_server = control_plane::start_api_server(&mut journal)?;
    let containerds = start_containerds(&mut journal)?;
    node::import_images(&images)?;
    progress.say("containerd runs on both nodes and has the images");
    control_plane::await_ready(&api_server)?;
    progress.say("the API server is ready");

    control_plane::start_controllers(&mut journal)?;
    for (node, containerd) in &containerds {
        node::start_kubernetes(&mut journal, *node, containerd)?;
    }
    addons::install()?;
    addons::await_nodes()?;
    progress.say("both nodes are ready");
    addons::await_running()?;
    progress.say("DNS and volumes work: the cluster is up");
    Ok(())
}

/// Makes the cluster's folder and its journal.
fn begin() -> Result<Journal> {
    create_folder(&paths::state("logs"))?;
    let mut journal = Journal::create(&journal_path())?;
    journal.record(&Act::Boot(boot_id()))?;
    Ok(journal)
}

fn start_containerds(journal: &mut Journal) -> Result<Vec<(Node, Process)>> {
    let mut started = Vec::new();
    for node in NODES {
        node::prepare(journal, node)?;
        started.push((node, node::start_containerd(journal, node)?));
    }
    for (node, containerd) in &started {
        node::await_containerd(*node, containerd)?;
    }
    Ok(started)
}

/// The machine's boot id.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Whether the whole cluster runs: every daemon that was started, the API server, both nodes.
pub(crate) fn is_running() -> bool {
    let acts = journal::read(&journal_path()).unwrap_or_default();
    let this_boot = acts.first() == Some(&Act::Boot(boot_id()));
    let processes: Vec<Process> =
        acts.into_iter().filter_map(|act| if let Act::Process(process) = act { Some(process) } else { None }).collect();
    this_boot && processes.len() == DAEMONS && processes.iter().all(daemon::is_alive) && addons::is_healthy()
}

/// Only one process at a time brings the cluster up or down; the lock ends with the returned file. It lies on the folder
/// above the cluster's own, which is there before and after it.
pub(crate) fn lock() -> Result<File> {
    let path = Path::new(STATE).parent().unwrap_or(Path::new("/"));
    let folder = File::open(path).context(FileSnafu { act: "open", path })?;
    if folder.try_lock().is_err() {
        eprintln!("waiting for another process that brings the cluster up or down");
        folder.lock().context(FileSnafu { act: "lock", path })?;
    }
    Ok(folder)
}

/// The name of each daemon that was started and whether it is alive.
#[must_use]
pub fn daemons() -> Vec<(String, bool)> {
    let acts = journal::read(&journal_path()).unwrap_or_default();
    let processes =
        acts.into_iter().filter_map(|act| if let Act::Process(process) = act { Some(process) } else { None });
    processes.map(|process| (process.name.clone(), daemon::is_alive(&process))).collect()
}

/// Whether the cluster's folder exists at all.
pub(crate) fn has_state() -> bool {
    PathBuf::from(STATE).exists()
}
