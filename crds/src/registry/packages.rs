//! Rules for packages, and the collection of what no package needs any more.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules for packages.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Packages {
    /// What happens to an upload whose name and version are there with other content. `Reject`: it is refused. `Replace`:
    /// it takes the place of what is there, unless a Package with another source declares that.
    pub on_conflict: OnConflict,
    /// Most bytes of one bundle, as `32Gi`; unless set, as the server has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Quantity>,
    /// From where bundles may be fetched. Empty: from nowhere.
    pub sources: Sources,
    /// What happens when a Package is deleted whose images are still used by pods, or by what is scaled to zero, suspended or
    /// waits in a `CronJob`.
    pub removal: Removal,
}

/// What a deletion does about workloads that use the package.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Removal {
    /// The Package object stays, with a condition that names the workloads, until they are gone or the annotation
    /// `registry.dcos.io/force-removal: "true"` is set.
    #[default]
    BlockIfInUse,
    /// An Event names the workloads, and the package goes.
    WarnIfInUse,
}

/// From where bundles may be fetched. A source must match one of the lists; loopback, link-local and cloud metadata addresses
/// never do by a host name.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sources {
    /// Host names, with or without `:port`, compared to the letter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 260), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_hosts: Vec<String>,
    /// Address ranges in CIDR form, as `10.20.0.0/16`.
    #[serde(default, rename = "allowedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64), regex(pattern = "^[0-9a-fA-F.:]+/[0-9]{1,3}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_cidrs: Vec<String>,
    /// Whether a source must carry `sha256`.
    #[serde(default = "super::yes")]
    pub require_digest: bool,
}

impl Default for Sources {
    fn default() -> Self {
        Self { allowed_hosts: Vec::new(), allowed_cidrs: Vec::new(), require_digest: true }
    }
}
/// What happens to an upload whose name and version are there with other content.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It takes the place of what is there, unless a Package with another source declares that.
    Replace,
}

/// When and how content is collected that nothing refers to any more. What isn't set is as the server has it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.interval) || duration(self.interval) >= duration('1m')").message("interval must be at least 1m"))]
#[x_kube(validation = Rule::new("!has(self.gracePeriod) || duration(self.gracePeriod) >= duration('0s')").message("gracePeriod must not be negative"))]
pub struct GarbageCollection {
    /// Time between two collections, as `6h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub interval: Option<Duration>,
    /// How long content stays after the last reference to it went, so that a push under way finds its blobs, as `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub grace_period: Option<Duration>,
    /// Only count what would go, and say it in the log and the metrics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl GarbageCollection {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
