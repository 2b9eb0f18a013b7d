//! What nodes tell each other about who holds which component, and why.

use crate::{
    ComponentId, NodeId,
    layout::{Maybe, Plain, record},
};

/// A component that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComponentCopy {
    /// Which.
    pub component: ComponentId,
    /// The decision by which the node took it in; none when it was deployed there, or added by
    /// hand.
    pub adopted: Option<Grounds>,
}

/// The figures of a decision that a node takes a component in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grounds {
    /// The node that decided.
    pub by: NodeId,
    /// Its holders before.
    pub holders: u32,
    /// The least wait at one of them, in microseconds.
    pub wait_us: u32,
    /// What one step of it takes, in microseconds.
    pub demand_us: u32,
    /// Work that came to the holders, and that was turned away because they were full, in
    /// thousandths of a core of speed one.
    pub inflow_milli: u32,
    /// What the holders could do, in the same unit.
    pub capacity_milli: u32,
}

/// What a node has measured of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComponentDemand {
    /// Which.
    pub component: ComponentId,
    /// Work for it that comes to this node, in thousandths of a core of speed one.
    pub inflow_milli: u32,
    /// Work for it that this node turned away because its holders are full, in the same unit.
    pub refused_milli: u32,
    /// What one step of it takes here, in microseconds; 0 when none has run.
    pub demand_us: u32,
    /// What taking it in has cost here, in milliseconds of processor time; 0 when that is not
    /// known.
    pub load_ms: u32,
}

record! {
    ComponentCopy { component: Plain, adopted: Maybe(Plain) }
}

record! {
    Grounds {
        by: Plain,
        holders: Plain,
        wait_us: Plain,
        demand_us: Plain,
        inflow_milli: Plain,
        capacity_milli: Plain,
    }
}

record! {
    ComponentDemand {
        component: Plain,
        inflow_milli: Plain,
        refused_milli: Plain,
        demand_us: Plain,
        load_ms: Plain,
    }
}
