//! The audit log: every request that was answered.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;
use snafu::{ResultExt as _, Whatever};

/// The log of one API server.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u64);

/// One answered request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Plural of the kind, with the subresource behind a slash: `deployments/status`.
    pub resource: String,
    /// Namespace of the object; empty where it has none.
    pub namespace: String,
    /// Name of the object; empty where the request has none.
    pub name: String,
    /// Status of the answer.
    pub code: u16,
}

impl Request {
    /// Whether it may have changed something.
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch" | "head")
    }

    fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut resource = text("/objectRef/resource");
        let subresource = text("/objectRef/subresource");
        if !subresource.is_empty() {
            resource = format!("{resource}/{subresource}");
        }
        Some(Self {
            user: text("/user/username"),
            verb: text("/verb"),
            resource,
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event
                .pointer("/responseStatus/code")
                .and_then(Value::as_u64)
                .and_then(|code| code.try_into().ok())?,
        })
    }
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The end of the log, now.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn now(&self) -> Result<Moment, Whatever> {
        let metadata = self.path.metadata().whatever_context("cannot look at the audit log")?;
        Ok(Moment(metadata.len()))
    }

    /// What was answered since then, in that order.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn since(&self, moment: Moment) -> Result<Vec<Request>, Whatever> {
        let mut file = File::open(&self.path).whatever_context("cannot open the audit log")?;
        file.seek(SeekFrom::Start(moment.0)).whatever_context("cannot read the audit log")?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).whatever_context("cannot read the audit log")?;
        // A line that is being written is no JSON yet.
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(Request::parse).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_its_event_and_half_a_line_is_none() {
        let line = r#"{"verb":"patch","user":{"username":"someone"},"objectRef":{"resource":"deployments","subresource":"status","namespace":"demo","name":"it"},"responseStatus":{"code":200}}"#;
        let request = Request::parse(line).unwrap();
        assert_eq!((request.verb.as_str(), request.resource.as_str()), ("patch", "deployments/status"));
        assert_eq!((request.namespace.as_str(), request.name.as_str(), request.code), ("demo", "it", 200));
        assert!(request.is_mutating());
        assert_eq!(Request::parse(&line[..50]), None);
    }
}
