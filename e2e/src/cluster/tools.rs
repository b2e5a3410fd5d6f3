//! Programs that tests start by themselves, outside the cluster.

use std::path::PathBuf;

use super::{
    error::Result,
    go_build::{ensure_cosign, ensure_distribution, ensure_minio, ensure_versitygw},
    prerequisites::ensure_go,
    progress::Progress,
    up::lock,
};

/// A program that is built when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    ensure: fn(&Progress) -> Result<PathBuf>,
}

/// All of them.
pub const TOOLS: [Tool; 4] = [
    Tool { name: "minio", ensure: ensure_minio },
    Tool { name: "versitygw", ensure: ensure_versitygw },
    Tool { name: "distribution", ensure: ensure_distribution },
    Tool { name: "cosign", ensure: ensure_cosign },
];

impl Tool {
    /// Builds it unless the cache holds it, and says where it is.
    ///
    /// # Errors
    /// A Go that is missing or too old, and what the build says.
    pub fn ensure(&self) -> Result<PathBuf> {
        ensure_go()?;
        let _one_at_a_time = lock()?;
        (self.ensure)(&Progress::start())
    }
}
