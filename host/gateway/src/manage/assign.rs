//! `POST /v1/components/{app}/{component}`: a node is to hold a component, or not to.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use bytes::Bytes;

use super::state::{Shared, component, parse};
use crate::{
    api,
    node_selector::{self, described, described_needs, selects},
    refusal::Refusal,
};

pub(super) async fn assign(
    State(shared): State<Shared>,
    Path((app, component)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<api::Deployed>, Refusal> {
    let asked: api::Assign = parse(&body)?;
    check(&shared, &app, &component, &asked)?;
    let node = shared.cluster.node_id(&asked.node);
    let name = Arc::from(app.as_str());
    let assigned = shared.cluster.assign(name, Arc::from(component), node, asked.holds).await;
    let revision = assigned.map_err(|why| refused("not-assigned", why))?;
    Ok(Json(api::Deployed { name: app, revision }))
}

fn refused(code: &'static str, text: impl Into<String>) -> Refusal {
    Refusal::other(StatusCode::CONFLICT, code, text)
}

fn check(
    shared: &Shared,
    app_name: &str,
    component_name: &str,
    asked: &api::Assign,
) -> Result<(), Refusal> {
    let app = shared.app(app_name)?;
    let spec = component(&app, component_name)?;
    let (nodes, cluster) = (shared.cluster.nodes(), shared.cluster.as_ref());
    let Some(node) = nodes.iter().find(|node| node.name == asked.node) else {
        let (name, known) = (asked.node.escape_debug(), node_selector::names(&nodes));
        let message = format!("unknown node `{name}`; this node knows {known}");
        return Err(Refusal::other(StatusCode::NOT_FOUND, "no-node", message));
    };
    let selector = spec.spread.clone().with(cluster.node_id(&node.name), asked.holds);
    if asked.holds && !selects(&selector, node, cluster) {
        let (needs, is) = (described_needs(&selector.needs), described(node));
        let text = format!("component `{component_name}` needs a node {needs}; this one is {is}");
        return Err(refused("needs", text));
    }
    let holders = || nodes.iter().filter(|node| selects(&selector, node, cluster));
    if holders().next().is_none() {
        let node = &node.name;
        let text = format!(
            "without {node} no node would hold `{component_name}`: add another first, or undeploy \
             it"
        );
        return Err(refused("last-holder", text));
    }
    if !asked.holds {
        check_ready(shared, app_name, component_name, holders())?;
    }
    let mut components = app.components.clone();
    let changed = components.iter_mut().filter(|component| component.name == spec.name);
    changed.for_each(|component| component.spread = selector.clone());
    node_selector::check_local_links(&components, cluster).map_err(|why| refused("local-link", why))
}

/// A component would be lost if the node that is to hold it no more stopped now and none of the
/// others could run it yet.
fn check_ready<'a>(
    shared: &Shared,
    app: &str,
    component: &str,
    others: impl Iterator<Item = &'a api::Node>,
) -> Result<(), Refusal> {
    let known = shared.cluster.components();
    let held = known.iter().find(|held| held.app == app && held.name == component);
    let Some(held) = held else { return Ok(()) };
    let others: Vec<&str> = others.map(|node| node.name.as_str()).collect();
    let is_ready = |node: &&str| held.holders.iter().any(|holder| holder == node);
    if !held.zones.is_empty() || others.iter().any(is_ready) {
        return Ok(());
    }
    let others = others.join(", ");
    let text = format!(
        "no other node is ready to run `{component}`: {others} should hold it and is not ready \
         yet; retry once `izna components` lists one of them"
    );
    Err(refused("not-ready", text))
}
