//! Which nodes are to hold a component: what a deploy asks for, and what somebody adds or removes
//! by hand, checked against the nodes that are known.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use bytes::Bytes;
use izna_proto::{ComponentSpec, LABEL_BYTES_MAX, LABELS_MAX, Needs, Spread, Traits};
use std::sync::Arc;

use crate::{
    Cluster, api,
    deploy::{Error, PARTS_MAX, check_name, wrong},
    manage::{Shared, parse},
    refusal::{self, Refusal},
};

/// Nodes may be down or not begun yet, but where none of them is known, or none that is known is
/// as the component needs it, it is a mistake.
pub(crate) fn check(component: &api::AppComponent, cluster: &dyn Cluster) -> Result<Spread, Error> {
    let name = &component.name;
    check_words(name, component)?;
    let known = cluster.nodes();
    // The nodes of other zones are not all known.
    let is_one_zone = cluster.zones().len() <= 1;
    if let Some(nodes) = &component.nodes
        && is_one_zone
        && !nodes.iter().any(|node| known.iter().any(|known| known.name == *node))
    {
        let (nodes, known) = (nodes.join(", "), names(&known));
        return Err(Error::Conflict(format!(
            "component `{name}`: none of its nodes ({nodes}) is known here; known are {known}"
        )));
    }
    let ids = |names: &[String]| names.iter().map(|name| cluster.node_id(name)).collect();
    let labels = component.labels.iter().map(|label| Arc::from(label.as_str()));
    let spread = Spread {
        nodes: component.nodes.as_ref().map(|nodes| ids(nodes)),
        added: ids(&component.added),
        removed: ids(&component.removed),
        needs: Needs { zone: component.zone.as_deref().map(Arc::from), labels: labels.collect() },
        adopts: component.adopt,
    };
    let suits = |node: &api::Node| spread.includes(cluster.node_id(&node.name), &traits(node));
    if !is_one_zone || known.iter().any(suits) {
        return Ok(spread);
    }
    let (needs, are) = (needs(&spread.needs), known.iter().map(described).collect::<Vec<_>>());
    let among = if spread.nodes.is_some() { "none of its nodes is so" } else { "no node is so" };
    let are = are.join(", ");
    Err(Error::Conflict(format!(
        "component `{name}` needs a node {needs}; {among}: {are}; start one with --zone or --label"
    )))
}

/// A call that stays on its node needs both components there. Of nodes that are not known here, and
/// of those of other zones, that cannot be said.
///
/// # Errors
/// With the first node that is to hold a caller and is not to hold its callee.
pub(crate) fn check_local(
    components: &[ComponentSpec],
    cluster: &dyn Cluster,
) -> Result<(), Error> {
    if cluster.zones().len() > 1 {
        return Ok(());
    }
    let known = cluster.nodes();
    for caller in components {
        for link in caller.links.iter().filter(|link| link.local) {
            let callee = components.iter().find(|callee| callee.name == link.target);
            let Some(callee) = callee else { continue };
            let lacks = |node: &&api::Node| {
                let (id, traits) = (cluster.node_id(&node.name), traits(node));
                caller.spread.includes(id, &traits) && !callee.spread.includes(id, &traits)
            };
            if let Some(node) = known.iter().find(lacks) {
                let (caller, callee, node) = (&caller.name, &callee.name, described(node));
                return Err(Error::Conflict(format!(
                    "component `{caller}` has a local link to `{callee}`, and {node} would hold \
                     `{caller}` without `{callee}`; let both have the same nodes, zone and labels, \
                     or make the link not local"
                )));
            }
        }
    }
    Ok(())
}

fn check_words(name: &str, component: &api::AppComponent) -> Result<(), Error> {
    let count = component.labels.len();
    if count > LABELS_MAX {
        let text = format!("component `{name}`: {count} labels are over the limit of {LABELS_MAX}");
        return Err(wrong(text));
    }
    let nodes = component.nodes.as_deref().unwrap_or_default();
    let lists = [("nodes", nodes), ("added", &component.added), ("removed", &component.removed)];
    if let Some((list, nodes)) = lists.iter().find(|(_, nodes)| nodes.len() > PARTS_MAX) {
        let text = format!("component `{name}`: {} nodes in `{list}` are over the", nodes.len());
        return Err(wrong(format!("{text} limit of {PARTS_MAX}")));
    }
    component.labels.iter().try_for_each(|label| check_word("a label", label))?;
    component.zone.as_ref().map_or(Ok(()), |zone| check_word("a zone", zone))
}

/// Check a label, or the name of a zone.
///
/// # Errors
/// When it is none.
pub fn check_word(what: &str, word: &str) -> Result<(), Error> {
    check_name(what, word)?;
    if word.len() > LABEL_BYTES_MAX {
        let word = word.escape_debug();
        return Err(wrong(format!("`{word}` is over the {LABEL_BYTES_MAX} bytes of {what}")));
    }
    Ok(())
}

fn traits(node: &api::Node) -> Traits {
    Traits {
        zone: Some(Arc::from(node.zone.as_str())),
        labels: node.labels.iter().map(|label| Arc::from(label.as_str())).collect(),
    }
}

/// What a node must be, in words.
fn needs(needs: &Needs) -> String {
    let zone = needs.zone.iter().map(|zone| format!("in zone `{zone}`"));
    let labels = needs.labels.iter().map(|label| format!("with label `{label}`"));
    zone.chain(labels).collect::<Vec<_>>().join(" ")
}

/// What a node is, in words.
fn described(node: &api::Node) -> String {
    let zone = format!("zone {}", node.zone);
    let words: Vec<String> = [zone].into_iter().chain(node.labels.iter().cloned()).collect();
    format!("{} ({})", node.name, words.join(" "))
}

fn names(nodes: &[api::Node]) -> String {
    nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// `POST /v1/components/{app}/{component}`: a node is to hold it, or not to.
pub(crate) async fn assign(
    State(shared): State<Shared>,
    Path((app, component)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<api::Deployed>, Refusal> {
    let asked: api::Assign = parse(&body)?;
    check_assignment(&shared, &app, &component, &asked)?;
    let node = shared.cluster.node_id(&asked.node);
    let name = Arc::from(app.as_str());
    let assigned = shared.cluster.assign(name, Arc::from(component), node, asked.holds).await;
    let refused = |why| Refusal::other(StatusCode::CONFLICT, "not-assigned", why);
    Ok(Json(api::Deployed { name: app, revision: assigned.map_err(refused)? }))
}

fn check_assignment(
    shared: &Shared,
    name: &str,
    component: &str,
    asked: &api::Assign,
) -> Result<(), Refusal> {
    let table = Arc::clone(&shared.cluster.table().borrow());
    let known = table.iter().filter_map(|entry| entry.app.as_ref());
    let app = known.into_iter().find(|known| *known.name == *name);
    let app = app.ok_or_else(|| shared.no_app(name))?;
    let Some(spec) = app.component(component) else {
        let names: Vec<&str> = app.components.iter().map(|c| &*c.name).collect();
        let (component, names) = (component.escape_debug(), refusal::listed(&names));
        let message = format!("app `{}` has no component `{component}`, but {names}", app.name);
        return Err(Refusal::other(StatusCode::NOT_FOUND, "no-component", message));
    };
    let refused = |code, text| Err(Refusal::other(StatusCode::CONFLICT, code, text));
    let (nodes, cluster) = (shared.cluster.nodes(), &shared.cluster);
    let Some(node) = nodes.iter().find(|node| node.name == asked.node) else {
        let (name, names) = (asked.node.escape_debug(), names(&nodes));
        let message = format!("no node `{name}` is known here; known are {names}");
        return Err(Refusal::other(StatusCode::NOT_FOUND, "no-node", message));
    };
    let id = cluster.node_id(&node.name);
    let spread = spec.spread.clone().with(id, asked.holds);
    if asked.holds && !spread.includes(id, &traits(node)) {
        let (needs, is) = (needs(&spread.needs), described(node));
        let text = format!("component `{component}` needs a node {needs}; this one is {is}");
        return refused("needs", text);
    }
    let holds = |node: &api::Node| spread.includes(cluster.node_id(&node.name), &traits(node));
    if !nodes.iter().any(holds) {
        let (component, node) = (component.escape_debug(), &node.name);
        let text = format!(
            "without {node} no node would hold `{component}`: add another first, or undeploy it"
        );
        return refused("last-holder", text);
    }
    if !asked.holds
        && let Some(text) = nobody_ready(shared, name, component, nodes.iter().filter(|n| holds(n)))
    {
        return refused("not-ready", text);
    }
    let mut components = app.components.clone();
    components.iter_mut().filter(|c| c.name == spec.name).for_each(|c| c.spread = spread.clone());
    check_local(&components, &**cluster).or_else(|error| refused("local-link", error.to_string()))
}

/// Why a component would be lost if the node that is to hold it no more stopped now: none of the
/// others can run it yet.
fn nobody_ready<'a>(
    shared: &Shared,
    app: &str,
    component: &str,
    others: impl Iterator<Item = &'a api::Node>,
) -> Option<String> {
    let known = shared.cluster.components();
    let held = known.iter().find(|held| held.app == app && held.name == component)?;
    let others: Vec<&str> = others.map(|node| node.name.as_str()).collect();
    let is_ready = |node: &&str| held.holders.iter().any(|holder| holder == node);
    if !held.zones.is_empty() || others.iter().any(is_ready) {
        return None;
    }
    let (component, others) = (component.escape_debug(), others.join(", "));
    Some(format!(
        "no other node is ready to run `{component}` now: it is to be on {others} and is not yet; \
         try again once `izna components` lists one of them"
    ))
}
