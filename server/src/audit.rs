//! The audit trail: one JSON line on standard output for every change and every denial.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// Where audit lines go.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    kept: Option<Arc<Mutex<Vec<String>>>>,
}

/// A request that wants to change something, or that was denied.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access<'a> {
    /// Who asks, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<&'a str>,
    /// HTTP method.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// Digest of what was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<&'a str>,
    /// Address of the other end of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
    /// Whether it was denied.
    pub denied: bool,
}

/// A package that came or went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change<'a> {
    /// `add` or `remove`.
    pub action: &'static str,
    /// `<namespace>/<name>` of the declaring object, as the declaration itself says; who sent it is in the access line of
    /// the same declaration.
    #[serde(rename = "declaredBy")]
    pub who: &'a str,
    /// Name of the package.
    pub package: &'a str,
    /// Version of the package.
    pub version: &'a str,
    /// Content digest.
    pub digest: &'a str,
    /// Id of the declaration.
    pub declaration: &'a str,
}

#[derive(Serialize)]
struct Line<'a, T> {
    time: String,
    audit: &'static str,
    #[serde(flatten)]
    what: &'a T,
}

impl Audit {
    /// Lines on standard output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines kept in memory, for tests.
    #[must_use]
    pub fn keeping() -> Self {
        Self { kept: Some(Arc::default()) }
    }

    /// Lines kept so far.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let lock = |kept: &Arc<Mutex<Vec<String>>>| kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.kept.as_ref().map(lock).unwrap_or_default()
    }

    /// Notes a request.
    pub fn access(&self, access: &Access<'_>) {
        self.write("access", access);
    }

    /// Notes a package that came or went.
    pub fn change(&self, change: &Change<'_>) {
        self.write("change", change);
    }

    fn write<T: Serialize>(&self, audit: &'static str, what: &T) {
        let line = Line { time: Timestamp::now().to_string(), audit, what };
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        if let Some(kept) = &self.kept {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        } else {
            text.push('\n');
            // Nobody is left to tell when standard output is gone.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
        }
    }
}
