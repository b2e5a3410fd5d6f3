//! The health document of `GET /` and `GET /health`: `{"checks":{"/repo":{"Healthy":{"message":"…"}}}}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All checks by name. The key `/repo` is always there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Check by name.
    pub checks: BTreeMap<String, Check>,
}

/// What one check found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Check {
    /// It works.
    Healthy {
        /// In words.
        message: String,
    },
    /// It doesn't.
    Unhealthy {
        /// Why.
        message: String,
    },
}
