//! Metrics in the text form of `OpenMetrics`. Labels are from fixed sets: kinds, reasons, conditions.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    kind: String,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ObjectLabels {
    kind: String,
    ready: &'static str,
}

/// The controller's metrics; clones share the numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciliations: Family<KindLabel, Counter>,
    failures: Family<FailureLabels, Counter>,
    durations: Family<KindLabel, Histogram, fn() -> Histogram>,
    objects: Family<ObjectLabels, Gauge>,
    leader: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    /// Metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("package_registry_controller");
        let reconciliations = Family::default();
        let failures = Family::default();
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        let objects = Family::default();
        let leader = Gauge::default();
        registry.register("reconciliations", "Passes of a reconciler", reconciliations.clone());
        registry.register(
            "reconcile_failures",
            "Passes that ended in an error, and refused packages",
            failures.clone(),
        );
        registry.register("reconcile_duration_seconds", "Time of a pass", durations.clone());
        registry.register("objects", "Objects by the status of their Ready condition", objects.clone());
        registry.register("leader", "1 while this process leads", leader.clone());
        Self { registry: Arc::new(registry), reconciliations, failures, durations, objects, leader }
    }

    /// Counts a pass over an object of `kind`.
    pub fn reconciled(&self, kind: &str, took: Duration) {
        let label = KindLabel { kind: kind.to_owned() };
        self.reconciliations.get_or_create(&label).inc();
        self.durations.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Counts a failure; `reason` is one of a fixed set.
    pub fn failed(&self, kind: &str, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { kind: kind.to_owned(), reason }).inc();
    }

    /// Says how many objects of `kind` are Ready (`True`), not (`False`), or neither (`Unknown`).
    pub fn count_objects(&self, kind: &str, ready: usize, not_ready: usize, unknown: usize) {
        for (word, count) in [("True", ready), ("False", not_ready), ("Unknown", unknown)] {
            self.objects
                .get_or_create(&ObjectLabels { kind: kind.to_owned(), ready: word })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Says whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(u64::from(leads));
    }

    /// All metrics as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.reconciled("Package", Duration::from_millis(30));
        metrics.failed("Package", "SecretInvalid");
        metrics.count_objects("Package", 2, 1, 0);
        metrics.set_leader(true);
        let text = metrics.text();
        for line in [
            "package_registry_controller_reconciliations_total{kind=\"Package\"} 1",
            "package_registry_controller_reconcile_failures_total{kind=\"Package\",reason=\"SecretInvalid\"} 1",
            "package_registry_controller_objects{kind=\"Package\",ready=\"True\"} 2",
            "package_registry_controller_leader 1",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
    }
}
