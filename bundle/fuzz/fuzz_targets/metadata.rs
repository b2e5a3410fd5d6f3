//! `cargo +nightly fuzz run metadata`: whatever is valid stays valid, and its repository form is JSON.
#![no_main]

use bundle::universe::{Addresses, Metadata, repository_package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(metadata) = Metadata::parse(bytes) else { return };
    let written = metadata.document.to_string();
    assert_eq!(Metadata::parse(written.as_bytes()).expect("still valid"), metadata);
    let addresses = Addresses { origin: "https://r.test", image_host: "r.test", images: &[] };
    repository_package(bytes, 1, &addresses).expect("valid metadata has a repository form");
});
