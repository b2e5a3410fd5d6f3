//! The journal: what was done to the machine, each act written down before it is done.
//!
//! `down` undoes it backwards. One JSON object per line; a line that a crash cut short is the last one and is ignored, since
//! its act had not begun. A process can be written down only after its start; the gap is closed by the mark that every
//! daemon carries in its environment.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use snafu::ResultExt;

use super::error::{FileSnafu, JsonSnafu, Result};

/// A process: the start time makes sure that a later process with the same id is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// What the daemon is called.
    pub(crate) name: String,
    /// Its process id.
    pub(crate) pid: i32,
    /// Clock ticks from the machine's boot to its start: field 22 of `/proc/<pid>/stat`.
    pub(crate) start_time: u64,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Act {
    /// The machine's boot id; process ids of an earlier boot mean nothing.
    Boot(String),
    /// A process was started.
    Process(Process),
    /// A folder outside of the cluster's own was made.
    Folder(PathBuf),
    /// A network interface was made.
    Link(String),
    /// A cgroup was made.
    Cgroup(PathBuf),
    /// A rule was put into the machine's FORWARD chain: the arguments after the chain's name.
    ForwardRule(Vec<String>),
}

/// The journal file, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Starts a new journal.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().create(true).append(true).open(path).context(FileSnafu { act: "create", path })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes an act down; call it before the act.
    pub(crate) fn record(&mut self, act: &Act) -> Result<()> {
        let mut line = serde_json::to_vec(act).context(JsonSnafu { what: "a journal entry" })?;
        line.push(b'\n');
        self.file.write_all(&line).context(FileSnafu { act: "write", path: &self.path })
    }
}

/// Reads a journal; one that does not exist is empty.
pub(crate) fn read(path: &Path) -> Result<Vec<Act>> {
    match std::fs::read(path) {
        Ok(content) => Ok(parse(&content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).context(FileSnafu { act: "read", path }),
    }
}

/// The acts of a journal up to the first line that is not whole.
fn parse(content: &[u8]) -> Vec<Act> {
    content.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts() -> Vec<Act> {
        vec![
            Act::Boot("b".to_owned()),
            Act::Folder("/var/lib/cni".into()),
            Act::Process(Process { name: "etcd".to_owned(), pid: 17, start_time: 99 }),
            Act::ForwardRule(vec!["-j".to_owned(), "ACCEPT".to_owned()]),
        ]
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for act in acts() {
            Journal::create(&path).unwrap().record(&act).unwrap();
        }
        assert_eq!(read(&path).unwrap(), acts());
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_ignored() {
        let mut content = Vec::new();
        for act in acts() {
            content.extend(serde_json::to_vec(&act).unwrap());
            content.push(b'\n');
        }
        for cut in 0..content.len() {
            let whole_lines = content[..cut].split(|byte| *byte == b'\n').count() - 1;
            let read = parse(&content[..cut]);
            assert!(read.len() == whole_lines || read.len() == whole_lines + 1);
            assert_eq!(read, acts()[..read.len()]);
        }
    }

    #[test]
    fn a_missing_journal_is_empty() {
        assert_eq!(read(Path::new("/nonexistent/journal")).unwrap(), []);
    }
}
