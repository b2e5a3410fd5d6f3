//! `cargo +nightly fuzz run zip`: no bytes may make the ZIP reader panic, hang or take memory without end.
#![no_main]

use std::io;

use bundle::zip::{ZipLimits, ZipStream};
use libfuzzer_sys::fuzz_target;

const LIMITS: ZipLimits = ZipLimits { total: 1 << 24, entry: 1 << 22, entries: 1000, ratio: 200 };

fuzz_target!(|bytes: &[u8]| {
    let mut zip = ZipStream::new(bytes, LIMITS);
    while let Ok(Some(_)) = zip.next_entry() {
        if io::copy(&mut zip.body(), &mut io::sink()).is_err() {
            assert!(zip.take_fault().is_some());
            return;
        }
    }
    let _ = zip.finish();
});
