//! Reads containerd's configuration through the mount of its folder.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::runtime_config::{ConfigFile, imports};

/// More files than anybody has; a chain of imports ends here.
const MOST_FILES: usize = 100;

/// What containerd would read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuntimeFiles {
    /// The files in its order, named as on the node; none when the main one isn't there.
    pub files: Vec<ConfigFile>,
    /// Imports that aren't in the main file's folder, or can't be read.
    pub unread: Vec<String>,
}

/// Reads the main file at `mounted`, which the node calls `on_node`, and what it imports from below the same folder.
///
/// # Errors
/// When the main file is there and can't be read.
pub fn read(mounted: &Path, on_node: &Path) -> io::Result<RuntimeFiles> {
    let mut found = RuntimeFiles::default();
    let folders = Folders { mounted: parent(mounted), on_node: parent(on_node) };
    let mut pending = VecDeque::from([on_node.to_owned()]);
    let mut seen = BTreeSet::new();
    while let Some(path) = pending.pop_front().filter(|_| found.files.len() < MOST_FILES) {
        if !seen.insert(path.clone()) {
            continue;
        }
        let is_main = path == on_node;
        let text =
            match (if is_main { Some(mounted.to_owned()) } else { folders.mounted(&path) }).map(fs::read_to_string) {
                Some(Ok(text)) => text,
                Some(Err(error)) if is_main && error.kind() != io::ErrorKind::NotFound => {
                    return Err(error);
                }
                Some(Err(_)) if is_main => break,
                Some(Err(_)) | None => {
                    found.unread.push(path.display().to_string());
                    continue;
                }
            };
        for import in imports(&text) {
            folders.expand(&parent(&path).join(import), &mut pending);
        }
        found.files.push(ConfigFile { path: path.display().to_string(), text });
    }
    Ok(found)
}

/// The same folder, as the agent and as the node see it.
struct Folders {
    mounted: PathBuf,
    on_node: PathBuf,
}

impl Folders {
    fn mounted(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.on_node).ok()?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then(|| self.mounted.join(below))
    }

    /// Appends the paths that an import means: a `*` in its last part stands for any characters of a file's name. A `*`
    /// further up is left as it is, and found unreadable.
    fn expand(&self, import: &Path, paths: &mut VecDeque<PathBuf>) {
        let pattern = import.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = parent(import);
        let listed = if pattern.contains('*') {
            self.mounted(&folder).and_then(|folder| fs::read_dir(folder).ok())
        } else {
            None
        };
        match listed {
            Some(entries) => {
                let names: BTreeSet<String> = entries
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .filter(|name| matches(&pattern, name))
                    .collect();
                paths.extend(names.into_iter().map(|name| folder.join(name)));
            }
            // A folder of drop-ins that isn't there is none.
            None if pattern.contains('*') && self.mounted(&folder).is_some_and(|folder| !folder.exists()) => {}
            None => paths.push_back(import.to_owned()),
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

/// Whether `name` is `pattern` with any characters in place of each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter(|&at| tail.is_char_boundary(at)).any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.tom", false),
            ("a*b*", "axxb", true),
            ("a*b*", "xb", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn imports_are_followed_in_containerds_order_and_named_as_on_the_node() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir(mount.path().join("conf.d")).unwrap();
        let write = |name: &str, text: &str| fs::write(mount.path().join(name), text).unwrap();
        write(
            "config.toml",
            "imports = [\"/etc/containerd/conf.d/*.toml\", \"x.toml\", \"/opt/y.toml\", \"none.d/*.toml\"]",
        );
        write("conf.d/b.toml", "imports = [\"../x.toml\"]");
        write("conf.d/a.toml", "imports = [\"a.toml\"]");
        write("conf.d/ignored", "");
        write("x.toml", "");
        let found = read(&mount.path().join("config.toml"), Path::new("/etc/containerd/config.toml")).unwrap();
        let paths: Vec<_> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/etc/containerd/config.toml",
                "/etc/containerd/conf.d/a.toml",
                "/etc/containerd/conf.d/b.toml",
                "/etc/containerd/x.toml"
            ]
        );
        assert_eq!(found.unread, ["/opt/y.toml", "/etc/containerd/conf.d/../x.toml"]);
    }

    #[test]
    fn no_main_file_is_no_error() {
        let mount = tempfile::tempdir().unwrap();
        let found = read(&mount.path().join("config.toml"), Path::new("/etc/containerd/config.toml")).unwrap();
        assert_eq!(found, RuntimeFiles::default());
    }
}
