//! Which nodes hold a component, and which may take it in.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    NodeId,
    layout::{Many, Maybe, Plain, Text, record},
    limits::{LABEL_BYTES_MAX, LABELS_MAX, NODES_MAX},
};

/// The zone of a node that was not told one.
pub const ZONE_DEFAULT: &str = "default";

/// What a node is by its settings, as far as components may ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Its zone; none when it was not told one, which is then [`ZONE_DEFAULT`].
    pub zone: Option<Arc<str>>,
    /// Its labels, such as `gpu`.
    pub labels: Vec<Arc<str>>,
}

/// What a node must be to hold a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Its zone; none: any.
    pub zone: Option<Arc<str>>,
    /// Labels that it has, all of them.
    pub labels: Vec<Arc<str>>,
}

/// Which nodes hold a component, and which may take it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The nodes that the deploy names; none: every node that is as the component needs it.
    pub nodes: Option<Vec<NodeId>>,
    /// Nodes that hold it besides, by hand.
    pub added: Vec<NodeId>,
    /// Nodes that do not hold it whatever else is said, by hand.
    pub removed: Vec<NodeId>,
    /// What a node must be.
    pub needs: Needs,
    /// Whether idle nodes take it in when its holders are full.
    pub adopts: bool,
}

impl Traits {
    /// The name of its zone.
    pub fn zone_name(&self) -> &str {
        self.zone.as_deref().unwrap_or(ZONE_DEFAULT)
    }
}

impl Needs {
    /// Whether a node is so.
    pub fn are_met(&self, traits: &Traits) -> bool {
        let zone = self.zone.as_deref().is_none_or(|zone| zone == traits.zone_name());
        zone && self.labels.iter().all(|label| traits.labels.contains(label))
    }
}

impl Spread {
    /// Every node.
    pub fn all() -> Self {
        let needs = Needs::default();
        Self { nodes: None, added: Vec::new(), removed: Vec::new(), needs, adopts: true }
    }

    /// These nodes, and others when these are full.
    pub fn nodes(nodes: Vec<NodeId>) -> Self {
        Self { nodes: Some(nodes), ..Self::all() }
    }

    /// Whether a node of these traits is to hold the component whatever its load.
    pub fn includes(&self, node: NodeId, traits: &Traits) -> bool {
        let named = self.nodes.as_ref().is_none_or(|nodes| nodes.contains(&node));
        (named || self.added.contains(&node)) && self.admits(node, traits)
    }

    /// Whether a node of these traits may hold it at all.
    pub fn admits(&self, node: NodeId, traits: &Traits) -> bool {
        !self.removed.contains(&node) && self.needs.are_met(traits)
    }

    /// Whether a node of these traits may take it in when its holders are full.
    pub fn may_adopt(&self, node: NodeId, traits: &Traits) -> bool {
        self.adopts && self.admits(node, traits)
    }

    /// The same with `node` added or removed by hand.
    #[must_use]
    pub fn with(mut self, node: NodeId, holds: bool) -> Self {
        let named = self.nodes.as_ref().is_none_or(|nodes| nodes.contains(&node));
        self.added.retain(|other| *other != node);
        self.removed.retain(|other| *other != node);
        match holds {
            true if !named => self.added.push(node),
            false => self.removed.push(node),
            true => {}
        }
        self
    }
}

const LABEL: Text = Text(LABEL_BYTES_MAX);

record! {
    Traits { zone: Maybe(LABEL), labels: Many(LABELS_MAX, LABEL) }
}

record! {
    Needs { zone: Maybe(LABEL), labels: Many(LABELS_MAX, LABEL) }
}

record! {
    Spread {
        nodes: Maybe(Many(NODES_MAX, Plain)),
        added: Many(NODES_MAX, Plain),
        removed: Many(NODES_MAX, Plain),
        needs: Plain,
        adopts: Plain,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn traits(zone: &str, labels: &[&str]) -> Traits {
        let labels = labels.iter().map(|label| Arc::from(*label)).collect();
        Traits { zone: Some(Arc::from(zone)), labels }
    }

    /// If this fails, a component that needs a device is sent to nodes without one.
    #[test]
    fn needs_hold_wherever_a_node_is_named() {
        let needs = Needs { zone: Some(Arc::from("a")), labels: vec![Arc::from("gpu")] };
        let spread = Spread { needs, ..Spread::nodes(vec![NodeId(1)]) };
        let (gpu, none, far) =
            (traits("a", &["ssd", "gpu"]), traits("a", &["ssd"]), traits("b", &["gpu"]));
        assert!(spread.includes(NodeId(1), &gpu) && !spread.includes(NodeId(2), &gpu));
        assert!(!spread.includes(NodeId(1), &none) && !spread.includes(NodeId(1), &far));
        assert!(spread.may_adopt(NodeId(2), &gpu) && !spread.may_adopt(NodeId(2), &far));
        let stays = Spread { adopts: false, ..spread };
        assert!(!stays.may_adopt(NodeId(2), &gpu));
    }

    /// If this fails, what was added by hand cannot be removed by hand, or the other way round.
    #[test]
    fn hands_add_and_remove() {
        let any = Traits::default();
        let holds = |spread: &Spread| [1, 2].map(|node| spread.includes(NodeId(node), &any));
        let spread = Spread::nodes(vec![NodeId(1)]).with(NodeId(2), true);
        assert_eq!(holds(&spread), [true, true]);
        let spread = spread.with(NodeId(1), false);
        assert_eq!(holds(&spread), [false, true]);
        assert!(!spread.may_adopt(NodeId(1), &any));
        let spread = spread.with(NodeId(2), false).with(NodeId(1), true);
        assert_eq!(holds(&spread), [true, false]);
        assert_eq!(holds(&Spread::all().with(NodeId(2), false)), [true, false]);
    }
}
