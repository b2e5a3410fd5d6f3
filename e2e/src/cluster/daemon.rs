//! Processes that outlive the command that starts them, and their end.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use snafu::ResultExt;

use super::{
    command::words,
    error::{DaemonEndedSnafu, FileSnafu, Result, StartSnafu},
    journal::{Act, Journal, Process},
    paths::{self, MARK, STATE},
};

/// Starts a daemon in a session of its own; `arguments` begins with the program. Its output goes to its log.
pub(crate) fn start(journal: &mut Journal, name: &str, arguments: Vec<OsString>) -> Result<Process> {
    let path = paths::log(name);
    let log = File::create(&path).context(FileSnafu { act: "create", path: &path })?;
    let errors = log.try_clone().context(FileSnafu { act: "open", path: &path })?;
    let mut command = Command::new("setsid");
    command
        .args(arguments)
        .env(MARK, STATE)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    let child = command.spawn().context(StartSnafu { command: words(&command) })?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let process = Process { name: name.to_owned(), pid, start_time: start_time(pid).unwrap_or_default() };
    journal.record(&Act::Process(process.clone()))?;
    Ok(process)
}

/// Fails with the end of its log if a daemon has ended.
pub(crate) fn check_alive(process: &Process) -> Result<()> {
    if is_alive(process) {
        return Ok(());
    }
    let log = paths::log(&process.name);
    let content = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = content.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n");
    DaemonEndedSnafu { name: &process.name, log, tail }.fail()
}

/// Whether that very process still runs.
pub(crate) fn is_alive(process: &Process) -> bool {
    start_time(process.pid) == Some(process.start_time)
}

/// The start time of a process that is neither gone nor a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State and start time out of `/proc/<pid>/stat`; the second field, the name in parentheses, may contain anything.
fn parse_stat(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

/// Ends a process at once, if it is still the one that started then.
pub(crate) fn kill(pid: i32, start: u64) {
    // The descriptor holds the process: between the check and the signal its id cannot become another's.
    let Some(Ok(process)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return;
    };
    if start_time(pid) == Some(start) {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

/// All other processes that carry the cluster's mark in their environment.
pub(crate) fn marked() -> Vec<i32> {
    let mark = format!("{MARK}={STATE}");
    let carries = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
    };
    let own = i32::try_from(std::process::id()).ok();
    all().into_iter().filter(|pid| Some(*pid) != own).filter(carries).collect()
}

fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The arguments of a daemon from a program and `--name=value` flags.
pub(crate) fn flags(program: &Path, flags: &[(&str, String)]) -> Vec<OsString> {
    std::iter::once(program.as_os_str().to_owned())
        .chain(flags.iter().map(|(name, value)| OsString::from(format!("--{name}={value}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_name_full_of_parentheses() {
        let stat = "17 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_stat(stat), Some(4711));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert_eq!(parse_stat("17 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"), None);
    }

    #[test]
    fn a_reused_process_id_is_not_taken_for_the_recorded_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start_time = start_time(pid).unwrap();
        let process = |start_time| Process { name: "self".to_owned(), pid, start_time };
        assert!(is_alive(&process(start_time)));
        assert!(!is_alive(&process(start_time + 1)));
        kill(pid, start_time + 1); // would end this test
    }
}
