//! Node trust: the one ConfigMap and the one DaemonSet for all registries, and what nodes say about it.
//!
//! [`plan`] (pure) makes the ConfigMap's content of all `PackageRegistry` objects, [`build`] (pure) the two objects,
//! [`writer`] is the only one that writes them, [`observer`] follows the agents, and [`verdict`] (pure) says what that means
//! for one registry. Both tasks share their findings through [`Trust`].

pub mod agents;
pub mod build;
pub mod observer;
pub mod plan;
pub mod verdict;
pub mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::{Stream, stream};
use node_trust::{desired::Desired, report::Report};
use tokio::sync::{Notify, watch};

/// Name of the ConfigMap and of the DaemonSet.
pub const NAME: &str = "package-registry-node-trust";

/// Which registry.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the writer has written last.
#[derive(Clone, Debug)]
pub struct Written {
    /// The ConfigMap's content.
    pub desired: Desired,
    /// Its hash, as in [`node_trust::desired::HASH_ANNOTATION`].
    pub hash: String,
    /// When it became this.
    pub since: Instant,
}

/// One agent that isn't ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// Name of its node.
    pub node: String,
    /// What is known of it.
    pub state: AgentState,
}

/// What is known of an agent that isn't ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AgentState {
    /// Its kubelet is about to start it.
    Starting,
    /// It doesn't answer, and its kubelet doesn't act on its pod: perhaps it is on its way, perhaps the node is down.
    Silent,
    /// The same for so long that nobody waits for it.
    Lost,
    /// It says what is wrong.
    Reported(Report),
}

/// What the observer has seen last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observation {
    /// Hash that it is about.
    pub hash: String,
    /// Nodes that should have an agent.
    pub desired: i32,
    /// Agents that aren't ready.
    pub agents: Vec<Agent>,
    /// Nodes that should have an agent and have no pod yet.
    pub without_pod: i32,
    /// Whether the hash is so new that agents may still be restarting for it.
    pub fresh: bool,
}

impl Observation {
    /// Whether every node has everything.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.agents.is_empty() && self.without_pod == 0
    }
}

/// All that is known about node trust.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What was written.
    pub written: Option<Written>,
    /// Whether the writer has looked at the registries at all.
    pub looked: bool,
    /// Whether agents are told to remove everything.
    pub uninstalling: bool,
    /// Why nothing can be written, in words.
    pub failure: Option<String>,
    /// Whether that is because the agents' namespace is missing, or the operator's Role in it, which goes with it.
    pub out_of_reach: bool,
    /// What registries asked for and don't get.
    pub refusals: BTreeMap<Key, Vec<plan::Refusal>>,
    /// What was seen.
    pub observation: Option<Observation>,
    /// The last content that every node had.
    pub settled: Option<Desired>,
}

/// The findings, and the bell that asks the writer to look again.
#[derive(Debug)]
pub struct Trust {
    bell: Notify,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { bell: Notify::new(), snapshot: watch::Sender::new(Arc::default()) }
    }
}

impl Trust {
    /// Asks the writer to look at the registries again.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The findings.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// A stream with an item whenever the findings have changed.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(self.snapshot.subscribe(), async |mut receiver| {
            receiver.changed().await.ok()?;
            Some(((), receiver))
        })
    }

    async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Changes the findings; `change` says whether it did.
    fn update(&self, change: impl FnOnce(&mut Snapshot) -> bool) {
        self.snapshot.send_if_modified(|snapshot| change(Arc::make_mut(snapshot)));
    }
}
