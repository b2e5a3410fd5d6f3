//! What an agent answers on `GET /status`.

use serde::{Deserialize, Serialize};

use crate::entries::Owner;

/// Port of the agent's `/status`, `/readyz` and `/livez`, on the node's own addresses.
pub const PORT: u16 = 9845;

/// The agent's word on its node.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the node.
    pub node: String,
    /// sha256 (hex) of the configuration that this report is about.
    pub hash: String,
    /// Whether everything is right.
    pub ready: bool,
    /// What isn't right; empty when ready.
    pub problems: Vec<Problem>,
}

/// One thing that keeps a node from trusting a registry.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Namespace of the registry, absent when it concerns them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the registry, absent when it concerns them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Host name or upstream that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The reason's word.
    pub reason: Reason,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of one registry, and of one of its hosts where that is known.
    #[must_use]
    pub fn of(owner: &Owner, host: Option<&str>, reason: Reason, message: String) -> Self {
        let Owner { namespace, name } = owner.clone();
        Self { namespace: Some(namespace), name: Some(name), host: host.map(ToOwned::to_owned), reason, message }
    }

    /// A problem of the whole node.
    #[must_use]
    pub fn of_node(reason: Reason, message: String) -> Self {
        Self { namespace: None, name: None, host: None, reason, message }
    }
}

/// Kinds of problems; the names are reasons of the `NodesTrusted` condition where the design has one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// The configuration that the pod was started for has not arrived yet.
    Progressing,
    /// The runtime's configuration doesn't cover the trust folder.
    ConfigPathUnset,
    /// A folder of that name belongs to somebody else.
    NameTaken,
    /// The folder could not be written.
    WriteFailed,
    /// `GET /v2/` from this node failed.
    Unreachable,
}
