//! `serve`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::packages::built;
use crate::program::{fail, names, program};

#[test]
fn bundles_of_a_folder_are_served_read_only() {
    let folder = tempfile::tempdir().unwrap();
    built(folder.path(), "one", "1", &[b"one"], &[b"layer"]);
    built(folder.path(), "two", "2", &[b"two"], &[]);
    let server = format!("--server={}", crate::server::program().display());
    fs::create_dir(folder.path().join("work")).unwrap();
    let arguments = ["registry", "serve", ".", "--listen=127.0.0.1:0", "--work-directory=work", &server];
    let mut child = program(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("Serving 2 packages at http://127.0.0.1:"), "{first}");
    let base =
        first.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(',').to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let repo = client.get(format!("{base}/repo")).send().await.unwrap().text().await.unwrap();
        let repo: Value = serde_json::from_str(&repo).unwrap();
        assert_eq!(repo["packages"].as_array().unwrap().len(), 2);
        let file = repo["packages"][0]["resource"]["assets"]["uris"]["f0"].as_str().unwrap().to_owned();
        assert!(file.starts_with(&base), "{file}");
        assert_eq!(client.get(file).send().await.unwrap().text().await.unwrap(), "one");
        let manifest = client.get(format!("{base}/v2/docker.io/acme/web/manifests/1")).send().await.unwrap();
        assert_eq!(manifest.status(), 200);
        for request in [
            client.delete(format!("{base}/api/v1/packages/one/1")),
            client.post(format!("{base}/v2/x/blobs/uploads/")),
            client.post(format!("{base}/api/v1/uploads")),
        ] {
            let refused = request.send().await.unwrap();
            assert_eq!(refused.status(), 403);
            assert!(refused.text().await.unwrap().contains("read-only"));
        }
    });
    #[cfg(unix)]
    {
        assert!(signal("-TERM", &child.id().to_string()));
        assert!(child.wait().unwrap().success() && names(&folder.path().join("work")).is_empty());
    }
    #[cfg(not(unix))]
    child.kill().unwrap();
}

/// Sends a signal to a process; whether there is one.
#[cfg(unix)]
fn signal(signal: &str, process: &str) -> bool {
    Command::new("kill").args([signal, process]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn what_can_not_be_served_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wrong.dcos"), "no package").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let server = format!("--server={}", crate::server::program().display());
    fail(folder.path(), &["registry", "serve", "wrong.dcos", &server], &["wrong.dcos", "ZIP file"]);
    fail(folder.path(), &["registry", "serve", "empty", &server], &["empty", "no .dcos file"]);
    fail(folder.path(), &["registry", "serve", "none", &server], &["none"]);
    fail(folder.path(), &["registry", "serve", "wrong.dcos", "--server=/nowhere/x"], &["/nowhere/x"]);
}

/// An interrupt while the first server starts, while it is being filled (it never answers the first call), and while the second
/// one starts.
#[cfg(unix)]
#[test]
fn an_interrupt_before_anything_is_served_leaves_neither_store_nor_server() {
    use std::os::unix::fs::PermissionsExt;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!(r#"{{"fields": {{"address": "{}"}}}}"#, silent.local_addr().unwrap());
    let real = crate::server::program().display();
    let filled = format!(r#"case "$*" in *--auth=none*) exec '{real}' "$@" ;; esac"#);
    for (first, said) in [("", "starting"), ("", line.as_str()), (filled.as_str(), "starting again")] {
        let folder = tempfile::tempdir().unwrap();
        built(folder.path(), "one", "1", &[b"one"], &[]);
        let (stand_in, noted) = (folder.path().join("server"), folder.path().join("process"));
        fs::create_dir(folder.path().join("work")).unwrap();
        let script = format!("#!/bin/sh\n{first}\necho $$ > process\necho '{said}' >&2\nexec sleep 600\n");
        fs::write(&stand_in, script).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = ["registry", "serve", "one-1.dcos", "--work-directory=work", "--server=./server"];
        let child = program(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _held = (said == line).then(|| silent.accept().unwrap());
        while !fs::read_to_string(&noted).is_ok_and(|text| text.ends_with('\n')) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(signal("-INT", &child.id().to_string()));
        let ended = child.wait_with_output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(1) && err.contains("interrupted"), "{said}: {} {err}", ended.status);
        assert!(names(&folder.path().join("work")).is_empty(), "{said}: the store is there");
        assert!(!signal("-0", fs::read_to_string(&noted).unwrap().trim()), "{said}: the server runs");
    }
}
