//! What became of requests, in the log: failed ones with their reason, and by the target `access`
//! every one. Not here: HTTP, of which only the gateway knows.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use izna_gateway::{Reply, Request, Table};
use izna_proto::{FailureKind, Outcome};

/// Failures that are logged in a second; of more only their number is.
const LINES_MAX: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Logs requests, failures at a limited rate: anyone can send requests that fail.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Rate>);

#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// What of a request is logged.
#[derive(Debug)]
pub(crate) struct Line {
    app: std::sync::Arc<str>,
    component: std::sync::Arc<str>,
    function: std::sync::Arc<str>,
}

impl Line {
    pub(crate) fn of(request: &Request) -> Self {
        let Request { app, component, function, .. } = request;
        Self { app: app.clone(), component: component.clone(), function: function.clone() }
    }

    /// The routes that lead to the function: one, mostly.
    fn routes(&self, table: &Table) -> String {
        let app = table.iter().filter_map(|entry| entry.app.as_ref());
        let mut app = app.filter(|app| app.name == self.app);
        let routes = app.next().map(|app| app.routes.as_slice()).unwrap_or_default();
        let own = routes
            .iter()
            .filter(|route| route.component == self.component && route.function == self.function);
        own.map(|route| &*route.path).collect::<Vec<_>>().join(" ")
    }
}

impl Requests {
    /// Log how a request ended, and after which time.
    pub(crate) fn ended(&self, line: &Line, reply: &Reply, took: Duration, table: &Table) {
        let kind = match &reply.outcome {
            Ok(_) => "ok",
            Err(failure) => failure.kind.as_str(),
        };
        let Line { app, component, function } = line;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if tracing::enabled!(target: "access", tracing::Level::DEBUG) {
            let (process, nodes) = (reply.process, reply.trail.join(","));
            let route = line.routes(table);
            tracing::debug!(
                target: "access",
                %process, %route, %app, %component, %function, outcome = kind, took_ms, nodes
            );
        }
        let Some((reason, left_out)) = self.told(&reply.outcome, Instant::now()) else { return };
        let (process, route) = (reply.process, line.routes(table));
        if left_out > 0 {
            tracing::warn!(target: "request", left_out, "failed requests were not logged");
        }
        tracing::warn!(
            target: "request",
            %process, %route, %app, %component, %function, kind, reason, took_ms, "request failed"
        );
    }

    /// The reason to log, and how many were not logged since the last one. That the cluster is at
    /// capacity, and what clients gave wrong, is for the counters.
    fn told<'a>(&self, outcome: &'a Outcome, now: Instant) -> Option<(&'a str, u64)> {
        let failure = outcome.as_ref().err()?;
        if matches!(failure.kind, FailureKind::Busy | FailureKind::Invalid) {
            return None;
        }
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            (rate.since, rate.lines) = (Some(now), 0);
        }
        if rate.lines == LINES_MAX {
            rate.left_out += 1;
            return None;
        }
        rate.lines += 1;
        Some((&failure.message, std::mem::take(&mut rate.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use izna_proto::Failure;

    fn failed(kind: FailureKind) -> Outcome {
        Err(Failure::new(kind, "trapped in `f`: unreachable (frames: f)"))
    }

    /// If this fails, a developer does not learn why a request failed, or an operator's disk fills
    /// with what clients did wrong.
    #[test]
    fn failures_are_told_within_a_rate() {
        let (requests, now) = (Requests::default(), Instant::now());
        let trap = failed(FailureKind::Trapped);
        let reason = "trapped in `f`: unreachable (frames: f)";
        assert_eq!(requests.told(&trap, now), Some((reason, 0)));
        assert_eq!(requests.told(&failed(FailureKind::Invalid), now), None);
        assert_eq!(requests.told(&failed(FailureKind::Busy), now), None);
        assert_eq!(requests.told(&Ok(bytes::Bytes::new().into()), now), None);
        for _ in 1..LINES_MAX {
            assert_eq!(requests.told(&trap, now), Some((reason, 0)));
        }
        assert_eq!(requests.told(&trap, now), None);
        assert_eq!(requests.told(&trap, now + SECOND / 2), None);
        assert_eq!(requests.told(&trap, now + SECOND), Some((reason, 2)));
    }
}
