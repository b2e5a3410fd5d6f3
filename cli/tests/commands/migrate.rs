//! `migrate`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::program::{fail, names, package, succeed, write_package};

#[test]
fn the_result_is_one_line_with_everything_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    write_package(
        folder.path(),
        &package(),
        &[
            ("config.json", br#"{ "zeta" : 1.0, "alpha" : [ 9007199254740993, 1E+5, 12345678901234567890123 ] }"#),
            ("resource.json", br#"{ "assets": { "uris": { "a": "https://e.test/a%2Bb?x=1" } } }"#),
            ("marathon.json.mustache", "{{größe}}\r\n".as_bytes()),
            ("notes.txt", b"ignored"),
        ],
    );
    let ran = succeed(
        folder.path(),
        &["registry", "migrate", "--package-directory=package", "--output-directory", "package/"],
    );
    assert_eq!(ran.out, "Created DC/OS Build Definition package/sample-1.0-beta.json\n");
    assert_eq!(ran.err, "");
    let path = folder.path().join("package/sample-1.0-beta.json");
    let expected = concat!(
        r#"{"packagingVersion":"4.0","name":"sample","version":"1.0-beta","maintainer":"Zoë <zoe@example.test>","#,
        r#""description":"Größe 🚀 <&> \"quoted\"","tags":["example"],"#,
        r#""config":{"zeta":1.0,"alpha":[9007199254740993,1E+5,12345678901234567890123]},"#,
        r#""resource":{"assets":{"uris":{"a":"https://e.test/a%2Bb?x=1"}}},"#,
        r#""marathon":{"v2AppMustacheTemplate":"e3tncsO2w59lfX0NCg=="}}"#,
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn with_json_the_output_is_one_document_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    write_package(folder.path(), &package(), &[]);
    let ran = succeed(folder.path(), &["registry", "migrate", "--package-directory=package", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!({"name": "sample-1.0-beta.json"}));
    assert_eq!(names(folder.path()), ["package", "sample-1.0-beta.json"]);
    // The working directory is the package directory where none is given, and a file that is there is replaced.
    fs::write(folder.path().join("package/sample-1.0-beta.json"), "old").unwrap();
    succeed(&folder.path().join("package"), &["registry", "migrate"]);
    let (one, other) = ("sample-1.0-beta.json", "package/sample-1.0-beta.json");
    assert_eq!(fs::read(folder.path().join(one)).unwrap(), fs::read(folder.path().join(other)).unwrap());
}

#[test]
fn paths_are_relative_to_the_output_directory_or_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let resource = br#"{"assets":{"uris":{"a":"./assets/a.txt","b":"@b.txt","c":"../c.txt","d":"/etc/hostname","e":""}},"images":{"icon-small":"file:///i.png"}}"#;
    write_package(folder.path(), &package(), &[("resource.json", resource)]);
    let uris = |output: &str| {
        let output_directory = format!("--output-directory={output}");
        succeed(folder.path(), &["registry", "migrate", "--package-directory=package", &output_directory]);
        let text = fs::read(folder.path().join(output).join("sample-1.0-beta.json")).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(document["resource"]["images"]["icon-small"], "file:///i.png");
        document["resource"]["assets"]["uris"].clone()
    };
    let absolute = |path: &str| fs::canonicalize(folder.path()).unwrap().join(path).to_str().unwrap().to_owned();
    assert_eq!(
        uris("package"),
        json!({"a": "assets/a.txt", "b": "b.txt", "c": absolute("c.txt"), "d": "/etc/hostname", "e": ""})
    );
    assert_eq!(
        uris("."),
        json!({"a": "package/assets/a.txt", "b": "package/b.txt", "c": "c.txt", "d": "/etc/hostname", "e": ""})
    );
    assert_eq!(
        uris("made/on/the/way"),
        json!({"a": absolute("package/assets/a.txt"), "b": absolute("package/b.txt"), "c": absolute("c.txt"), "d": "/etc/hostname", "e": ""})
    );
}

#[test]
fn an_output_directory_that_can_not_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_package(folder.path(), &package(), &[]);
    fs::write(folder.path().join("file"), "").unwrap();
    let arguments = ["registry", "migrate", "--package-directory=package", "--output-directory=file/out"];
    fail(folder.path(), &arguments, &["Error: file/out: ", "irectory"]);
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["registry", "migrate", "--package-directory=package"];
    fail(folder.path(), &arguments, &["package/package.json", "No such file"]);
    write_package(folder.path(), &package(), &[("config.json", b"{\n  \"a\": ,\n}")]);
    fail(folder.path(), &arguments, &["package/config.json", "line 2 column 8"]);
    write_package(folder.path(), &package(), &[("config.json", b"[]")]);
    fail(folder.path(), &arguments, &["package/config.json", "$.config", "object"]);
    write_package(folder.path(), &package(), &[("config.json", b"")]);
    for (key, value, words) in [
        ("packagingVersion", json!("3.0"), ["3.0", "4.0"]),
        ("packagingVersion", json!("2.0"), ["2.0", "4.0"]),
        ("packagingVersion", json!(4.0), ["$.packagingVersion", "string"]),
        ("name", json!("a_b"), ["$.name", "lower-case"]),
        ("name", json!("a".repeat(64)), ["$.name", "63"]),
        ("releaseVersion", json!(1), ["$.releaseVersion", "not allowed"]),
        ("resource", json!({}), ["$.resource", "resource.json"]),
        ("manager", json!({"packageName": "other"}), ["$.manager", "4.0"]),
        ("selected", json!("yes"), ["$.selected", "true or false"]),
    ] {
        let mut package = package();
        package[key] = value;
        write_package(folder.path(), &package, &[]);
        fail(folder.path(), &arguments, &words);
    }
    write_package(folder.path(), &package(), &[("command.json", br#"{"pip":["x"]}"#)]);
    fail(folder.path(), &arguments, &["command.json", "not allowed"]);
    write_package(
        folder.path(),
        &package(),
        &[("command.json", b""), ("resource.json", br#"{"images":{"icon-small":"s3://b/k"}}"#)],
    );
    fail(folder.path(), &arguments, &["resource.json", "s3"]);
    assert_eq!(names(folder.path()), ["package"]);
}
