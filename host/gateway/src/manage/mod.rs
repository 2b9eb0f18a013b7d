//! The management listener: health, metrics and the JSON API of [`crate::api`].
//!
//! It is for this machine only. A browser on it could be made to speak to it by any page, so that
//! requests with an `Origin`, or for a host that is not this listener, are refused.

mod assign;
mod call;
mod state;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use bytes::Bytes;
use hyper::{Request, body::Incoming};
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use tower::ServiceExt;

use crate::{
    api, body, cluster::Cluster, deploy, limits::Limits, memory::Memory, metrics::Metrics,
    refusal::Refusal, server::Handler,
};
use state::{Shared, parse};

const PROCESSES_SHOWN: usize = 100;
const PROCESSES_SHOWN_MAX: usize = 10_000;

/// The management listener's handler.
#[derive(Debug)]
pub(crate) struct Manage {
    router: Router,
    address: SocketAddr,
    limits: Limits,
    memory: Arc<Memory>,
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
            .route("/v1/apps/{name}", put(deploy_app).get(app).delete(undeploy))
            .route("/v1/components", get(components))
            .route("/v1/components/{app}/{component}", post(assign::assign))
            .route("/v1/processes", get(processes))
            .route("/v1/artifacts", post(admit))
            .route("/v1/call", post(call::call))
            .route("/v1/drain", post(drain))
            .fallback(unknown)
            .method_not_allowed_fallback(not_allowed)
            .layer(DefaultBodyLimit::disable())
            .with_state(Shared { cluster, metrics, url });
        let memory = Memory::new(&limits, Gauge::default());
        Self { router, address, limits, memory }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Response, Refusal> {
        check_origin(request.headers(), self.address)?;
        let (parts, body) = request.into_parts();
        let mut share = self.memory.share(client);
        let body = body::read(&parts, body, &self.limits, &mut share).await?;
        let request = Request::from_parts(parts, Body::from(body.data));
        match self.router.clone().oneshot(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

impl Handler for Manage {
    async fn handle(&self, request: Request<Incoming>, client: IpAddr) -> Response {
        self.answer(request, client).await.unwrap_or_else(IntoResponse::into_response)
    }
}

/// Only tools on this machine may manage the node; a page in a browser on it may not.
fn check_origin(headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
    let forbidden = |message: String| Err(Refusal::other(StatusCode::FORBIDDEN, "origin", message));
    if headers.contains_key(header::ORIGIN) {
        return forbidden("requests of web pages are not accepted here".into());
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
    forbidden(format!("unknown host `{}`", host.escape_debug()))
}

async fn unknown() -> Refusal {
    let message = "resource not found; see /v1/nodes, /v1/apps, /v1/components, /v1/processes";
    Refusal::other(StatusCode::NOT_FOUND, "not-found", message)
}

async fn not_allowed() -> Refusal {
    let message = "method not allowed";
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
        methods: route.methods.iter().map(ToString::to_string).collect(),
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

async fn admit(State(shared): State<Shared>, body: Bytes) -> Result<Json<api::Artifact>, Refusal> {
    let refused = |why| Refusal::other(StatusCode::UNPROCESSABLE_ENTITY, "bad-component", why);
    shared.cluster.admit(body).await.map(Json).map_err(refused)
}

async fn deploy_app(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<api::Deployed>, Refusal> {
    let app: api::App = parse(&body)?;
    if app.name != name {
        let message =
            format!("app name `{}` does not match the path, which has `{name}`", app.name);
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
