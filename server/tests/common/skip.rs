//! A test that can't run says so.

use std::io::Write;
use std::path::PathBuf;

/// Says that something isn't tested, and why. Goes past the capture of the test harness, which shows the output of failed
/// tests alone: what wasn't tested must be seen.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // A closed standard error keeps nobody from testing.
    let _ = std::io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes());
}

/// The folder of real packages beside the checkout; `None`, with a word, where there is none.
pub fn fixtures() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let folder = std::env::var_os("PACKAGE_REGISTRY_FIXTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    skip(&format!("no fixtures at {}", folder.display()));
    None
}
