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
