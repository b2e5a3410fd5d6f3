//! Bundles packed by other tools: Python, Info-ZIP, Go. Where a tool is not installed, its test says so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sample::*;

fn content() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in whole() {
        let path = folder.path().join("content").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// Runs a tool in the folder; `None` where it is not installed.
fn run(folder: &Path, tool: &str, arguments: &[&str]) -> Option<()> {
    let Ok(output) = Command::new(tool).args(arguments).current_dir(folder).output() else {
        eprintln!("skipped: {tool} is not installed");
        return None;
    };
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

fn readable(path: &Path) {
    let expected = read(&zipped(&whole())).unwrap();
    assert_eq!(read(&fs::read(path).unwrap()).unwrap(), expected);
}

#[test]
fn bundles_packed_by_python_are_read() {
    let folder = content();
    let script = r#"
import os, sys, zipfile
class Pipe:
    def __init__(self, file): self.file = file
    def write(self, data): return self.file.write(data)
    def flush(self): self.file.flush()
def pack(output, method, force):
    with zipfile.ZipFile(output, "w", method) as archive:
        for folder, _, names in sorted(os.walk("content")):
            for name in sorted(names):
                path = os.path.join(folder, name)
                with archive.open(os.path.relpath(path, "content"), "w", force_zip64=force) as entry:
                    entry.write(open(path, "rb").read())
pack("stored.dcos", zipfile.ZIP_STORED, False)
pack("deflated.dcos", zipfile.ZIP_DEFLATED, False)
pack("zip64.dcos", zipfile.ZIP_DEFLATED, True)
with open("streamed.dcos", "wb") as file: pack(Pipe(file), zipfile.ZIP_DEFLATED, False)
with open("streamed64.dcos", "wb") as file: pack(Pipe(file), zipfile.ZIP_DEFLATED, True)
"#;
    if run(folder.path(), "python3", &["-c", script]).is_some() {
        for name in ["stored", "deflated", "zip64", "streamed", "streamed64"] {
            readable(&folder.path().join(format!("{name}.dcos")));
        }
    }
}

#[test]
fn bundles_packed_by_info_zip_are_read() {
    let folder = content();
    let content = folder.path().join("content");
    if run(&content, "zip", &["-q", "-r", "../plain.dcos", "."]).is_some() {
        readable(&folder.path().join("plain.dcos"));
        run(&content, "zip", &["-q", "-r", "-X", "-D", "-0", "../stored.dcos", "."]).unwrap();
        readable(&folder.path().join("stored.dcos"));
        run(&content, "sh", &["-c", "zip -q -r -9 - . | cat > ../streamed.dcos"]).unwrap();
        readable(&folder.path().join("streamed.dcos"));
    }
}

#[test]
fn bundles_packed_by_go_are_read() {
    let folder = content();
    let program = r#"package main

import (
	"archive/zip"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	file, err := os.Create("go.dcos")
	check(err)
	archive := zip.NewWriter(file)
	check(filepath.WalkDir("content", func(path string, entry fs.DirEntry, err error) error {
		check(err)
		if entry.IsDir() {
			return nil
		}
		name, err := filepath.Rel("content", path)
		check(err)
		writer, err := archive.Create(name)
		check(err)
		content, err := os.ReadFile(path)
		check(err)
		_, err = writer.Write(content)
		return err
	}))
	check(archive.Close())
	check(file.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
"#;
    fs::write(folder.path().join("pack.go"), program).unwrap();
    if run(folder.path(), "go", &["run", "pack.go"]).is_some() {
        readable(&folder.path().join("go.dcos"));
    }
}
