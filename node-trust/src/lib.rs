//! Node trust: what an agent on every node writes so that its container runtime trusts the registries.
//!
//! The controller uses [`desired`], the ConfigMap's content, and [`report`], what an agent answers on `/status`. The rest
//! is the agent itself, a library so that tests reach it. Pure: [`host_name`], [`marker`], [`hosts_toml`], [`entries`],
//! [`plan`], [`runtime_config`], [`proofs`]. With effects: [`observe`], [`apply`], [`runtime_files`], [`probe`],
//! [`agent`], [`http`].

pub mod agent;
pub mod apply;
pub mod desired;
pub mod entries;
pub mod folder;
pub mod host_name;
pub mod hosts_toml;
pub mod http;
pub mod marker;
pub mod observe;
pub mod plan;
pub mod probe;
pub mod proofs;
pub mod report;
pub mod runtime_config;
pub mod runtime_files;
pub mod settings;
