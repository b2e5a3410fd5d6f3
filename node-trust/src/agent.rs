//! The agent's passes: read, compare, repair, ask, report.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::apply::apply;
use crate::desired::{self, Desired};
use crate::entries::{self, Entries};
use crate::folder::WantedFolder;
use crate::observe::{observe, open_trust_dir};
use crate::plan::{Plan, plan};
use crate::probe::probe;
use crate::proofs::Proofs;
use crate::report::{Problem, Reason, Report};
use crate::runtime_config::{self, Expected};
use crate::runtime_files;
use crate::settings::Settings;

/// Between passes of an agent that is ready. Drift has to be repaired within 10 s.
const PAUSE: Duration = Duration::from_secs(5);
/// Between passes of one that isn't ready yet: a registry that just came up shouldn't wait for us.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// Between passes of one that hasn't been ready for [`PATIENCE`] passes.
const LONGER_PAUSE: Duration = Duration::from_secs(2);
const PATIENCE: u32 = 60;

/// What the last pass found, and when it ended.
#[derive(Clone, Debug)]
pub struct State {
    /// The report.
    pub report: Report,
    /// When the pass ended.
    pub at: Instant,
}

/// What the agent is to make of the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goal {
    /// Trust what the configuration lists.
    Trust,
    /// Nothing of ours.
    Nothing,
}

/// An agent of one node.
pub struct Agent {
    settings: Settings,
    goal: Goal,
    accepted: Option<Accepted>,
    proofs: Proofs,
    unready_passes: u32,
    state: watch::Sender<State>,
}

/// The last configuration that had the expected hash.
struct Accepted {
    hash: String,
    entries: Entries,
}

impl Agent {
    /// An agent that has done nothing yet, and where its state is to be seen.
    #[must_use]
    pub fn new(settings: Settings, goal: Goal) -> (Self, watch::Receiver<State>) {
        let problems = vec![Problem::of_node(Reason::Progressing, "the first pass has not ended yet".to_owned())];
        let report = Report { node: settings.node_name.clone(), problems, ..Report::default() };
        let (state, seen) = watch::channel(State { report, at: Instant::now() });
        (Self { settings, goal, accepted: None, proofs: Proofs::default(), unready_passes: 0, state }, seen)
    }

    /// Makes passes for ever.
    pub async fn run(mut self) {
        loop {
            let report = self.pass().await;
            self.unready_passes = if report.ready { 0 } else { self.unready_passes.saturating_add(1) };
            tokio::time::sleep(match self.unready_passes {
                0 => PAUSE,
                1..=PATIENCE => SHORT_PAUSE,
                _ => LONGER_PAUSE,
            })
            .await;
        }
    }

    /// One pass: everything that isn't right is repaired where that is ours to do, and reported otherwise.
    pub async fn pass(&mut self) -> Report {
        let mut problems = match self.goal {
            Goal::Trust => self.trust_files(),
            Goal::Nothing => self.write(&[], &[]),
        };
        if self.goal == Goal::Trust {
            self.prove().await;
            problems.extend(self.proofs.problems());
        }
        let report = Report {
            node: self.settings.node_name.clone(),
            hash: self.accepted.as_ref().map(|accepted| accepted.hash.clone()).unwrap_or_default(),
            ready: problems.is_empty(),
            problems,
        };
        self.publish(&report);
        report
    }

    fn trust_files(&mut self) -> Vec<Problem> {
        let mut problems = self.accept();
        // Without a configuration that is known to be the right one nothing is touched: what is there may well be right.
        let Some(accepted) = &self.accepted else {
            return problems;
        };
        let Entries { containerd, docker, targets, problems: refused } = &accepted.entries;
        self.proofs.expect(targets);
        problems.extend(refused.iter().cloned());
        problems.extend(self.write(containerd, docker));
        problems.extend(self.check_runtime());
        problems
    }

    /// Reads the configuration; what has another hash than the expected one is waited for, since it is older than the
    /// pod, or so new that another pod is about to follow.
    fn accept(&mut self) -> Vec<Problem> {
        let path = self.settings.config.display();
        let waiting = |message| vec![Problem::of_node(Reason::Progressing, message)];
        let bytes = match std::fs::read(&self.settings.config) {
            Ok(bytes) => bytes,
            Err(error) => {
                return waiting(format!("{path} can't be read: {error}; the ConfigMap is to be mounted there"));
            }
        };
        let hash = desired::hash(&bytes);
        if let Some(expected) =
            self.settings.expected_hash.as_deref().filter(|expected| !expected.is_empty() && *expected != hash)
        {
            return waiting(format!(
                "{path} has the sha256 {hash}; waiting for the kubelet to bring the one of {expected}"
            ));
        }
        if self.accepted.as_ref().is_some_and(|accepted| accepted.hash == hash) {
            return Vec::new();
        }
        match serde_json::from_slice::<Desired>(&bytes) {
            Ok(desired) => {
                let entries = entries::entries(&desired, &self.settings.host_certs_dir);
                tracing::info!(config.hash = hash, registries = desired.registries.len(), "new configuration");
                self.accepted = Some(Accepted { hash, entries });
                Vec::new()
            }
            Err(error) => {
                waiting(format!("{path} can't be understood: {error}; controller and agent are to be of one version"))
            }
        }
    }

    fn write(&self, containerd: &[WantedFolder], docker: &[WantedFolder]) -> Vec<Problem> {
        let mut problems = converge(&self.settings.certs_dir, &self.settings.host_certs_dir, containerd);
        if let Some(dir) = &self.settings.docker_certs_dir {
            problems.extend(converge(dir, &self.settings.host_docker_certs_dir, docker));
        }
        problems
    }

    fn check_runtime(&self) -> Option<Problem> {
        let mounted = self.settings.runtime_config.as_deref()?;
        let on_node = self.settings.host_runtime_config.as_path();
        let main_file = on_node.to_string_lossy();
        let expected = Expected {
            trust_dir: &self.settings.host_certs_dir,
            main_file: &main_file,
            default_config_path: self.settings.runtime_default_config_path.as_deref().filter(|path| !path.is_empty()),
        };
        let message = match runtime_files::read(mounted, on_node) {
            Ok(found) => runtime_config::check(&found.files, &found.unread, expected).err()?.to_string(),
            Err(error) => format!("{main_file} on the node can't be read: {error}"),
        };
        Some(Problem::of_node(Reason::ConfigPathUnset, message))
    }

    async fn prove(&mut self) {
        let mut answers = JoinSet::new();
        for target in self.proofs.due(Instant::now()) {
            answers.spawn(async move {
                let answer = probe(&target).await;
                (target.owner, answer)
            });
        }
        while let Some(answer) = answers.join_next().await {
            if let Ok((owner, answer)) = answer {
                self.proofs.keep(&owner, Instant::now(), answer);
            }
        }
    }

    fn publish(&self, report: &Report) {
        let before = self.state.send_replace(State { report: report.clone(), at: Instant::now() }).report;
        for problem in report.problems.iter().filter(|problem| !before.problems.contains(problem)) {
            let Problem { namespace, name, host, reason, message } = problem;
            tracing::warn!(registry.namespace = namespace, registry.name = name, host, ?reason, "{message}");
        }
        if report.ready && !before.ready {
            tracing::info!(config.hash = report.hash, "ready");
        }
    }
}

/// Makes one trust folder as it should be. `shown_dir` is its path on the node.
#[must_use]
pub fn converge(dir: &Path, shown_dir: &str, wanted: &[WantedFolder]) -> Vec<Problem> {
    let opened = open_trust_dir(dir).and_then(|dir| Ok((observe(dir.as_fd())?, dir)));
    let (observed, dir) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let message = format!(
                "{shown_dir} on the node can't be opened ({}): {error}; it is to be mounted there",
                dir.display()
            );
            return vec![Problem::of_node(Reason::WriteFailed, message)];
        }
    };
    let Plan { steps, mut problems } = plan(wanted, &observed, shown_dir);
    for steps in steps {
        tracing::info!(host = steps.host, actions = steps.actions.len(), "changing {shown_dir}/{}", steps.host);
        if let Err(error) = steps.actions.iter().try_for_each(|action| apply(dir.as_fd(), action)) {
            let message = format!("{shown_dir} on the node: {error}");
            problems.push(match &steps.owner {
                Some(owner) => Problem::of(owner, Some(&steps.host), Reason::WriteFailed, message),
                None => Problem { host: Some(steps.host), ..Problem::of_node(Reason::WriteFailed, message) },
            });
        }
    }
    problems
}
