//! Daemons that end with the process that started them, however that ends.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use snafu::{OptionExt as _, ResultExt as _, Whatever};

use super::flags::Flags;
use crate::cluster::command::write;

/// Runs the scripts whose paths it reads. When there are no more to come, since whoever writes them is gone, it ends its
/// children and removes the folder. It is their parent, so that none of their ids can have become another's.
const KEEPER: &str = r#"
daemons=
while read -r script; do sh "$script" & daemons="$daemons $!"; done
[ -z "$daemons" ] || kill -KILL $daemons
wait
rm -rf "$1"
"#;

/// Daemons with a common folder.
pub(super) struct Daemons {
    keeper: Mutex<Child>,
    folder: PathBuf,
}

impl Daemons {
    /// Starts the process that looks after the daemons. The folder is theirs: it goes when they end.
    pub(super) fn begin(folder: PathBuf) -> Result<Self, Whatever> {
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal ends the tests; the keeper outlives them by a moment.
            .process_group(0)
            .spawn()
            .whatever_context("cannot start sh")?;
        Ok(Self { keeper: Mutex::new(keeper), folder })
    }

    /// Starts a program with `--name=value` flags; its output goes to `<name>.log`.
    pub(super) fn start(&self, name: &str, program: &Path, flags: &Flags) -> Result<(), Whatever> {
        let mut script = format!("exec {}", quote(&program.display().to_string()));
        for (flag, value) in flags {
            let _ = write!(script, " {}", quote(&format!("--{flag}={value}")));
        }
        let log = self.log(name).display().to_string();
        let _ = writeln!(script, " </dev/null >{} 2>&1", quote(&log));
        let path = self.folder.join(format!("{name}.sh"));
        write(&path, script).whatever_context(format!("cannot write the start of {name}"))?;
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = keeper.stdin.as_mut().whatever_context("the daemons have ended")?;
        writeln!(stdin, "{}", path.display()).whatever_context(format!("cannot start {name}"))
    }

    /// Where they keep what they have.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines of a daemon's log.
    pub(super) fn log_end(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

/// A word of a shell's command line.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Whether there is such a program.
pub(super) fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;
    use crate::cluster::wait;

    #[test]
    fn daemons_and_their_folder_end_with_their_owner() {
        let folder = tempfile::tempdir().unwrap().keep();
        let program = folder.join("it's a daemon");
        let pid = folder.join("pid");
        fs::write(&program, format!("#!/bin/sh\necho $$ >{}\nexec sleep 600\n", pid.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let daemons = Daemons::begin(folder.clone()).unwrap();
        daemons.start("daemon", &program, &vec![("flag", "it's".to_owned())]).unwrap();
        let id = wait::until("the start of a daemon", Duration::from_secs(10), || {
            let id = fs::read_to_string(&pid).map_err(|error| error.to_string())?;
            if id.ends_with('\n') { Ok(id.trim().to_owned()) } else { Err("half a line".to_owned()) }
        });
        let process = Path::new("/proc").join(id.unwrap());
        assert!(process.exists());
        drop(daemons);
        assert!(!process.exists());
        assert!(!folder.exists());
    }

    #[test]
    fn a_quote_in_a_word_stays_in_it() {
        let answer = Command::new("sh").args(["-c", &format!("printf %s {}", quote("it's $HOME"))]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "it's $HOME");
    }
}
