//! Words, exit codes, where things are printed.

use std::path::Path;

use crate::program::{run, succeed};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_word_registry_is_required() {
    let ran = run(here(), &["migrate"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("migrate"), "{}", ran.err);
}

#[test]
fn wrong_usage_is_status_2_on_standard_error() {
    for arguments in [
        &["registry", "nothing"][..],
        &["registry", "build"],
        &["registry", "migrate", "--unknown"],
        &["registry", "migrate", "--package-directory"],
        &["registry"],
        &[],
    ] {
        let ran = run(here(), arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn help_version_and_info_are_results() {
    for arguments in [&["registry", "--help"][..], &["registry", "-h"], &["registry", "build", "--help"], &["--help"]] {
        let ran = succeed(here(), arguments);
        assert!(ran.out.contains("Usage:") && ran.err.is_empty(), "{arguments:?}");
    }
    assert!(succeed(here(), &["registry", "build", "--help"]).out.contains("--build-definition-file"));
    let version = succeed(here(), &["registry", "--version"]).out;
    assert_eq!(version, format!("dcos-registry {}\n", env!("CARGO_PKG_VERSION")));
    let info = succeed(here(), &["registry", "--info"]);
    assert_eq!((info.out.lines().count(), info.err.as_str()), (1, ""));
}

/// The program through a link `kubectl-registry`, as kubectl calls its plugins.
#[cfg(unix)]
#[test]
fn as_kubectls_plugin_it_needs_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("kubectl-registry");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dcos-registry"), &link).unwrap();
    let call = |arguments: &[&str]| std::process::Command::new(&link).args(arguments).output().unwrap();
    let version = call(&["--version"]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("dcos-registry {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(String::from_utf8(call(&["--info"]).stdout).unwrap().lines().count(), 1);
    let help = String::from_utf8(call(&["build", "--help"]).stdout).unwrap();
    assert!(help.contains("Usage: kubectl registry build"), "{help}");
    assert_eq!(call(&["registry", "build", "--help"]).status.code(), Some(2));
    assert_eq!(call(&[]).status.code(), Some(2));
    let script = String::from_utf8(call(&["completion", "bash"]).stdout).unwrap();
    assert!(script.lines().any(|line| line.contains("complete -F") && line.ends_with(" kubectl-registry")), "{script}");
}

#[test]
fn shells_get_scripts_that_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(here(), &["registry", "completion", shell]).out;
        for word in ["dcos-registry", "migrate", "build-definition-file"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    assert_eq!(run(here(), &["registry", "completion", "csh"]).code, 2);
    // bash takes the script without complaint.
    let script = succeed(here(), &["registry", "completion", "bash"]).out;
    let checked = std::process::Command::new("bash").args(["-n", "-c", &script]).output();
    if let Ok(checked) = checked {
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn manual_pages_come_from_the_definitions() {
    let whole = succeed(here(), &["registry", "man"]).out;
    assert!(whole.contains(".TH") && whole.contains("migrate"), "{whole}");
    let build = succeed(here(), &["registry", "man", "build"]).out;
    assert!(build.contains("build\\-definition\\-file"), "{build}");
    let unknown = run(here(), &["registry", "man", "nothing"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("nothing") && unknown.err.contains("migrate"), "{}", unknown.err);
    let folder = tempfile::tempdir().unwrap();
    let directory = format!("--output-directory={}", folder.path().display());
    assert_eq!(succeed(here(), &["registry", "man", &directory]).out, "");
    assert!(crate::program::names(folder.path()).iter().any(|name| name.ends_with("-build.1")));
}

#[test]
fn nothing_is_coloured_that_does_not_go_to_a_terminal() {
    let ran = run(here(), &["registry", "build", "--build-definition-file=nowhere.json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("Error: nowhere.json: ") && !ran.err.contains('\u{1b}'), "{:?}", ran.err);
}
