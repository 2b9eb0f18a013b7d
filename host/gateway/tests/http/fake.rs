//! A cluster without nodes: every function's name says what it does.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use izna_gateway::{
    Bound, BoxFuture, Cluster, Config, Gateway, Limits, Metric, MetricKind, Reply, Request, Table,
    Timing, api, json,
};
use izna_proto::{
    App, ComponentSpec, Digest, Failure, FailureKind, NodeId, Outcome, ProcessId, Revision, Route,
    Spread, TableEntry,
};
use tokio::{runtime::Runtime, sync::watch};

pub(crate) struct Fake {
    table: watch::Sender<Table>,
    pub(crate) requests: Mutex<Vec<Request>>,
}

fn outcome(request: &Request) -> Outcome {
    let fail = |kind| Err(Failure::new(kind, "because"));
    match &*request.function {
        "echo" => {
            let argument = json::from_cbor(json::decode(request.input.inline()).unwrap());
            Ok(json::encode(&json::to_cbor(argument[0].clone()).unwrap()).into())
        }
        "page" => Ok(json::encode(
            &json::to_cbor(serde_json::json!({
                "status": 201,
                "body": "<p>",
                "headers": [["content-type", "text/html"], ["x-izna-process", "p-1"]],
            }))
            .unwrap(),
        )
        .into()),
        "large" => Ok(json::encode(&ciborium::Value::Bytes(vec![7; 300_000])).into()),
        "demo:tex/render.svg" => Ok((&[0x63, b'e', b'r', b'r']).into()),
        "wasi:http/incoming-handler.handle" => Ok(izna_proto::http::Response {
            status: 200,
            headers: vec![("server-timing", b"db;dur=5")],
            body: b"done",
            trailers: vec![("x-end", b"1")],
        }
        .to_result()
        .into()),
        "junk" => Ok((&[0xff, 0x00]).into()),
        "busy" => fail(FailureKind::Busy),
        "deadline" => fail(FailureKind::Deadline),
        "lost" => fail(FailureKind::Unavailable),
        "trap" => fail(FailureKind::Trapped),
        "invalid" | "passed-on" => fail(FailureKind::Invalid),
        "nothing" => fail(FailureKind::NotFound),
        _ => fail(FailureKind::Failed),
    }
}

impl Cluster for Fake {
    fn submit(&self, request: Request) -> BoxFuture<Reply> {
        let outcome = outcome(&request);
        let slow = &*request.function == "slow";
        let mut trail = vec![Arc::from("node-1"), Arc::from("node-2")];
        if &*request.function == "invalid" {
            trail.truncate(1);
        }
        self.requests.lock().unwrap().push(request);
        Box::pin(async move {
            if slow {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            let timing = Timing { queued_us: 1500, ran_us: 4, waited_us: 0, moved_us: 20_030 };
            Reply { process: ProcessId(7), outcome, trail, timing }
        })
    }

    fn table(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    fn name(&self) -> Arc<str> {
        Arc::from("node-1")
    }

    fn node_id(&self, name: &str) -> NodeId {
        NodeId(name.bytes().map(u64::from).sum())
    }

    fn node_name(&self, node: NodeId) -> Arc<str> {
        Arc::from(node.to_string())
    }

    fn nodes(&self) -> Vec<api::Node> {
        let node = |number: u64, labels: &[&str]| api::Node {
            name: format!("node-{number}"),
            id: format!("n-{number}"),
            state: if number == 1 { "here" } else { "live" }.into(),
            incarnation: 1,
            address: None,
            load: api::Load::default(),
            components: 1,
            zone: "default".into(),
            labels: labels.iter().map(ToString::to_string).collect(),
            round_trip_us: None,
        };
        vec![node(1, &["ssd"]), node(2, &[])]
    }

    fn zones(&self) -> Vec<api::Zone> {
        Vec::new()
    }

    /// The first node has all of them.
    fn components(&self) -> Vec<api::Component> {
        let table = self.table.borrow();
        let apps = table.iter().filter_map(|entry| entry.app.as_ref());
        let component = |app: &App, spec: &ComponentSpec| api::Component {
            app: app.name.to_string(),
            name: spec.name.to_string(),
            digest: spec.digest.to_string(),
            holders: vec!["node-1".into()],
            reasons: Vec::new(),
            wanted: 1,
            zones: Vec::new(),
            trouble: None,
        };
        let of = |app: &App| app.components.iter().map(|c| component(app, c)).collect::<Vec<_>>();
        apps.flat_map(of).collect()
    }

    fn processes(&self, _limit: usize) -> Vec<api::Process> {
        Vec::new()
    }

    fn admit(&self, bytes: Bytes) -> BoxFuture<Result<api::Artifact, String>> {
        Box::pin(async move { Err(format!("not a WebAssembly file: {} bytes", bytes.len())) })
    }

    fn deploy(&self, app: App) -> BoxFuture<Result<Revision, String>> {
        if app.components.iter().any(|component| component.digest != Digest([0; 32])) {
            return Box::pin(async { Err("no artifact of that digest".to_owned()) });
        }
        let entry = TableEntry { name: Arc::clone(&app.name), revision: 2, app: Some(app) };
        self.table.send_modify(|table| Arc::make_mut(table).push(entry));
        Box::pin(async { Ok(2) })
    }

    fn assign(
        &self,
        app: Arc<str>,
        component: Arc<str>,
        node: NodeId,
        holds: bool,
    ) -> BoxFuture<Result<Revision, String>> {
        self.table.send_modify(|table| {
            let lines = Arc::make_mut(table).iter_mut();
            let apps = lines.filter_map(|entry| entry.app.as_mut());
            for app in apps.filter(|known| known.name == app) {
                for spec in app.components.iter_mut().filter(|spec| spec.name == component) {
                    spec.spread = spec.spread.clone().with(node, holds);
                }
            }
        });
        Box::pin(async { Ok(4) })
    }

    fn undeploy(&self, name: Arc<str>) -> BoxFuture<Result<Revision, String>> {
        self.table.send_modify(|table| Arc::make_mut(table).retain(|entry| entry.name != name));
        Box::pin(async { Ok(3) })
    }

    fn drain(&self) -> BoxFuture<bool> {
        Box::pin(async { true })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> Vec<Metric> {
        let labels = Vec::new();
        let (name, help, kind) = ("izna_steps", "Steps that ran", MetricKind::Counter);
        vec![Metric { name, help, kind, labels, value: 5 }]
    }
}

/// A gateway over a fake, and the runtime that it lives on.
pub(crate) struct Edge {
    pub(crate) fake: Arc<Fake>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) runtime: Runtime,
}

/// Limits small enough to reach.
pub(crate) fn limits() -> Limits {
    Limits {
        body_bytes_max: 1000,
        payload_bytes_max: 4 << 20,
        memory_bytes_max: 1 << 20,
        client_memory_bytes_max: 1 << 20,
        header_bytes_max: 2000,
        headers_max: 20,
        uri_bytes_max: 500,
        requests_max: 2,
        connections_max: 4,
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        body_pause_timeout: Duration::from_millis(600),
        write_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
    }
}

pub(crate) fn edge(limits: Limits) -> Edge {
    let route = |function: &str| Route {
        path: format!("/{function}"),
        component: Arc::from("c"),
        function: Arc::from(function),
        deadline_ms: 1000,
        idempotent: function == "page",
        methods: Vec::new(),
    };
    let functions = [
        "echo",
        "page",
        "junk",
        "busy",
        "deadline",
        "lost",
        "trap",
        "nothing",
        "invalid",
        "passed-on",
        "fail",
        "slow",
        "large",
    ];
    let mut routes: Vec<Route> = functions.into_iter().map(route).collect();
    routes.push(Route { path: "/typed".into(), ..route("demo:tex/render.svg") });
    routes.push(Route { path: "/web".into(), ..route("wasi:http/incoming-handler.handle") });
    let methods = vec!["GET".into(), "PUT".into()];
    routes.push(Route { path: "/put".into(), methods, ..route("page") });
    routes.push(Route { path: "/echo/{name}/{*rest}".into(), ..route("echo") });
    let component = ComponentSpec {
        name: Arc::from("c"),
        digest: Digest([0; 32]),
        links: Vec::new(),
        limits: izna_proto::Limits::default(),
        grants: Arc::default(),
        spread: Spread::all(),
    };
    let app = App { name: Arc::from("app"), components: vec![component], routes };
    let entry = TableEntry { name: Arc::clone(&app.name), revision: 1, app: Some(app) };
    let table = watch::channel(Arc::new(vec![entry])).0;
    let fake = Arc::new(Fake { table, requests: Mutex::default() });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let manage_limits = Limits { body_bytes_max: 1 << 20, ..limits.clone() };
    let config = Config { listen: any, manage: any, limits, manage_limits };
    let bound: Bound = Gateway::bind(config).unwrap();
    let gateway = runtime.block_on(async { bound.serve(Arc::<Fake>::clone(&fake)) }).unwrap();
    Edge { fake, gateway: Some(gateway), runtime }
}

impl Edge {
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.gateway.as_ref().unwrap().address())
    }

    pub(crate) fn connect_manage(&self) -> TcpStream {
        connect(self.gateway.as_ref().unwrap().manage_address())
    }

    /// Send bytes on a new connection; all that comes back until it is closed.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        rest(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn manage(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = self.connect_manage();
        let head = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n");
        let length = body.len();
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
        rest(&mut stream)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
