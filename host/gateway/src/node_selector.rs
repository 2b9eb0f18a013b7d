//! Which nodes are to hold a component: what a deploy asks for, resolved and checked against the
//! nodes that are known.

use std::sync::Arc;

use izna_proto::{ComponentSpec, LABELS_MAX, Needs, NodeId, Spread, Traits};

use crate::{api, cluster::Cluster, names::check_label};

/// The most nodes that a component names.
const NODES_MAX: usize = 256;

/// Why a component cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// What it asks for is wrong whatever nodes there are.
    Invalid(String),
    /// No node that is known here is so.
    Unmet(String),
}

/// The selector that a component asks for. Nodes may be down or not begun yet, but where none of
/// them is known, or none that is known is as the component needs it, it is a mistake.
///
/// # Errors
/// With that mistake.
pub(crate) fn resolve(
    component: &api::AppComponent,
    cluster: &dyn Cluster,
) -> Result<Spread, Error> {
    check_words(component)?;
    let name = &component.name;
    let known = cluster.nodes();
    // The nodes of other zones are not all known.
    let is_one_zone = cluster.zones().len() <= 1;
    if let Some(nodes) = &component.nodes
        && is_one_zone
        && !nodes.iter().any(|node| known.iter().any(|known| known.name == *node))
    {
        let (nodes, known) = (nodes.join(", "), names(&known));
        return Err(Error::Unmet(format!(
            "component `{name}`: unknown nodes {nodes}; this node knows {known}"
        )));
    }
    let ids = |names: &[String]| -> Vec<NodeId> {
        names.iter().map(|name| cluster.node_id(name)).collect()
    };
    let labels = component.labels.iter().map(|label| Arc::from(label.as_str()));
    let selector = Spread {
        nodes: component.nodes.as_ref().map(|nodes| ids(nodes)),
        added: ids(&component.added),
        removed: ids(&component.removed),
        needs: Needs { zone: component.zone.as_deref().map(Arc::from), labels: labels.collect() },
        adopts: component.adopt,
    };
    if !is_one_zone || known.iter().any(|node| selects(&selector, node, cluster)) {
        return Ok(selector);
    }
    let needs = described_needs(&selector.needs);
    let nodes = known.iter().map(described).collect::<Vec<_>>().join(", ");
    let among = if selector.nodes.is_some() { "none of its nodes is" } else { "no node is" };
    Err(Error::Unmet(format!(
        "component `{name}` needs a node {needs}, but {among}: {nodes}; start one with --zone or \
         --label"
    )))
}

/// Whether a node is to hold what has this selector.
pub(crate) fn selects(selector: &Spread, node: &api::Node, cluster: &dyn Cluster) -> bool {
    selector.includes(cluster.node_id(&node.name), &traits(node))
}

/// A call that stays on its node needs both components there. Of nodes that are not known here, and
/// of those of other zones, that cannot be said.
///
/// # Errors
/// With the first node that is to hold a caller and is not to hold its callee.
pub(crate) fn check_local_links(
    components: &[ComponentSpec],
    cluster: &dyn Cluster,
) -> Result<(), String> {
    if cluster.zones().len() > 1 {
        return Ok(());
    }
    let known = cluster.nodes();
    for caller in components {
        for link in caller.links.iter().filter(|link| link.local) {
            let callee = components.iter().find(|callee| callee.name == link.target);
            let Some(callee) = callee else { continue };
            let lacks = |node: &&api::Node| {
                selects(&caller.spread, node, cluster) && !selects(&callee.spread, node, cluster)
            };
            if let Some(node) = known.iter().find(lacks) {
                let (caller, callee, node) = (&caller.name, &callee.name, described(node));
                return Err(format!(
                    "component `{caller}` has a local link to `{callee}`, and {node} would hold \
                     `{caller}` without `{callee}`; give both the same nodes, zone and labels, or \
                     make the link not local"
                ));
            }
        }
    }
    Ok(())
}

fn check_words(component: &api::AppComponent) -> Result<(), Error> {
    let (name, count) = (&component.name, component.labels.len());
    if count > LABELS_MAX {
        let text = format!("component `{name}`: {count} labels exceed the limit of {LABELS_MAX}");
        return Err(Error::Invalid(text));
    }
    let nodes = component.nodes.as_deref().unwrap_or_default();
    let lists = [("nodes", nodes), ("added", &component.added), ("removed", &component.removed)];
    for (list, nodes) in lists {
        if nodes.len() > NODES_MAX {
            let count = nodes.len();
            let text = format!("component `{name}`: {count} nodes in `{list}` exceed the limit");
            return Err(Error::Invalid(format!("{text} of {NODES_MAX}")));
        }
    }
    let labels = component.labels.iter().map(|label| ("label", label));
    let mut words = labels.chain(component.zone.iter().map(|zone| ("zone name", zone)));
    words.try_for_each(|(what, word)| check_label(what, word)).map_err(Error::Invalid)
}

fn traits(node: &api::Node) -> Traits {
    Traits {
        zone: Some(Arc::from(node.zone.as_str())),
        labels: node.labels.iter().map(|label| Arc::from(label.as_str())).collect(),
    }
}

/// What a node must be, in words.
pub(crate) fn described_needs(needs: &Needs) -> String {
    let zone = needs.zone.iter().map(|zone| format!("in zone `{zone}`"));
    let labels = needs.labels.iter().map(|label| format!("with label `{label}`"));
    zone.chain(labels).collect::<Vec<_>>().join(" ")
}

/// What a node is, in words.
pub(crate) fn described(node: &api::Node) -> String {
    let zone = format!("zone {}", node.zone);
    let words: Vec<String> = [zone].into_iter().chain(node.labels.iter().cloned()).collect();
    format!("{} ({})", node.name, words.join(" "))
}

/// The names of nodes, in words.
pub(crate) fn names(nodes: &[api::Node]) -> String {
    nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
}
