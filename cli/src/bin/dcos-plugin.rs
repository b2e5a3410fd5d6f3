//! Packs the program as plugin of the `dcos` command: `dcos-plugin FOLDER OS=PROGRAM…` writes a package directory in Universe
//! form, `FOLDER/P/package-registry/0`, with a zip for each operating system (`linux`, `darwin`, `windows`) in it.
//!
//! `registry migrate`, `build` and `add` bring it into a registry; `dcos package install package-registry --cli` then gives
//! `dcos registry`.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use bundle::digest::sha256;
use serde_json::{Map, Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};

/// Operating systems that a package may have a command for.
const SYSTEMS: [&str; 3] = ["linux", "darwin", "windows"];
const USAGE: &str = "usage: dcos-plugin FOLDER OS=PROGRAM…, with linux, darwin or windows for OS";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or(USAGE)?;
    let directory = Path::new(&folder).join("P/package-registry/0");
    fs::create_dir_all(&directory)?;
    let mut binaries = Map::new();
    for argument in arguments {
        let (system, program) = argument.split_once('=').filter(|(it, _)| SYSTEMS.contains(it)).ok_or(USAGE)?;
        let name = format!("dcos-registry-{system}.zip");
        pack(&directory.join(&name), system, Path::new(program))?;
        let digest = sha256(&fs::read(directory.join(&name))?);
        let hash = json!([{"algo": "sha256", "value": digest.trim_start_matches("sha256:")}]);
        binaries.insert(system.to_owned(), json!({"x86-64": {"kind": "zip", "url": name, "contentHash": hash}}));
    }
    if binaries.is_empty() {
        return Err(USAGE.into());
    }
    write(&directory.join("resource.json"), &json!({"cli": {"binaries": binaries}}))?;
    write(&directory.join("package.json"), &package())
}

fn package() -> Value {
    json!({
        "packagingVersion": "4.0",
        "name": "package-registry",
        "version": env!("CARGO_PKG_VERSION"),
        "maintainer": "the maintainers of the Package Registry for Kubernetes",
        "description": "The command `dcos registry`: builds packages and brings them into a package registry.",
        "tags": ["cli", "registry"],
    })
}

fn pack(path: &Path, system: &str, program: &Path) -> Result<(), Box<dyn Error>> {
    let suffix = if system == "windows" { ".exe" } else { "" };
    let command = format!("bin/dcos-registry{suffix}");
    let plugin = format!(
        "name = \"package-registry\"\n\n[[commands]]\nname = \"registry\"\npath = \"{command}\"\ndescription = \"Build and manage packages of a package registry\"\n"
    );
    // The same program gives the same file.
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let mut zip = ZipWriter::new(File::create(path)?);
    zip.start_file("plugin.toml", options.unix_permissions(0o644))?;
    std::io::copy(&mut plugin.as_bytes(), &mut zip)?;
    zip.start_file(command, options.unix_permissions(0o755))?;
    std::io::copy(&mut File::open(program).map_err(|error| format!("{}: {error}", program.display()))?, &mut zip)?;
    zip.finish()?;
    Ok(())
}

fn write(path: &Path, document: &Value) -> Result<(), Box<dyn Error>> {
    Ok(fs::write(path, serde_json::to_string_pretty(document)? + "\n")?)
}
