//! A load generator on one thread: so many connections that keep alive, closed or open loop.
//!
//! In an open loop a request has an intended start, and its latency counts from there, so that a
//! server that stalls cannot hide it by slowing its clients down. A GET whose gateway is gone is
//! sent once more to another, as a client or a load balancer would; its latency goes on to count.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::arrivals::{Arrivals, Pace};
use crate::http;
use crate::segment::Place;
use crate::tally::{self, End, Report};

const TIMEOUT: Duration = Duration::from_secs(30);
const BUSY: u16 = 503;

/// What to ask for, and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateways to ask; connections are spread over them evenly.
    pub gateways: Vec<SocketAddr>,
    /// The requests.
    pub requests: Requests,
    /// How many connections.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
    /// The width of a bin of the report.
    pub bin: Duration,
    /// Where the clients are; none: right here.
    pub place: Option<Place>,
}

/// What is asked for, as the bytes that [`http::request`] makes.
#[derive(Debug, Clone)]
pub enum Requests {
    /// These in turn.
    InTurn(Vec<Vec<u8>>),
    /// What a function makes of the number of the request, counted from the given one.
    Numbered(fn(u64) -> Vec<u8>, u64),
}

impl Plan {
    /// A closed loop of one GET.
    pub fn get(gateway: SocketAddr, path: &str, connections: usize) -> Self {
        let requests = Requests::InTurn(vec![http::request("GET", path, &[], &[])]);
        let (gateways, bin) = (vec![gateway], Duration::from_millis(500));
        Self { gateways, requests, connections, pace: Pace::Closed, bin, place: None }
    }

    /// The same with a POST of these bytes.
    pub fn post(gateway: SocketAddr, path: &str, body: &[u8], connections: usize) -> Self {
        let requests = Requests::InTurn(vec![http::request("POST", path, &[], body)]);
        Self { requests, ..Self::get(gateway, path, connections) }
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
    ended: AtomicBool,
    arrivals: Mutex<Arrivals>,
    gateways: Mutex<Vec<SocketAddr>>,
    report: Mutex<Report>,
    /// Hashes of the ids of processes that have replied.
    replied: Mutex<HashSet<u64>>,
}

impl Load {
    /// Begin.
    pub fn start(plan: Plan) -> Result<Self> {
        let nothing = matches!(&plan.requests, Requests::InTurn(list) if list.is_empty());
        if nothing || plan.connections == 0 || plan.gateways.is_empty() {
            bail!("a load needs a request, a gateway and a connection");
        }
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            ended: AtomicBool::new(false),
            arrivals: Mutex::new(Arrivals::new(plan.pace.clone())),
            gateways: Mutex::new(plan.gateways.clone()),
            report: Mutex::new(Report::new(plan.bin)?),
            replied: Mutex::new(HashSet::new()),
            plan,
        });
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

    /// Ask these gateways from now on, as a load balancer that learns of a node does. A connection
    /// that is to have another one changes over once its request has ended.
    pub fn use_gateways(&self, gateways: Vec<SocketAddr>) {
        *lock(&self.shared.gateways) = gateways;
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        let mut report = lock(&self.shared.report).clone();
        report.elapsed = self.shared.begun.elapsed();
        report
    }

    /// The bin that is being filled.
    pub fn bin(&self) -> usize {
        tally::bin(self.elapsed(), self.shared.plan.bin)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Wait until then, or until all ends.
    async fn wait_until(&self, then: Instant) {
        while Instant::now() < then && !self.ended() {
            sleep_until(then.min(Instant::now() + Duration::from_millis(100)).into()).await;
        }
    }

    fn note(&self, end: End) -> Result<()> {
        let at = self.begun.elapsed();
        lock(&self.report).note(at, end)
    }

    /// When the next request is to begin, and which it is.
    fn take(&self) -> (Option<Instant>, Vec<u8>) {
        let (number, start) = lock(&self.arrivals).next();
        let request = match &self.plan.requests {
            Requests::InTurn(list) => {
                let index = number % (list.len() as u64).max(1);
                list.get(usize::try_from(index).unwrap_or(0)).cloned().unwrap_or_default()
            }
            Requests::Numbered(make, first) => make(first + number),
        };
        (start.map(|start| self.begun + start), request)
    }

    /// The gateway of a connection, when so many before it were gone; none after the last.
    fn gateway(&self, connection: usize, gone: usize) -> Option<SocketAddr> {
        let gateways = lock(&self.gateways);
        let index = (connection + gone) % gateways.len().max(1);
        gateways.get(index).filter(|_| gone < gateways.len()).copied()
    }

    /// Whether a process of this id has replied before.
    fn replied_before(&self, process: Option<&[u8]>) -> bool {
        let Some(process) = process else { return false };
        let mut hasher = DefaultHasher::new();
        process.hash(&mut hasher);
        !lock(&self.replied).insert(hasher.finish())
    }
}

fn run(shared: &Arc<Shared>) -> Result<()> {
    if let Some(place) = &shared.plan.place {
        place.enter()?;
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for number in 0..shared.plan.connections {
            let client = Client { shared: shared.clone(), number, open: None };
            connections.spawn(client.run());
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// One connection, and the next if that is gone.
struct Client {
    shared: Arc<Shared>,
    number: usize,
    open: Option<Connection>,
}

struct Connection {
    gateway: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn run(mut self) -> Result<()> {
        while !self.shared.ended() {
            let (start, request) = self.shared.take();
            if let Some(start) = start {
                self.shared.wait_until(start).await;
                // What would begin after the end does not.
                if self.shared.ended() {
                    return Ok(());
                }
            }
            let begun = start.unwrap_or_else(Instant::now);
            let end = self.send(&request, begun).await;
            let pause = match &end {
                // In an open loop the next request is that of another client.
                End::Refused { retry_after, .. } if start.is_none() => Some(*retry_after),
                _ => None,
            };
            self.shared.note(end)?;
            if let Some(pause) = pause {
                self.shared.wait_until(Instant::now() + pause).await;
            }
        }
        Ok(())
    }

    /// Send a request until it is answered or no gateway is left.
    async fn send(&mut self, request: &[u8], begun: Instant) -> End {
        let mut gone = 0;
        loop {
            let Some(gateway) = self.shared.gateway(self.number, gone) else {
                let kind = "no gateway".to_owned();
                return End::Failed { detail: kind.clone(), kind };
            };
            if self.open.as_ref().is_some_and(|open| open.gateway != gateway) {
                self.open = None;
            }
            let asked = timeout(TIMEOUT, self.ask(gateway, request, begun)).await;
            match asked.unwrap_or_else(|_| Err(anyhow!("no response within {TIMEOUT:?}"))) {
                Ok(end) => return end,
                Err(error) => {
                    self.open = None;
                    gone += 1;
                    let again = request.starts_with(b"GET ")
                        && self.shared.gateway(self.number, gone).is_some();
                    if !again {
                        let kind = format!("{error:#}");
                        // A server that refuses all connections is not asked in a tight circle.
                        sleep(Duration::from_millis(1)).await;
                        return End::Failed { detail: kind.clone(), kind };
                    }
                    lock(&self.shared.report).resent += 1;
                }
            }
        }
    }

    async fn ask(&mut self, gateway: SocketAddr, request: &[u8], begun: Instant) -> Result<End> {
        let connection = match &mut self.open {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(gateway).await.context("connect")?;
                stream.set_nodelay(true)?;
                self.open.insert(Connection { gateway, stream, buffer: Vec::with_capacity(4096) })
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
        let latency = begun.elapsed();
        let end = if (200..300).contains(&whole.status) {
            let (nodes, process) = http::journey(&connection.buffer)?;
            if self.shared.replied_before(process) {
                lock(&self.shared.report).repeated += 1;
            }
            End::Done { latency, nodes }
        } else {
            let response = http::owned(&connection.buffer, &whole)?;
            let (status, text) = (response.status, response.text());
            let detail = format!("{status} {:?}: {text}", response.headers);
            if status == BUSY {
                let seconds = response.header("retry-after").and_then(|value| value.parse().ok());
                End::Refused { detail, retry_after: Duration::from_secs(seconds.unwrap_or(0)) }
            } else {
                End::Failed { kind: format!("status {status}"), detail }
            }
        };
        connection.buffer.drain(..whole.bytes);
        if !connection.buffer.is_empty() {
            lock(&self.shared.report).repeated += 1;
        }
        if whole.closes || !connection.buffer.is_empty() {
            self.open = None;
        }
        Ok(end)
    }
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

    /// If this fails, a client that was refused asks again at once, and overload looks worse than it
    /// is for clients that do as they are told.
    #[test]
    fn refused_clients_wait_as_they_are_told() {
        let busy = b"HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 4\r\n\r\nbusy";
        let done = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut plan = Plan::get(server(busy), "/", 2);
        plan.gateways.push(server(done));
        let load = Load::start(plan).unwrap();
        let enough = || {
            let report = load.report();
            (report.done() > 100 && report.refused() > 0).then_some(())
        };
        crate::wait::until("a refusal and many responses", enough).unwrap();
        assert_eq!(load.end().unwrap().refused(), 1);
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
        plan.pace = Pace::Even { per_second: 1e9 };
        let load = Load::start(plan).unwrap();
        crate::wait::until("much", || (load.report().done() > 500).then_some(())).unwrap();
        let report = load.end().unwrap();
        let waited = u128::from(report.latency_us.max());
        assert!(waited * 2 > report.elapsed.as_micros(), "{waited} us of {:?}", report.elapsed);
    }

    /// If this fails, a request is lost with its gateway though another one could take it, or the
    /// time until then is not counted.
    #[test]
    fn a_get_goes_to_another_gateway_when_its_own_is_gone() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut plan = Plan::get(gone, "/", 1);
        plan.gateways.push(server(answer));
        let load = Load::start(plan.clone()).unwrap();
        crate::wait::until("responses", || (load.report().done() > 10).then_some(())).unwrap();
        let report = load.end().unwrap();
        assert_eq!(report.failed(), 0, "{:?}", report.failures);
        assert_eq!(report.resent, report.done());

        plan.requests = Requests::InTurn(vec![http::request("POST", "/", &[], b"x")]);
        let load = Load::start(plan).unwrap();
        crate::wait::until("failures", || (load.report().failed() > 10).then_some(())).unwrap();
        let report = load.end().unwrap();
        assert_eq!((report.done(), report.resent), (0, 0));
    }

    /// If this fails, a node that joined gets no clients.
    #[test]
    fn gateways_can_change() {
        let old = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-izna-nodes: old\r\n\r\n";
        let new = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-izna-nodes: new\r\n\r\n";
        let load = Load::start(Plan::get(server(old), "/", 2)).unwrap();
        let told = |node: &str| (load.report().steps_of(node, 0) > 0).then_some(());
        crate::wait::until("the old one", || told("old")).unwrap();
        load.use_gateways(vec![server(new)]);
        crate::wait::until("the new one", || told("new")).unwrap();
    }

    /// If this fails, two replies of one process look like one each of two.
    #[test]
    fn a_second_reply_is_seen() {
        let twice = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-izna-process: p1\r\n\r\n";
        let load = Load::start(Plan::get(server(twice), "/", 1)).unwrap();
        crate::wait::until("replies", || (load.report().done() > 3).then_some(())).unwrap();
        let report = load.end().unwrap();
        assert_eq!(report.repeated, report.done() - 1);
    }
}
