//! What commands run on that ask others.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Two threads and the thread that waits: reading, hashing and TLS of several transfers at once.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
