//! What the person who waits sees on standard error.

use std::time::Instant;

/// Prints each step with the seconds since the start.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Says what is done, or begins.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:>7.1}s  {what}", self.start.elapsed().as_secs_f64());
    }
}
