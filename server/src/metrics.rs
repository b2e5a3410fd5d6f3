//! Figures for Prometheus. Labels take few values, all known here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::catalogue::Removed;

type RequestLabels = [(&'static str, &'static str); 2];
type OutcomeLabels = [(&'static str, String); 1];
type AreaLabels = [(&'static str, &'static str); 1];

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<AreaLabels, Histogram>,
    ingests: Family<OutcomeLabels, Counter>,
    certificate: Gauge<f64, AtomicU64>,
    connections: Gauge,
    collections: Family<OutcomeLabels, Counter>,
    collected_blobs: Counter,
    collected_bytes: Counter,
    reclaimable_bytes: Gauge<u64, AtomicU64>,
    last_collection: Gauge<f64, AtomicU64>,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("package_registry");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered, by area and class of status", requests.clone());
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time until the head of the answer, by area",
            Unit::Seconds,
            seconds.clone(),
        );
        let ingests = Family::default();
        registry.register("ingests", "Attempts to take a package in, by outcome", ingests.clone());
        let certificate = Gauge::default();
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "End of the serving certificate, in Unix seconds",
            certificate.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let collections = Family::default();
        registry.register("collections", "Collections of what nobody needs, by outcome", collections.clone());
        let collected_blobs = Counter::default();
        registry.register("collected_blobs", "Blobs that collections removed", collected_blobs.clone());
        let collected_bytes = Counter::default();
        registry.register_with_unit(
            "collected",
            "Bytes of the blobs that collections removed",
            Unit::Bytes,
            collected_bytes.clone(),
        );
        let reclaimable_bytes = Gauge::default();
        registry.register_with_unit(
            "reclaimable",
            "Bytes that the last collection would have removed if it were no dry run",
            Unit::Bytes,
            reclaimable_bytes.clone(),
        );
        let last_collection = Gauge::default();
        registry.register(
            "last_collection_timestamp_seconds",
            "End of the last collection that succeeded, in Unix seconds",
            last_collection.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            seconds,
            ingests,
            certificate,
            connections,
            collections,
            collected_blobs,
            collected_bytes,
            reclaimable_bytes,
            last_collection,
        }
    }
}

impl Metrics {
    /// Counts an answer. `area` is one of the few words of the routing table.
    pub fn answered(&self, area: &'static str, status: StatusCode, after: Duration) {
        let class = match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("area", area), ("status", class)]).inc();
        self.seconds.get_or_create(&[("area", area)]).observe(after.as_secs_f64());
    }

    /// Counts an attempt to take a package in; `outcome` is `Added` or a reason.
    pub fn ingested(&self, outcome: &str) {
        self.ingests.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// Counts what a collection removed, or would have.
    pub fn collected(&self, removed: &Removed, dry_run: bool) {
        self.collections.get_or_create(&[("outcome", "Succeeded".to_owned())]).inc();
        if dry_run {
            self.reclaimable_bytes.set(removed.bytes);
        } else {
            self.reclaimable_bytes.set(0);
            self.collected_blobs.inc_by(removed.blobs);
            self.collected_bytes.inc_by(removed.bytes);
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact in f64")]
        self.last_collection.set(Timestamp::now().as_second() as f64);
    }

    /// Counts a collection that stopped.
    pub fn collection_failed(&self) {
        self.collections.get_or_create(&[("outcome", "Failed".to_owned())]).inc();
    }

    /// Notes until when the serving certificate is valid (Unix seconds).
    pub fn certificate_ends(&self, unix_seconds: i64) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact in f64")]
        self.certificate.set(unix_seconds as f64);
    }

    /// Counts a connection as long as what is returned lives.
    #[must_use]
    pub fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written");
        }
        text
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.answered("v2", StatusCode::PARTIAL_CONTENT, Duration::from_millis(3));
        metrics.ingested("Added");
        metrics.collected(&Removed { blobs: 2, bytes: 300, small: 1 }, false);
        metrics.collected(&Removed { blobs: 3, bytes: 500, small: 1 }, true);
        metrics.collection_failed();
        let connection = metrics.connected();
        let text = metrics.text();
        for line in [
            r#"package_registry_http_requests_total{area="v2",status="2xx"} 1"#,
            r#"package_registry_ingests_total{outcome="Added"} 1"#,
            r#"package_registry_http_request_duration_seconds_count{area="v2"} 1"#,
            "package_registry_connections 1",
            "package_registry_collected_blobs_total 2",
            "package_registry_collected_bytes_total 300",
            "package_registry_reclaimable_bytes 500",
            r#"package_registry_collections_total{outcome="Succeeded"} 2"#,
            r#"package_registry_collections_total{outcome="Failed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        drop(connection);
        assert!(metrics.text().contains("package_registry_connections 0"));
    }
}
