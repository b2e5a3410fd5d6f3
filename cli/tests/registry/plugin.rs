//! The program as plugin of the `dcos` command.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use serde_json::Value;

use crate::program::succeed;

#[test]
fn the_plugin_is_a_package_that_can_be_built_and_holds_the_program_as_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program").display().to_string();
    std::fs::write(&program, "what runs").unwrap();
    let packed = Command::new(env!("CARGO_BIN_EXE_dcos-plugin"))
        .arg(folder.path())
        .args([format!("linux={program}"), format!("windows={program}")])
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let mut zip =
        zip::ZipArchive::new(File::open(folder.path().join("P/package-registry/0/dcos-registry-linux.zip")).unwrap())
            .unwrap();
    let mut plugin = String::new();
    zip.by_name("plugin.toml").unwrap().read_to_string(&mut plugin).unwrap();
    let plugin: toml::Table = toml::from_str(&plugin).unwrap();
    let command = &plugin["commands"][0];
    assert_eq!((command["name"].as_str(), command["path"].as_str()), (Some("registry"), Some("bin/dcos-registry")));
    assert_eq!(zip.by_name("bin/dcos-registry").unwrap().unix_mode().unwrap() & 0o777, 0o755);
    // The way into a registry: migrate, build.
    let definition =
        succeed(folder.path(), &["registry", "migrate", "--package-directory=P/package-registry/0", "--json"]).out;
    let definition: Value = serde_json::from_str(&definition).unwrap();
    let definition = format!("--build-definition-file={}", definition["name"].as_str().unwrap());
    let built = succeed(folder.path(), &["registry", "build", &definition]).out;
    assert!(built.contains("package-registry-"), "{built}");
    let wrong = Command::new(env!("CARGO_BIN_EXE_dcos-plugin")).arg(folder.path()).arg("beos=x").output().unwrap();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("usage"));
}
