//! `add`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use bundle::zip::ZipWriter;
use serde_json::{Value, json};

use crate::packages::built;
use crate::program::{Ran, fail, finish, noise, program, run, succeed};
use crate::server::Server;
use crate::stand_in::{Asked, StandIn};
use crate::wire::{Faults, Wire};

/// Runs a sub-command against a server, or a wire to it.
pub fn call(folder: &Path, server: &Server, port: u16, arguments: &[&str]) -> Ran {
    let target = server.target(port);
    let mut all = vec!["registry"];
    all.extend(arguments);
    all.extend(target.iter().map(String::as_str));
    run(folder, &all)
}

fn added(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn add_says_the_words_that_scripts_know() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "fwredis", "0.1.0-5.0.5", &[&noise(1, 205_500)], &[b"layer"]);
    let ran = call(folder.path(), &server, server.port, &["add", "--dcos-file=fwredis-0.1.0-5.0.5.dcos"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let words = "File Upload progress: [======================================] 206 kB/206 kB\n\
        Package uploaded successfully. Please wait while it is being validated..\n\
        Added packages:\n\t fwredis 0.1.0-5.0.5\n\
        Note: It will take a couple of minutes for the packages to be added to the registry\n";
    assert_eq!(ran.out, words);
    assert_eq!(ran.err, "");
    // Who waits isn't told to wait.
    let ran = call(folder.path(), &server, server.port, &["add", "--dcos-file=fwredis-0.1.0-5.0.5.dcos", "--wait"]);
    assert_eq!(ran.out, words.split_once("Note: ").unwrap().0);
}

#[test]
fn with_json_the_output_is_one_document_and_the_words_are_messages() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "sample", "1", &[b"file"], &[b"layer"]);
    let ran = call(folder.path(), &server, server.port, &["add", "--dcos-file", "sample-1.dcos", "--json", "--wait"]);
    let package = &added(&ran)["packages"][0];
    assert_eq!(
        (&package["name"], &package["version"], &package["status"]),
        (&json!("sample"), &json!("1"), &json!("Added"))
    );
    assert!(ran.err.contains("Package uploaded successfully."), "{}", ran.err);
    // The same content again: success, nothing is sent.
    let wire = Wire::to(server.port, Faults::default());
    let again = added(&call(folder.path(), &server, wire.port, &["add", "--dcos-file=sample-1.dcos", "--json"]));
    assert_eq!(again["packages"][0]["bytesSent"], 0);
}

#[test]
fn only_what_is_missing_is_sent() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let (shared, own) = (noise(1, 3_000_000), noise(2, 500_000));
    built(folder.path(), "first", "1", &[], &[&shared]);
    built(folder.path(), "second", "1", &[], &[&shared, &own]);
    added(&call(folder.path(), &server, server.port, &["add", "--dcos-file=first-1.dcos", "--json", "--wait"]));
    let wire = Wire::to(server.port, Faults::default());
    let second = added(&call(folder.path(), &server, wire.port, &["add", "--dcos-file=second-1.dcos", "--json"]));
    let sent = second["packages"][0]["bytesSent"].as_u64().unwrap();
    assert!((500_000..510_000).contains(&sent), "{sent}");
    assert!(wire.sent() < 600_000, "{}", wire.sent());
}

#[test]
fn a_lost_connection_is_gone_on_with() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let files: Vec<_> = (0..3).map(|seed| noise(seed, 2_000_000)).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    built(folder.path(), "big", "1", &files, &[]);
    let wire = Wire::to(server.port, Faults { cuts: 4, cut_after: 900_000, ..Faults::default() });
    let package =
        added(&call(folder.path(), &server, wire.port, &["add", "--dcos-file=big-1.dcos", "--json", "--wait"]));
    assert_eq!(package["packages"][0]["status"], "Added");
    // What was cut off had arrived, but for what was in the wire and in buffers.
    assert!(wire.sent() < 10_000_000, "{}", wire.sent());
}

#[test]
fn a_call_that_is_killed_ten_times_finishes_and_sends_little_twice() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let files: Vec<_> = (0..4).map(|seed| noise(seed, 1_500_000)).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    built(folder.path(), "big", "1", &files, &[]);
    let (total, mut killed) = (6_000_000, 0);
    let wire = Wire::to(server.port, Faults { speed: 8_000_000, ..Faults::default() });
    let target = server.target(wire.port);
    for point in 1..=10 {
        let mut command = program(folder.path(), &["registry", "add", "--dcos-file=big-1.dcos"]);
        let mut child = command.args(&target).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while wire.sent() < point * total / 11 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed >= 8, "only {killed} calls were killed on their way");
    let last = added(&call(folder.path(), &server, wire.port, &["add", "--dcos-file=big-1.dcos", "--json", "--wait"]));
    assert_eq!(last["packages"][0]["status"], "Added");
    // Each killed call may lose what was in the wire, in TLS and in the server's hands.
    let most = total + 10 * 400_000;
    assert!(wire.sent() < most, "{} of {most}", wire.sent());
}

#[test]
fn a_server_that_is_killed_on_the_way_is_gone_on_with() {
    let (folder, mut server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "big", "1", &[&noise(1, 4_000_000), &noise(2, 4_000_000)], &[]);
    let wire = Wire::to(server.port, Faults { speed: 8_000_000, ..Faults::default() });
    let mut command = program(folder.path(), &["registry", "add", "--dcos-file=big-1.dcos", "--wait", "--json"]);
    command.args(server.target(wire.port)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    while wire.sent() < 3_000_000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.restart();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(wire.sent() < 12_000_000, "{}", wire.sent());
}

/// More failures than a question is worth to which nothing was sent yet, at each step that follows the sending.
#[test]
fn trouble_after_everything_was_sent_is_waited_out_as_while_it_is_sent() {
    let trouble = |asked: &Asked| {
        let method = asked.what.split(' ').next().unwrap();
        let times = match method {
            "GET" => 0..7,
            // The first opens the upload.
            "POST" => 1..8,
            _ => 0..0,
        };
        times.contains(&asked.before).then_some((StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO))
    };
    let (folder, stand_in) = (tempfile::tempdir().unwrap(), StandIn::start(trouble));
    built(folder.path(), "sample", "1", &[b"file"], &[]);
    let url = format!("--url=http://127.0.0.1:{}", stand_in.port);
    succeed(folder.path(), &["registry", "add", "--dcos-file=sample-1.dcos", "--wait", &url]);
}

#[test]
fn a_bundle_that_is_wrong_is_refused_before_anything_is_sent() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let path = built(folder.path(), "sample", "1", &[b"what is needed"], &[]);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(14).position(|window| window == b"what is needed").unwrap();
    bytes[at] ^= 1;
    fs::write(folder.path().join("damaged.dcos"), bytes).unwrap();
    fs::write(folder.path().join("text.dcos"), "no package").unwrap();
    let target = server.target(server.port);
    for (file, words) in [
        ("damaged.dcos", ["damaged.dcos", "resources/", "damaged"]),
        ("text.dcos", ["text.dcos", "ZIP file", "not a ZIP file"]),
        ("absent.dcos", ["absent.dcos", "o such file", ""]),
    ] {
        fail(folder.path(), &["registry", "add", "--dcos-file", file, &target[0], &target[1]], &words);
    }
}

#[test]
fn other_content_under_a_name_and_version_is_refused_with_what_to_do() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "sample", "1", &[b"first"], &[]);
    added(&call(folder.path(), &server, server.port, &["add", "--dcos-file=sample-1.dcos", "--json", "--wait"]));
    built(folder.path(), "sample", "1", &[b"other"], &[]);
    let ran = call(folder.path(), &server, server.port, &["add", "--dcos-file=sample-1.dcos"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains("sample-1.dcos") && ran.err.contains("remove"), "{}", ran.err);
}

#[test]
fn several_files_have_a_line_each_and_one_that_fails_keeps_no_other_out() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    built(folder.path(), "one", "1", &[b"1"], &[]);
    built(folder.path(), "two", "2", &[b"2"], &[]);
    fs::write(folder.path().join("wrong.dcos"), "no package").unwrap();
    let files = ["add", "--dcos-file", "one-1.dcos", "wrong.dcos", "two-2.dcos", "--json", "--wait"];
    let ran = call(folder.path(), &server, server.port, &files);
    assert_eq!(ran.code, 1);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&summary["packages"][0]["name"], &summary["packages"][1]["name"]), (&json!("one"), &json!("two")));
    assert_eq!(summary["failed"][0]["file"], "wrong.dcos");
    for words in ["one-1.dcos: one 1, ", "two-2.dcos: two 2, ", "Error: wrong.dcos: ", "1 of 3 files were not added"] {
        assert!(ran.err.contains(words), "no {words:?} in {}", ran.err);
    }
}

/// What people can make by hand, with any tool that packs.
#[test]
fn images_from_docker_save_are_sent_too() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let layer = noise(9, 100_000);
    let digest = bundle::digest::sha256(&layer);
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest]}});
    let manifest = json!([{"Config": "config.json", "RepoTags": ["acme/web:1"], "Layers": ["layer.tar"]}]);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("layer.tar", layer.as_slice()),
        ("config.json", config.to_string().as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    let archive = tar.into_inner().unwrap();
    let metadata = json!({"packagingVersion": "4.0", "name": "by-hand", "version": "1", "maintainer": "m", "description": "",
        "tags": [], "resource": {"assets": {"container": {"docker": {"main": "acme/web:1"}}}}});
    let mut zip = ZipWriter::new(fs::File::create(folder.path().join("by-hand.dcos")).unwrap());
    zip.deflated("metadata.json", metadata.to_string().as_bytes()).unwrap();
    zip.deflated("docker/images.tar", &archive).unwrap();
    zip.finish().unwrap();
    let ran = call(folder.path(), &server, server.port, &["add", "--dcos-file=by-hand.dcos", "--json", "--wait"]);
    assert_eq!(added(&ran)["packages"][0]["name"], "by-hand");
    let described = call(
        folder.path(),
        &server,
        server.port,
        &["describe", "--package-name=by-hand", "--package-version=1", "--json"],
    );
    let image = added(&described)["images"][0]["reference"].as_str().unwrap().to_owned();
    assert!(image.starts_with("docker.io/acme/web:1@sha256:"), "{image}");
}

#[test]
fn a_server_that_is_not_there_or_not_trusted_is_named() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    let path = built(folder.path(), "sample", "1", &[], &[]);
    let file = format!("--dcos-file={}", path.display());
    let untrusted = format!("--url=https://localhost:{}", server.port);
    fail(folder.path(), &["registry", "add", &file, &untrusted], &["localhost", "certificate"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fail(
        folder.path(),
        &["registry", "add", &file, &format!("--url=http://127.0.0.1:{nobody}")],
        &["127.0.0.1", "refused"],
    );
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let ca = format!("--ca-file={}", empty.display());
    fail(folder.path(), &["registry", "add", &file, &untrusted, &ca], &["--ca-file", "PEM"]);
    fail(folder.path(), &["registry", "add", &file, "--url=ftp://x.test"], &["--url", "https://"]);
    fail(folder.path(), &["registry", "add", &file, &untrusted, "--token-file=none"], &["--token-file", "none"]);
    let both = finish(&mut program(folder.path(), &["registry", "add", &file, &untrusted, "--context=x"]));
    assert_eq!(both.code, 2);
    let help = succeed(folder.path(), &["registry", "add", "--help"]).out;
    for flag in [
        "--dcos-file",
        "--wait",
        "--kubeconfig",
        "--context",
        "-n, --namespace",
        "--name",
        "--url",
        "--ca-file",
        "--token-file",
    ] {
        assert!(help.contains(flag), "no {flag}");
    }
}
