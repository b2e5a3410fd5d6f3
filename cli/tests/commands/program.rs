//! Runs of the program, and package directories for it.

use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundle::model::Bundle;
use bundle::stream::{self, Limits, Receipt, Sink};
use serde_json::{Value, json};

/// What a run left.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `dcos-registry` in a folder, with a cache of its own for each folder and nothing of this machine's user.
pub fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcos-registry"));
    command.args(arguments).current_dir(folder).env("NO_PROXY", "127.0.0.1,localhost");
    command.env("XDG_CACHE_HOME", cache(folder)).env("DOCKER_CONFIG", cache(folder).join("docker"));
    command.env_remove("DOCKER_HOST");
    command
}

/// Where the cache is for runs in a folder.
pub fn cache(folder: &Path) -> PathBuf {
    let whole = fs::canonicalize(folder).unwrap();
    let name = hex(whole.to_str().unwrap().as_bytes());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("caches").join(&name[..16])
}

/// Runs `dcos-registry` in a folder.
pub fn run(folder: &Path, arguments: &[&str]) -> Ran {
    finish(&mut program(folder, arguments))
}

/// Runs a program to its end.
pub fn finish(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// Runs it and expects success.
#[track_caller]
pub fn succeed(folder: &Path, arguments: &[&str]) -> Ran {
    let ran = run(folder, arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran
}

/// Runs it, expects status 1, nothing on standard output, and these words.
#[track_caller]
pub fn fail(folder: &Path, arguments: &[&str], words: &[&str]) {
    let ran = run(folder, arguments);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no \"{word}\" in: {}", ran.err);
    }
}

/// Names of a folder's entries, sorted, hidden ones too.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn hex(bytes: &[u8]) -> String {
    bundle::digest::sha256(bytes).trim_start_matches("sha256:").to_owned()
}

/// Bytes that no compression makes smaller.
pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        u8::try_from(state & 0xff).unwrap()
    };
    (0..length).map(next).collect()
}

/// A `package.json` with the required fields.
pub fn package() -> Value {
    json!({
        "packagingVersion": "4.0",
        "name": "sample",
        "version": "1.0-beta",
        "maintainer": "Zoë <zoe@example.test>",
        "description": "Größe 🚀 <&> \"quoted\"",
        "tags": ["example"],
        "selected": true,
    })
}

/// Writes a package directory `package` with these files beside `package.json`.
pub fn write_package(folder: &Path, package: &Value, files: &[(&str, &[u8])]) {
    let directory = folder.join("package");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("package.json"), serde_json::to_string_pretty(package).unwrap()).unwrap();
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Reads a bundle as the server does.
pub fn read_bundle(path: &Path) -> Bundle {
    #[derive(Default)]
    struct Memory(std::collections::BTreeMap<String, Vec<u8>>);
    impl Sink for Memory {
        type Error = Infallible;
        fn blob(&mut self, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).unwrap();
            let receipt = Receipt { digest: bundle::digest::sha256(&bytes), size: bytes.len() as u64 };
            self.0.insert(receipt.digest.clone(), bytes);
            Ok(receipt)
        }
        fn read_back(&mut self, digest: &str, _: u64) -> Result<Vec<u8>, Self::Error> {
            Ok(self.0[digest].clone())
        }
    }
    stream::read(fs::File::open(path).unwrap(), &mut Memory::default(), &Limits::default()).unwrap()
}
