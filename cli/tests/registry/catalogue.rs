//! `describe`, `list`, `export`, `status`, `remove`, and calls of old clients.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::add::call;
use crate::packages::built;
use crate::program::{fail, noise, succeed};
use crate::server::Server;
use crate::wire::{Faults, Wire};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_unknown_package_has_the_known_sentence_and_status_1() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let target = server.target(server.port);
    for command in ["describe", "remove", "export"] {
        let arguments = ["registry", command, "--package-name=none", "--package-version=1.2-x", &target[0], &target[1]];
        fail(folder.path(), &arguments, &["Version [1.2-x] of package [none] not found"]);
    }
    assert_eq!(crate::program::names(folder.path()), [""; 0], "nothing is left of an export");
}

/// The calls of a client that was written for the original.
#[test]
fn an_old_clients_calls_pass() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "sample", "1.0-beta", &[b"file"], &[b"layer"]);
    let describe = ["describe", "--package-name=sample", "--package-version=1.0-beta", "--json"];
    assert_eq!(call(folder.path(), &server, server.port, &describe).code, 1);
    let added = call(folder.path(), &server, server.port, &["add", "--dcos-file=sample-1.0-beta.dcos", "--json"]);
    assert_eq!(added.code, 0, "{}", added.err);
    assert!(!json_of(&added.out)["packages"].as_array().unwrap().is_empty());
    let started = Instant::now();
    loop {
        let described = call(folder.path(), &server, server.port, &describe);
        if described.code == 0 && json_of(&described.out)["status"] == "Added" {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{}{}", described.out, described.err);
        std::thread::sleep(Duration::from_millis(100));
    }
    // A package object out of a v4 answer is a build definition.
    let roots = [reqwest::Certificate::from_pem(&fs::read(server.ca_file()).unwrap()).unwrap()];
    let repo = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only(roots).build().unwrap();
        let accept = "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4";
        let request = client.get(format!("https://localhost:{}/repo", server.port)).header("accept", accept);
        request.send().await.unwrap().text().await.unwrap()
    });
    let mut package = json_of(&repo)["packages"][0].clone();
    package.as_object_mut().unwrap().remove("releaseVersion");
    package.as_object_mut().unwrap().remove("selected");
    // Its addresses are the server's, whose certificate nobody else knows.
    package["resource"]["assets"] = json!({"uris": {"f0": "sample-0.bin"}});
    fs::create_dir(folder.path().join("again")).unwrap();
    fs::write(folder.path().join("4f1c"), package.to_string()).unwrap();
    succeed(
        folder.path(),
        &["registry", "build", "--build-definition-file=4f1c", "--output-directory=again", "--json"],
    );
    assert!(folder.path().join("again/sample-1.0-beta.dcos").exists());
}

#[test]
fn what_is_there_is_listed_described_and_removed() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let ask = |arguments: &[&str]| call(folder.path(), &server, server.port, arguments);
    assert_eq!(ask(&["list"]).out, "There are no packages.\n");
    assert_eq!(json_of(&ask(&["list", "--json"]).out), json!({"packages": []}));
    built(folder.path(), "sample", "1", &[&noise(1, 12_345)], &[b"layer"]);
    assert_eq!(ask(&["add", "--dcos-file=sample-1.dcos", "--wait"]).code, 0);
    let list = ask(&["list"]).out;
    assert!(
        list.starts_with("NAME     VERSION   RELEASE") && list.contains("\nsample   1") && list.contains("Added"),
        "{list}"
    );
    assert_eq!(json_of(&ask(&["list", "--json"]).out)["packages"][0]["name"], "sample");
    let package = ["--package-name=sample", "--package-version=1"];
    let described = ask(&["describe", package[0], package[1]]).out;
    for part in [
        "Name:              sample\n",
        "Status:            Added\n",
        "docker.io/acme/web:1@sha256:",
        "linux/amd64",
        "12.",
        "kB",
    ] {
        assert!(described.contains(part), "no {part:?} in\n{described}");
    }
    let document = json_of(&ask(&["describe", package[0], package[1], "--json"]).out);
    assert_eq!((&document["status"], &document["packagingVersion"]), (&json!("Added"), &json!("4.0")));
    assert!(
        document["releaseVersion"].as_u64() > Some(1_600_000_000)
            && document["digest"].as_str().unwrap().starts_with("sha256:")
    );
    let status = ask(&["status"]).out;
    assert!(status.contains("Catalogue:    1 packages\n") && status.contains("Used:"), "{status}");
    assert_eq!(json_of(&ask(&["status", "--json"]).out)["server"]["packages"], 1);
    let removed = ask(&["remove", package[0], package[1]]);
    assert_eq!((removed.code, removed.out.as_str()), (0, "Removed package sample 1\n"), "{}", removed.err);
    assert_eq!(ask(&["describe", package[0], package[1]]).code, 1);
    assert_eq!(ask(&["add", "--dcos-file=sample-1.dcos", "--wait"]).code, 0, "it can come back");
    let removed = json_of(&ask(&["remove", package[0], package[1], "--json"]).out);
    assert_eq!((&removed["name"], &removed["status"]), (&json!("sample"), &json!("Removing")));
}

#[test]
fn what_is_exported_is_byte_for_byte_what_was_built() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let (file, layer) = (noise(1, 700_000), noise(2, 2_000_000));
    let path = built(folder.path(), "sample", "1", &[&file, b"small"], &[&layer]);
    assert_eq!(call(folder.path(), &server, server.port, &["add", "--dcos-file=sample-1.dcos", "--wait"]).code, 0);
    fs::create_dir(folder.path().join("out")).unwrap();
    let package = ["--package-name=sample", "--package-version=1", "--output-directory=out"];
    let ran = call(folder.path(), &server, server.port, &["export", package[0], package[1], package[2]]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Created DC/OS Universe Package out/sample-1.dcos\n"), "{}", ran.err);
    let exported = fs::read(folder.path().join("out/sample-1.dcos")).unwrap();
    assert!(exported == fs::read(&path).unwrap(), "{} bytes", exported.len());
    let ran = call(folder.path(), &server, server.port, &["export", package[0], package[1], package[2], "--json"]);
    assert_eq!(json_of(&ran.out), json!({"name": "out/sample-1.dcos"}));
}

#[test]
fn a_token_is_sent_as_the_file_has_it_when_the_call_is_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "abc.def\n").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--url=http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let asked = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let (mut stream, _) = listener.accept().unwrap();
        let count = stream.read(&mut bytes).unwrap();
        let body = r#"{"packages":[]}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&bytes[..count]).to_lowercase()
    });
    let ran = succeed(folder.path(), &["registry", "list", &url, "--token-file=token", "-v"]);
    let asked = asked.join().unwrap();
    assert!(asked.contains("get /api/v1/packages") && asked.contains("authorization: bearer abc.def\r\n"), "{asked}");
    assert!(ran.err.contains("GET http://127.0.0.1") && !ran.err.contains("abc.def"), "{}", ran.err);
}

#[test]
fn an_export_over_a_wire_that_breaks_goes_on() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let path = built(folder.path(), "sample", "1", &[&noise(1, 3_000_000)], &[]);
    assert_eq!(call(folder.path(), &server, server.port, &["add", "--dcos-file=sample-1.dcos", "--wait"]).code, 0);
    // The first two connections end with the second request.
    let wire = Wire::to(server.port, Faults { cuts: 2, cut_after: 1_500, ..Faults::default() });
    fs::create_dir(folder.path().join("out")).unwrap();
    let export = ["export", "--package-name=sample", "--package-version=1", "--output-directory=out"];
    let ran = call(folder.path(), &server, wire.port, &export);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(fs::read(folder.path().join("out/sample-1.dcos")).unwrap() == fs::read(path).unwrap());
}
