//! Real packages, where they are there: `PACKAGE_REGISTRY_FIXTURES`, or `shared/fixtures` beside the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{cache, fail, hex, read_bundle, run, succeed};
use crate::registry::{Behaviour, Registry};

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

/// Stand-ins for everything that a definition names on other machines.
struct StandIns {
    registry: Registry,
    count: usize,
}

impl StandIns {
    /// Puts an address of this machine in place of one of another, with content of its own.
    fn address(&mut self, address: &mut Value) -> Option<String> {
        let text = address.as_str().unwrap();
        if !text.starts_with("http") {
            return None;
        }
        self.count += 1;
        // The last segment stays, with its query: names are made of it.
        let last = text.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
        let content = format!("{} {text}", self.count);
        let path = format!("/{}/{}", self.count, last.split('?').next().unwrap());
        self.registry.file(&path, content.as_bytes());
        *address = json!(format!("http://{}/{}/{last}", self.registry.host, self.count));
        Some(content)
    }

    fn replace(&mut self, definition: &mut Value, images: &mut Vec<String>) {
        let Some(resource) = definition.get_mut("resource") else { return };
        for place in ["/assets/uris", "/images"] {
            for (_, value) in resource.pointer_mut(place).and_then(Value::as_object_mut).into_iter().flatten() {
                match value {
                    Value::Array(screenshots) => screenshots.iter_mut().for_each(|one| drop(self.address(one))),
                    one => drop(self.address(one)),
                }
            }
        }
        for (_, system) in resource.pointer_mut("/cli/binaries").and_then(Value::as_object_mut).into_iter().flatten() {
            let binary = &mut system["x86-64"];
            if let Some(content) = self.address(&mut binary["url"]) {
                binary["contentHash"][0]["value"] = json!(hex(content.as_bytes()));
            }
        }
        let docker = resource.pointer("/assets/container/docker").and_then(Value::as_object);
        images.extend(docker.into_iter().flatten().map(|(_, image)| image.as_str().unwrap().to_owned()));
    }

    /// An image of this name.
    fn image(&self, image: &str) {
        let parsed = bundle::reference::Reference::parse(image).unwrap();
        self.registry.image(&parsed.path, parsed.published_tag(), "amd64", &[b"shared", image.as_bytes()]);
    }
}

/// The metadata with what the manifest says of each path put back is the definition, to the byte.
fn is_the_definition(path: &Path, definition: &str) {
    let bundle = read_bundle(path);
    let manifest: Value = serde_json::from_slice(&bundle.manifest.unwrap()).unwrap();
    let mut metadata = String::from_utf8(bundle.metadata).unwrap();
    let mut expected = definition.to_owned();
    for resource in manifest["resources"].as_array().unwrap() {
        let (entry, source) = (resource["path"].as_str().unwrap(), resource["source"].as_str().unwrap());
        metadata = metadata.replace(&format!("\"{entry}\""), &format!("\"{source}\""));
        // A manifest has no queries.
        for query in ["?raw=true", "?raw=1"] {
            expected = expected.replace(&format!("\"{source}{query}\""), &format!("\"{source}\""));
        }
    }
    assert_eq!(metadata, expected, "{}", path.display());
}

#[test]
fn every_package_is_built_from_stand_ins_and_keeps_everything_but_its_addresses() {
    let Some(folder) = fixtures() else { return };
    let mut all = Vec::new();
    packages(&folder.join("universe"), &mut all);
    assert!(all.len() > 10);
    let mut stand_ins = StandIns { registry: Registry::start(Behaviour::default()), count: 0 };
    let output = tempfile::tempdir().unwrap();
    let hosts = cache(output.path()).join("hosts");
    fs::create_dir_all(hosts.join("_default")).unwrap();
    let text = format!("[host.\"http://{}\"]\n", stand_ins.registry.host);
    fs::write(hosts.join("_default/hosts.toml"), text).unwrap();
    let hosts = format!("--hosts-dir={}", hosts.display());
    for package in all {
        let written = migrate(&package, output.path());
        let mut definition: Value = serde_json::from_slice(&fs::read(&written).unwrap()).unwrap();
        let mut images = Vec::new();
        stand_ins.replace(&mut definition, &mut images);
        for image in &images {
            stand_ins.image(image);
        }
        let text = definition.to_string();
        fs::write(&written, &text).unwrap();
        let argument = format!("--build-definition-file={}", written.display());
        let ran = succeed(output.path(), &["registry", "build", &argument, &hosts, "--json"]);
        let built = output.path().join(serde_json::from_str::<Value>(&ran.out).unwrap()["name"].as_str().unwrap());
        is_the_definition(&built, &text);
        let bundle = read_bundle(&built);
        assert_eq!(bundle.images.len(), images.len(), "{}", package.display());
        // Elsewhere, with nothing in its cache: the same bytes.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("definition"), &text).unwrap();
        let arguments = ["registry", "build", "--build-definition-file=definition", &hosts];
        succeed(elsewhere.path(), &arguments);
        let again = elsewhere.path().join(built.file_name().unwrap());
        assert!(fs::read(&built).unwrap() == fs::read(again).unwrap(), "{}", package.display());
    }
    assert!(stand_ins.count > 100, "{} addresses", stand_ins.count);
}

#[test]
fn a_package_of_packaging_version_3_is_built_from_references() {
    let Some(folder) = fixtures() else { return };
    let package = folder.join("made/old-packaging");
    let output = tempfile::tempdir().unwrap();
    let mut definition: Value = serde_json::from_slice(&fs::read(package.join("package.json")).unwrap()).unwrap();
    assert_eq!(definition["packagingVersion"], "3.0");
    definition.as_object_mut().unwrap().shift_remove("selected");
    let template = package.join("marathon.json.mustache");
    definition["marathon"] = json!({"v2AppMustacheTemplate": format!("@{}", template.display())});
    definition["command"] = serde_json::from_slice(&fs::read(package.join("command.json")).unwrap()).unwrap();
    fs::write(output.path().join("old.json"), definition.to_string()).unwrap();
    succeed(output.path(), &["registry", "build", "--build-definition-file=old.json"]);
    let name = format!("{}-{}.dcos", definition["name"].as_str().unwrap(), definition["version"].as_str().unwrap());
    let metadata: Value = serde_json::from_slice(&read_bundle(&output.path().join(name)).metadata).unwrap();
    let encoded = data_encoding::BASE64.encode(&fs::read(template).unwrap());
    assert_eq!(metadata["marathon"]["v2AppMustacheTemplate"], encoded);
    assert_eq!(metadata["command"], definition["command"]);
}
