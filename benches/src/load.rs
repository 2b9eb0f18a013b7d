//! A load generator on one thread: so many connections that keep alive, closed or open loop.
//!
//! In the open loop a request has an intended start, and its latency counts from there, so that a
//! server that stalls cannot hide it by slowing its clients down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::http::{self, Response};

const TIMEOUT: Duration = Duration::from_secs(30);
const LATENCY_US_MAX: u64 = 60_000_000;

/// What to ask for, and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of whom.
    pub address: SocketAddr,
    /// The requests, as [`http::request`] makes them, taken in turn.
    pub requests: Vec<Vec<u8>>,
    /// How many connections.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
    /// The width of a bin of the report.
    pub bin: Duration,
}

/// When the next request of a connection begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As soon as the last one has ended.
    Closed,
    /// So many a second over all connections, whether or not the last ones have ended.
    Open {
        /// How many.
        per_second: f64,
    },
}

impl Plan {
    /// A closed loop of one GET.
    pub fn get(address: SocketAddr, path: &str, connections: usize) -> Self {
        let requests = vec![http::request("GET", path, &[], &[])];
        let bin = Duration::from_millis(500);
        Self { address, requests, connections, pace: Pace::Closed, bin }
    }

    /// The same with a POST of these bytes.
    pub fn post(address: SocketAddr, path: &str, body: &[u8], connections: usize) -> Self {
        let requests = vec![http::request("POST", path, &[], body)];
        Self { requests, ..Self::get(address, path, connections) }
    }
}

/// What came of a load, so far or in all.
#[derive(Debug, Clone)]
pub struct Report {
    /// Latencies of the requests that went well, in microseconds.
    pub latency_us: Histogram<u64>,
    /// How long it has run.
    pub elapsed: Duration,
    /// What happened in each bin of time.
    pub bins: Vec<Bin>,
    /// How many requests failed, by kind: `status 503`, or what the connection did.
    pub failures: BTreeMap<String, u64>,
    /// The first response that was no success, or what the connection did.
    pub first_failure: Option<String>,
}

/// A stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bin {
    /// Requests that went well.
    pub done: u64,
    /// Requests that did not.
    pub failed: u64,
    /// Steps that each node ran for them.
    pub steps: BTreeMap<String, u64>,
}

impl Report {
    fn new() -> Result<Self> {
        Ok(Self {
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
            elapsed: Duration::ZERO,
            bins: Vec::new(),
            failures: BTreeMap::new(),
            first_failure: None,
        })
    }

    /// Requests that went well.
    pub fn done(&self) -> u64 {
        self.latency_us.len()
    }

    /// Requests that did not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests a second that went well.
    pub fn per_second(&self) -> f64 {
        self.done() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The latency that this share of requests kept to, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.latency_us.value_at_quantile(quantile)
    }

    /// Steps that `node` ran in the bins from `first` on.
    pub fn steps_of(&self, node: &str, first: usize) -> u64 {
        self.bins.iter().skip(first).filter_map(|bin| bin.steps.get(node)).sum()
    }
}

/// A load that runs on a thread of its own until it is ended.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    begun: Instant,
    next: AtomicU64,
    ended: AtomicBool,
    report: Mutex<Report>,
}

impl Load {
    /// Begin.
    pub fn start(plan: Plan) -> Result<Self> {
        if plan.requests.is_empty() || plan.connections == 0 {
            bail!("a load needs a request and a connection");
        }
        let begun = Instant::now();
        let report = Mutex::new(Report::new()?);
        let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { plan, begun, next, ended, report });
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("load".into()).spawn(move || run(&theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// One load for so long.
    pub fn run(plan: Plan, duration: Duration) -> Result<Report> {
        let load = Self::start(plan)?;
        thread::sleep(duration);
        load.end()
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        let mut report = self.shared.report().clone();
        report.elapsed = self.shared.begun.elapsed();
        report
    }

    /// The bin that is being filled.
    pub fn bin(&self) -> usize {
        self.shared.bin()
    }

    /// Let every request that was begun end, and tell what came of all.
    pub fn end(mut self) -> Result<Report> {
        self.shared.ended.store(true, Ordering::Relaxed);
        let elapsed = self.shared.begun.elapsed();
        self.join()?;
        let mut report = self.report();
        report.elapsed = elapsed;
        Ok(report)
    }

    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the load generator panicked"))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = self.join();
    }
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bin(&self) -> usize {
        let bin = self.begun.elapsed().as_micros() / self.plan.bin.as_micros().max(1);
        usize::try_from(bin).unwrap_or(usize::MAX)
    }

    fn note(&self, change: impl FnOnce(&mut Report, usize)) {
        let bin = self.bin();
        let mut report = self.report();
        if report.bins.len() <= bin {
            report.bins.resize(bin + 1, Bin::default());
        }
        change(&mut report, bin);
    }

    fn succeeded(&self, begun: Instant, nodes: &[String]) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
        self.note(|report, bin| {
            report.latency_us.saturating_record(micros.clamp(1, LATENCY_US_MAX));
            let Some(bin) = report.bins.get_mut(bin) else { return };
            bin.done += 1;
            for node in nodes {
                match bin.steps.get_mut(node) {
                    Some(steps) => *steps += 1,
                    None => {
                        bin.steps.insert(node.clone(), 1);
                    }
                }
            }
        });
    }

    fn failed(&self, kind: String, detail: impl FnOnce() -> String) {
        self.note(|report, bin| {
            *report.failures.entry(kind).or_default() += 1;
            report.first_failure.get_or_insert_with(detail);
            if let Some(bin) = report.bins.get_mut(bin) {
                bin.failed += 1;
            }
        });
    }

    /// When the next request is to begin, and which it is.
    fn take(&self) -> (Option<Instant>, &[u8]) {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let start = match self.plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => {
                Some(self.begun + Duration::from_secs_f64(index as f64 / per_second))
            }
        };
        let count = self.plan.requests.len();
        let request = self.plan.requests.get(index as usize % count);
        (start, request.map_or(&[], Vec::as_slice))
    }
}

fn run(shared: &Arc<Shared>) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for _ in 0..shared.plan.connections {
            connections.spawn(connection(shared.clone()));
        }
        while connections.join_next().await.is_some() {}
    });
    Ok(())
}

async fn connection(shared: Arc<Shared>) {
    let mut open = None;
    while !shared.ended.load(Ordering::Relaxed) {
        let (start, request) = shared.take();
        if let Some(start) = start {
            sleep_until(start.into()).await;
        }
        let begun = start.unwrap_or_else(Instant::now);
        let asked = timeout(TIMEOUT, ask(&shared, &mut open, request)).await;
        match asked.unwrap_or_else(|_| Err(anyhow!("no response within {TIMEOUT:?}"))) {
            Ok(Answer::Success(nodes)) => shared.succeeded(begun, &nodes),
            Ok(Answer::Failure(response)) => {
                let kind = format!("status {}", response.status);
                shared.failed(kind, || {
                    format!("{} {:?}: {}", response.status, response.headers, response.text())
                });
            }
            Err(error) => {
                open = None;
                let text = format!("{error:#}");
                shared.failed(text.clone(), || text);
                // A server that refuses every connection is not to be asked in a tight circle.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

enum Answer {
    Success(Vec<String>),
    Failure(Response),
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

async fn ask(shared: &Shared, open: &mut Option<Connection>, request: &[u8]) -> Result<Answer> {
    let connection = match open {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(shared.plan.address).await.context("connect")?;
            stream.set_nodelay(true)?;
            open.insert(Connection { stream, buffer: Vec::with_capacity(4096) })
        }
    };
    connection.stream.write_all(request).await.context("write")?;
    let whole = loop {
        if let Some(whole) = http::whole(&connection.buffer)? {
            break whole;
        }
        let read = connection.stream.read_buf(&mut connection.buffer).await.context("read")?;
        if read == 0 {
            bail!("the server closed the connection");
        }
    };
    let answer = if (200..300).contains(&whole.status) {
        Answer::Success(http::nodes(&connection.buffer)?)
    } else {
        Answer::Failure(http::owned(&connection.buffer, &whole)?)
    };
    connection.buffer.drain(..whole.bytes);
    if whole.closes {
        *open = None;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that answers each read with `answer`.
    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                        stream.write_all(answer).unwrap();
                    }
                });
            }
        });
        address
    }

    /// If this fails, a run with failures is reported as one without.
    #[test]
    fn failures_are_counted_by_kind() {
        let answer = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";
        let load = Load::start(Plan::get(server(answer), "/", 2)).unwrap();
        crate::wait::until("a failure", || (load.report().failed() > 0).then_some(())).unwrap();
        let report = load.end().unwrap();
        assert_eq!(report.done(), 0);
        assert_eq!(report.failures.keys().collect::<Vec<_>>(), ["status 503"]);
        assert!(report.first_failure.unwrap().ends_with(": busy"));
    }

    /// If this fails, the share of a node in the work is not what is reported.
    #[test]
    fn steps_are_counted_by_node() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-izna-nodes: a,b,a\r\n\r\n";
        let load = Load::start(Plan::get(server(answer), "/", 1)).unwrap();
        crate::wait::until("a response", || (load.report().done() > 0).then_some(())).unwrap();
        let report = load.end().unwrap();
        assert_eq!(report.failed(), 0);
        assert_eq!(report.steps_of("a", 0), report.done() * 2);
        assert_eq!(report.steps_of("b", 0), report.done());
    }

    /// If this fails, a rate that the server cannot keep is reported as one with short latencies.
    #[test]
    fn the_open_loop_counts_from_the_intended_start() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut plan = Plan::get(server(answer), "/", 1);
        plan.pace = Pace::Open { per_second: 1e9 };
        let load = Load::start(plan).unwrap();
        crate::wait::until("much", || (load.report().done() > 500).then_some(())).unwrap();
        let report = load.end().unwrap();
        let waited = u128::from(report.latency_us.max());
        assert!(waited * 2 > report.elapsed.as_micros(), "{waited} us of {:?}", report.elapsed);
    }
}
