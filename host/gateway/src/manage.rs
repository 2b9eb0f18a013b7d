//! The management listener: health, metrics and the JSON API of [`crate::api`].
//!
//! It is for this machine only. A browser on it could be made to speak to it by any page, so that
//! requests with an `Origin`, or for a host that is not this listener, are refused.

use std::{net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use bytes::Bytes;
use ciborium::Value;
use hyper::{Request, body::Incoming};
use izna_proto::FailureKind;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::{
    Cluster, Limits, api, cluster, deploy, exchange, json,
    metrics::Metrics,
    public,
    refusal::{self, Refusal},
    server::Handler,
    spread,
};

const PROCESSES_SHOWN: usize = 100;
const PROCESSES_SHOWN_MAX: usize = 10_000;

/// The management listener's handler.
#[derive(Debug)]
pub(crate) struct Manage {
    router: Router,
    address: SocketAddr,
    limits: Limits,
}

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) cluster: Arc<dyn Cluster>,
    metrics: Arc<Metrics>,
    url: Arc<str>,
}

impl Manage {
    /// `url` is where the public listener is.
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        metrics: Arc<Metrics>,
        limits: Limits,
        address: SocketAddr,
        url: Arc<str>,
    ) -> Self {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics_text))
            .route("/v1/nodes", get(nodes))
            .route("/v1/zones", get(zones))
            .route("/v1/apps", get(apps))
            .route("/v1/apps/{name}", put(deploy).get(app).delete(undeploy))
            .route("/v1/components", get(components))
            .route("/v1/components/{app}/{component}", post(spread::assign))
            .route("/v1/processes", get(processes))
            .route("/v1/artifacts", post(admit))
            .route("/v1/call", post(call))
            .route("/v1/drain", post(drain))
            .fallback(unknown)
            .method_not_allowed_fallback(not_allowed)
            .layer(DefaultBodyLimit::disable())
            .with_state(Shared { cluster, metrics, url });
        Self { router, address, limits }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Refusal> {
        check_origin(request.headers(), self.address)?;
        let (parts, body) = request.into_parts();
        let (body, _) = public::read_body(&parts, body, &self.limits).await?;
        let request = Request::from_parts(parts, Body::from(body));
        match self.router.clone().oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

impl Handler for Manage {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        self.answer(request).await.unwrap_or_else(IntoResponse::into_response)
    }
}

/// Only tools on this machine may manage the node; a page in a browser on it may not.
fn check_origin(headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
    let forbidden = |message: String| Err(Refusal::other(StatusCode::FORBIDDEN, "origin", message));
    if headers.contains_key(header::ORIGIN) {
        return forbidden("pages in a browser may not manage this node".into());
    }
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let ours = ip.is_ok_and(|ip| ip.is_loopback() || ip == address.ip());
    if ours || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    forbidden(format!("this is not the host `{}`", host.escape_debug()))
}

async fn unknown() -> Refusal {
    let message = "no such resource; see /v1/nodes, /v1/apps, /v1/components, /v1/processes";
    Refusal::other(StatusCode::NOT_FOUND, "not-found", message)
}

async fn not_allowed() -> Refusal {
    let message = "this resource does not take this method";
    Refusal::other(StatusCode::METHOD_NOT_ALLOWED, "method", message)
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Refusal> {
    let not = |why| Refusal::other(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why);
    shared.cluster.ready().map(|()| "ok\n").map_err(not)
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text())
}

async fn zones(State(shared): State<Shared>) -> Json<Vec<api::Zone>> {
    Json(shared.cluster.zones())
}

async fn nodes(State(shared): State<Shared>) -> Json<Vec<api::Node>> {
    Json(shared.cluster.nodes())
}

async fn components(State(shared): State<Shared>) -> Json<Vec<api::Component>> {
    Json(shared.cluster.components())
}

async fn apps(State(shared): State<Shared>) -> Json<Vec<api::AppStatus>> {
    Json(statuses(&shared))
}

async fn app(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<api::AppStatus>, Refusal> {
    let status = statuses(&shared).into_iter().find(|status| status.app.name == name);
    status.map(Json).ok_or_else(|| shared.no_app(&name))
}

impl Shared {
    pub(crate) fn no_app(&self, name: &str) -> Refusal {
        let table = Arc::clone(&self.cluster.table().borrow());
        let names: Vec<&str> = table.iter().filter(|e| e.app.is_some()).map(|e| &*e.name).collect();
        let near = names.iter().filter(|known| strsim::damerau_levenshtein(known, name) <= 2);
        let near: Vec<&str> = near.copied().take(3).collect();
        let hint = match near.as_slice() {
            [] => String::new(),
            near => format!("; did you mean {}?", refusal::listed(near)),
        };
        let message = format!("no app `{}` is deployed{hint}", name.escape_debug());
        Refusal::other(StatusCode::NOT_FOUND, "no-app", message)
    }
}

fn statuses(shared: &Shared) -> Vec<api::AppStatus> {
    let cluster = &shared.cluster;
    let table = Arc::clone(&cluster.table().borrow());
    let mut components = cluster.components();
    let mut apps: Vec<api::AppStatus> = table
        .iter()
        .filter_map(|entry| Some((entry.revision, entry.app.as_ref()?)))
        .map(|(revision, app)| {
            let own = components.extract_if(.., |component| component.app == *app.name).collect();
            let app = describe(app, cluster.as_ref());
            api::AppStatus { app, revision, components: own, url: shared.url.to_string() }
        })
        .collect();
    apps.sort_by(|a, b| a.app.name.cmp(&b.app.name));
    apps
}

fn describe(app: &izna_proto::App, cluster: &dyn Cluster) -> api::App {
    let link = |link: &izna_proto::Link| {
        let (component, local) = (link.target.to_string(), link.local);
        (link.name.to_string(), api::AppLink { component, local })
    };
    let names = |nodes: &[izna_proto::NodeId]| -> Vec<String> {
        nodes.iter().map(|node| cluster.node_name(*node).to_string()).collect()
    };
    let component = |spec: &izna_proto::ComponentSpec| api::AppComponent {
        name: spec.name.to_string(),
        digest: spec.digest.to_string(),
        links: spec.links.iter().map(link).collect(),
        memory_bytes_max: spec.limits.memory_bytes_max,
        cpu_ms_max: spec.limits.cpu_ms_max,
        env: spec.grants.env.iter().cloned().collect(),
        config: spec.grants.config.iter().cloned().collect(),
        allowed_outbound_hosts: spec.grants.hosts.clone(),
        nodes: spec.spread.nodes.as_ref().map(|nodes| names(nodes)),
        added: names(&spec.spread.added),
        removed: names(&spec.spread.removed),
        zone: spec.spread.needs.zone.as_ref().map(ToString::to_string),
        labels: spec.spread.needs.labels.iter().map(ToString::to_string).collect(),
        adopt: spec.spread.adopts,
    };
    let route = |route: &izna_proto::Route| api::AppRoute {
        path: route.path.clone(),
        component: route.component.to_string(),
        function: route.function.to_string(),
        deadline_ms: route.deadline_ms,
        idempotent: route.idempotent,
    };
    api::App {
        name: app.name.to_string(),
        components: app.components.iter().map(component).collect(),
        routes: app.routes.iter().map(route).collect(),
    }
}

#[derive(Deserialize)]
struct Shown {
    limit: Option<usize>,
}

async fn processes(
    State(shared): State<Shared>,
    Query(shown): Query<Shown>,
) -> Json<Vec<api::Process>> {
    let limit = shown.limit.unwrap_or(PROCESSES_SHOWN).min(PROCESSES_SHOWN_MAX);
    Json(shared.cluster.processes(limit))
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body is not the JSON that belongs here: {error}");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-json", message)
    })
}

async fn admit(State(shared): State<Shared>, body: Bytes) -> Result<Json<api::Artifact>, Refusal> {
    let refused = |why| Refusal::other(StatusCode::UNPROCESSABLE_ENTITY, "bad-component", why);
    shared.cluster.admit(body).await.map(Json).map_err(refused)
}

async fn deploy(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<api::Deployed>, Refusal> {
    let app: api::App = parse(&body)?;
    if app.name != name {
        let message = format!("the app is named `{}`, the path says `{name}`", app.name);
        return Err(Refusal::other(StatusCode::BAD_REQUEST, "bad-app", message));
    }
    let checked = deploy::check(app, shared.cluster.as_ref())
        .map_err(|error| Refusal::other(error.status(), "bad-app", error.to_string()))?;
    let refused = |why| Refusal::other(StatusCode::CONFLICT, "not-deployed", why);
    let revision = shared.cluster.deploy(checked).await.map_err(refused)?;
    Ok(Json(api::Deployed { name, revision }))
}

async fn undeploy(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<api::Deployed>, Refusal> {
    let table = Arc::clone(&shared.cluster.table().borrow());
    if !table.iter().any(|entry| *entry.name == *name && entry.app.is_some()) {
        return Err(shared.no_app(&name));
    }
    let refused = |why| Refusal::other(StatusCode::CONFLICT, "not-undeployed", why);
    let undeployed = shared.cluster.undeploy(Arc::from(name.as_str())).await;
    Ok(Json(api::Deployed { name, revision: undeployed.map_err(refused)? }))
}

async fn drain(State(shared): State<Shared>) -> Json<api::Drained> {
    let empty = shared.cluster.drain().await;
    Json(api::Drained { node: shared.cluster.name().to_string(), empty })
}

async fn call(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let call: api::Call = parse(&body)?;
    let table = Arc::clone(&shared.cluster.table().borrow());
    let known = table.iter().filter_map(|entry| entry.app.as_ref());
    let app = known.into_iter().find(|app| *app.name == *call.app);
    let app = app.ok_or_else(|| shared.no_app(&call.app))?;
    if app.component(&call.component).is_none() {
        let names: Vec<&str> = app.components.iter().map(|c| &*c.name).collect();
        let (component, names) = (call.component.escape_debug(), refusal::listed(&names));
        let message = format!("app `{}` has no component `{component}`, but {names}", app.name);
        return Err(Refusal::other(StatusCode::NOT_FOUND, "no-component", message));
    }
    let args = call.args.into_iter().map(json::to_cbor).collect::<Result<Vec<_>, _>>();
    let bad = |error: json::Error| {
        Refusal::other(StatusCode::BAD_REQUEST, "bad-arguments", error.to_string())
    };
    let (min, max) = deploy::DEADLINE_MS;
    let deadline = Duration::from_millis(call.deadline_ms.clamp(min, max).into());
    let request = cluster::Request {
        app: Arc::clone(&app.name),
        component: Arc::from(call.component),
        function: Arc::from(call.function),
        input: json::encode(&Value::Array(args.map_err(bad)?)).into(),
        idempotent: call.idempotent,
        deadline,
        traceparent: Some(exchange::traceparent(&headers)),
    };
    let began = Instant::now();
    let reply = shared.cluster.submit(request).await;
    shared.metrics.replied(&reply.outcome);
    Ok(returned(&reply, began.elapsed()))
}

fn returned(reply: &cluster::Reply, elapsed: Duration) -> Response {
    let mut response = match &reply.outcome {
        Ok(result) => match json::decode(result.inline()) {
            Ok(value) => Json(api::Returned {
                process: reply.process.to_string(),
                nodes: reply.trail.iter().map(ToString::to_string).collect(),
                elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                result: json::from_cbor(value),
            })
            .into_response(),
            Err(error) => {
                let message = format!("the component returned no valid value: {error}");
                let bad = Refusal::other(StatusCode::BAD_GATEWAY, "bad-response", message);
                refusal::with_process(&bad, reply.process)
            }
        },
        Err(failure) => {
            let mut response = refusal::failure_response(failure, reply);
            if failure.kind == FailureKind::NotFound && reply.trail.len() <= 1 {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            response
        }
    };
    public::label(&mut response, reply);
    response
}
