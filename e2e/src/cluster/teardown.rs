//! Taking the cluster down: whatever is there, however far its start came.

use std::{fs, io::ErrorKind, path::Path, process::Command, time::Duration};

use snafu::{ResultExt, ensure};

use super::{
    cgroups,
    command::run,
    daemon,
    error::{FileSnafu, NotRootSnafu, Result},
    journal::{self, Act},
    network,
    paths::{STATE, journal_path},
    progress::Progress,
    up::{boot_id, has_state, lock},
    wait,
};

/// Ends every process of the cluster and removes its network, mounts, cgroups and files; the cache stays.
///
/// # Errors
/// When this is not root, or something resists; the rest is still there then, and calling again goes on.
pub fn down() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), NotRootSnafu);
    let _lock = lock()?;
    take_down(&Progress::start())
}

/// As [`down`], by a caller that holds the lock.
pub(crate) fn take_down(progress: &Progress) -> Result<()> {
    let acts = journal::read(&journal_path())?;
    end_processes(&acts)?;
    if !has_state() {
        return Ok(());
    }
    unmount_all()?;
    for act in acts.iter().rev() {
        undo(act)?;
    }
    fs::remove_dir_all(STATE).context(FileSnafu { act: "remove", path: STATE })?;
    progress.say("the cluster is down, nothing of it is left");
    Ok(())
}

/// Ends all processes: those of the journal, those that carry the cluster's mark, and those in its cgroups (pods). Repeats
/// until none is left, since a process may start another before its turn comes.
fn end_processes(acts: &[Act]) -> Result<()> {
    let same_boot = acts.first() == Some(&Act::Boot(boot_id()));
    let recorded = || {
        let alive = |act: &Act| match act {
            Act::Process(process) if same_boot && daemon::is_alive(process) => Some(process.pid),
            _ => None,
        };
        acts.iter().filter_map(alive).collect::<Vec<_>>()
    };
    let in_cgroups = || {
        let inside = |act: &Act| {
            if let Act::Cgroup(folder) = act { cgroups::processes(folder) } else { Vec::new() }
        };
        acts.iter().flat_map(inside).collect::<Vec<_>>()
    };
    wait::until("the end of the cluster's processes", Duration::from_secs(30), || {
        let pids = [recorded(), daemon::marked(), in_cgroups()].concat();
        let alive: Vec<(i32, u64)> = pids.into_iter().filter_map(|pid| Some((pid, daemon::start_time(pid)?))).collect();
        for (pid, start) in &alive {
            daemon::kill(*pid, *start);
        }
        if alive.is_empty() { Ok(()) } else { Err(format!("still running: {alive:?}")) }
    })
}

/// Unmounts what is mounted below the cluster's folder: the files that pin network namespaces. The nodes' own mounts ended
/// with their last process.
fn unmount_all() -> Result<()> {
    let path = Path::new("/proc/self/mountinfo");
    let mountinfo = fs::read_to_string(path).context(FileSnafu { act: "read", path })?;
    for mount in mounts_below(&mountinfo, STATE).iter().rev() {
        run(Command::new("umount").arg("--no-mtab").arg(mount))?;
    }
    Ok(())
}

fn mounts_below<'a>(mountinfo: &'a str, folder: &str) -> Vec<&'a str> {
    let below = |point: &&str| Path::new(point).starts_with(folder);
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).filter(below).collect()
}

fn undo(act: &Act) -> Result<()> {
    match act {
        Act::Boot(_) | Act::Process(_) => Ok(()),
        Act::Link(name) => network::remove_link(name),
        Act::Cgroup(folder) => cgroups::remove(folder),
        Act::ForwardRule(rule) => network::remove_forward_rule(rule),
        Act::Folder(path) => match fs::remove_dir(path) {
            // Something else uses it by now: it is not ours to remove any more.
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(error).context(FileSnafu { act: "remove", path })
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_clusters_folder_are_unmounted() {
        let mountinfo = "1 0 8:1 / / rw - ext4 /dev/vda rw\n\
                         2 1 0:4 net:[1] /var/lib/package-registry-e2e/node1/netns rw shared:2 - nsfs nsfs rw\n\
                         3 1 0:5 / /var/lib/package-registry-e2e-other rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts_below(mountinfo, STATE), ["/var/lib/package-registry-e2e/node1/netns"]);
    }
}
