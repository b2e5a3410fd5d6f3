//! Real packages, where they are there: `PACKAGE_REGISTRY_FIXTURES`, or `shared/fixtures` beside the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{fail, read_bundle, run, succeed};

fn fixtures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let folder = std::env::var_os("PACKAGE_REGISTRY_FIXTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no fixtures at {}", folder.display());
    None
}

/// Every folder with a `package.json`.
fn packages(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("package.json").is_file() {
        found.push(folder.to_owned());
        return;
    }
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().filter(|path| path.is_dir()).for_each(|path| packages(path, found));
}

fn migrate(package: &Path, output: &Path) -> PathBuf {
    let package = format!("--package-directory={}", package.display());
    let ran = succeed(output, &["registry", "migrate", &package, "--json"]);
    output.join(serde_json::from_str::<Value>(&ran.out).unwrap()["name"].as_str().unwrap())
}

#[test]
fn every_package_is_migrated_by_the_recipe() {
    let Some(folder) = fixtures() else { return };
    let mut all = Vec::new();
    packages(&folder, &mut all);
    assert!(all.len() > 10);
    for package in all {
        let output = tempfile::tempdir().unwrap();
        let described: Value = serde_json::from_slice(&fs::read(package.join("package.json")).unwrap()).unwrap();
        if described["packagingVersion"] == "3.0" {
            let package = format!("--package-directory={}", package.display());
            fail(output.path(), &["registry", "migrate", &package], &["3.0"]);
            continue;
        }
        let text = fs::read_to_string(migrate(&package, output.path())).unwrap();
        assert!(!text.contains('\n'));
        let migrated: Value = serde_json::from_str(&text).unwrap();
        let mut keys = described.as_object().unwrap().clone();
        keys.shift_remove("selected");
        for (key, value) in &keys {
            assert_eq!(migrated[key], *value, "{}: {key}", package.display());
        }
        let part = |name: &str| {
            fs::read(package.join(name)).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap())
        };
        assert_eq!(migrated.get("config"), part("config.json").as_ref());
        assert_eq!(migrated.get("resource").is_some(), part("resource.json").is_some());
        let template =
            fs::read(package.join("marathon.json.mustache")).ok().map(|bytes| data_encoding::BASE64.encode(&bytes));
        assert_eq!(migrated["marathon"]["v2AppMustacheTemplate"].as_str(), template.as_deref());
    }
}

/// The recipe by hand: keys of package.json but `selected`, then the other files, one line without blanks.
#[test]
fn hello_world_is_migrated_to_the_byte() {
    let Some(folder) = fixtures() else { return };
    let package = folder.join("universe/H/hello-world/600");
    let output = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(migrate(&package, output.path())).unwrap();
    let compact = |name: &str| {
        let text = fs::read_to_string(package.join(name)).unwrap();
        let mut quoted = false;
        let mut escaped = false;
        let keep = |c: &char| {
            quoted ^= *c == '"' && !escaped;
            escaped = quoted && *c == '\\' && !escaped;
            quoted || !c.is_whitespace()
        };
        text.chars().filter(keep).collect::<String>()
    };
    let described = compact("package.json").replace("\"selected\":false,", "");
    let template = data_encoding::BASE64.encode(&fs::read(package.join("marathon.json.mustache")).unwrap());
    let expected = format!(
        r#"{},"config":{},"resource":{},"marathon":{{"v2AppMustacheTemplate":"{template}"}}}}"#,
        described.trim_end_matches('}'),
        compact("config.json"),
        compact("resource.json"),
    );
    assert_eq!(text, expected);
}

#[test]
fn packages_whose_files_are_local_are_built() {
    let Some(folder) = fixtures() else { return };
    let mut built = 0;
    for name in ["minimal", "no-resource", "unicode-local"] {
        let output = tempfile::tempdir().unwrap();
        let definition = migrate(&folder.join("made").join(name), output.path());
        let argument = format!("--build-definition-file={}", definition.display());
        let ran = run(output.path(), &["registry", "build", &argument, "--json"]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        let path = output.path().join(serde_json::from_str::<Value>(&ran.out).unwrap()["name"].as_str().unwrap());
        let bundle = read_bundle(&path);
        assert_eq!(bundle.name, name);
        let written: Value = serde_json::from_slice(&fs::read(&definition).unwrap()).unwrap();
        let metadata: Value = serde_json::from_slice(&bundle.metadata).unwrap();
        assert_eq!(metadata["description"], written["description"]);
        if name == "unicode-local" {
            let text = String::from_utf8(bundle.metadata).unwrap();
            assert!(
                text.contains("9007199254740993") && text.contains("\u{2028}") && text.contains(r#""default":1.0"#)
            );
            assert_eq!(bundle.files.iter().filter(|file| file.name == "hello.txt").count(), 2);
        }
        built += 1;
    }
    assert_eq!(built, 3);
}
