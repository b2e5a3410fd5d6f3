//! Each node's own folder in the cgroup hierarchies: two kubelets on one kernel must not share one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use snafu::ResultExt;

use super::{
    error::{FileSnafu, Result},
    journal::{Act, Journal},
    versions::Node,
    wait,
};

/// The cgroup hierarchies of this machine.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchies {
    /// Mount points of all of them, v1 and v2.
    mounts: Vec<PathBuf>,
    /// Whether there is only the one hierarchy of cgroup v2; beside those of v1 (hybrid) that one has no controllers.
    unified: bool,
}

fn hierarchies() -> Result<Hierarchies> {
    let path = Path::new("/proc/self/mountinfo");
    Ok(parse(&fs::read_to_string(path).context(FileSnafu { act: "read", path })?))
}

fn parse(mountinfo: &str) -> Hierarchies {
    let of_kind = |kind: &str| -> Vec<PathBuf> {
        let is_kind =
            |line: &&str| line.split_once(" - ").is_some_and(|(_, rest)| rest.split(' ').next() == Some(kind));
        mountinfo.lines().filter(is_kind).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
    };
    let v1 = of_kind("cgroup");
    let unified = v1.is_empty();
    Hierarchies { mounts: [v1, of_kind("cgroup2")].concat(), unified }
}

/// Makes a node's folders.
pub(crate) fn create(journal: &mut Journal, node: Node) -> Result<()> {
    let hierarchies = hierarchies()?;
    for mount in &hierarchies.mounts {
        let folder = mount.join(node.cgroup());
        journal.record(&Act::Cgroup(folder.clone()))?;
        if hierarchies.unified {
            enable_controllers(mount);
        }
        if !folder.exists() {
            fs::create_dir(&folder).context(FileSnafu { act: "create", path: &folder })?;
        }
        // A new cpuset of v1 is empty, and nothing can run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (false, Ok(value)) = (hierarchies.unified, fs::read(mount.join(file))) {
                let path = folder.join(file);
                fs::write(&path, value).context(FileSnafu { act: "write", path })?;
            }
        }
    }
    Ok(())
}

/// Passes the controllers that kubelet needs on to the folders below; kubelet says so itself if one is missing then.
fn enable_controllers(mount: &Path) {
    let available = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        let _ = fs::write(mount.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// All processes in a cgroup and below.
pub(crate) fn processes(folder: &Path) -> Vec<i32> {
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let own = listed.lines().filter_map(|line| line.parse().ok());
    own.chain(children(folder).iter().flat_map(|child| processes(child))).collect()
}

/// Removes a cgroup and those below; its processes have been ended before.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    wait::until(&format!("the end of cgroup {}", folder.display()), Duration::from_secs(10), || {
        remove_once(folder).map_err(|error| error.to_string())
    })
}

fn remove_once(folder: &Path) -> std::io::Result<()> {
    for child in children(folder) {
        remove_once(&child)?;
    }
    if folder.exists() { fs::remove_dir(folder) } else { Ok(()) }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_is_not_unified() {
        let mountinfo = "25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                         26 25 0:23 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                         27 25 0:24 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let mounts = vec!["/sys/fs/cgroup/cpu".into(), "/sys/fs/cgroup/unified".into()];
        assert_eq!(parse(mountinfo), Hierarchies { mounts, unified: false });
    }

    #[test]
    fn on_a_machine_of_today_there_is_one_hierarchy() {
        let mountinfo = "26 25 0:23 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(mountinfo), Hierarchies { mounts: vec!["/sys/fs/cgroup".into()], unified: true });
    }
}
