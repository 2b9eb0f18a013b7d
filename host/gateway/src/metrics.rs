//! What `/metrics` shows: the gateway's own figures and the node's, as Prometheus text.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::StatusCode;
use izna_proto::Outcome;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::cluster::{Cluster, Metric, MetricKind};

/// The gateway's own figures.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Status, Counter>,
    replies: Family<OutcomeLabel, Counter>,
    pub(crate) in_work: Gauge,
    pub(crate) memory_bytes: Gauge,
    duration: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new(cluster: Arc<dyn Cluster>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Status, Counter>::default();
        let replies = Family::<OutcomeLabel, Counter>::default();
        let in_work = Gauge::default();
        let bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
        let duration = Histogram::new(bounds.into_iter().chain([0.5, 1.0, 2.5, 5.0, 10.0, 30.0]));
        registry.register(
            "izna_gateway_requests",
            "HTTP requests that were answered, by status",
            requests.clone(),
        );
        registry.register(
            "izna_gateway_replies",
            "Processes that ended at this gateway, by outcome",
            replies.clone(),
        );
        registry.register(
            "izna_gateway_in_work",
            "HTTP requests that are not answered yet",
            in_work.clone(),
        );
        registry.register(
            "izna_gateway_duration_seconds",
            "From the headers of an HTTP request to its response",
            duration.clone(),
        );
        let memory_bytes = Gauge::default();
        registry.register(
            "izna_gateway_memory_bytes",
            "Memory of request bodies and of responses that are not sent yet",
            memory_bytes.clone(),
        );
        registry.register_collector(Box::new(Node { cluster }));
        Self { registry, requests, replies, in_work, memory_bytes, duration }
    }

    pub(crate) fn answered(&self, status: StatusCode, elapsed: Duration) {
        self.requests.get_or_create(&Status { status: status.as_u16() }).inc();
        self.duration.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn replied(&self, outcome: &Outcome) {
        let outcome = match outcome {
            Ok(_) => "done",
            Err(failure) => failure.kind.as_str(),
        };
        self.replies.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut said = String::new();
        // Writing to a string has no error to give.
        let _ = text::encode(&mut said, &self.registry);
        said
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The node's figures, read when they are asked for.
#[derive(Debug)]
struct Node {
    cluster: Arc<dyn Cluster>,
}

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = self.cluster.metrics();
        for group in metrics.chunk_by(|a, b| a.name == b.name) {
            let Some(first) = group.first() else { continue };
            let kind = match first.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut described = encoder.encode_descriptor(first.name, first.help, None, kind)?;
            for Metric { kind, labels, value, .. } in group {
                if labels.is_empty() {
                    encode(&mut described, *kind, *value)?;
                } else {
                    encode(&mut described.encode_family(labels)?, *kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, kind: MetricKind, value: u64) -> fmt::Result {
    match kind {
        MetricKind::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        MetricKind::Gauge => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}
