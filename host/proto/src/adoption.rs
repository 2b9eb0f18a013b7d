//! What nodes tell each other about who holds which component, and why.

use crate::{ComponentId, Error, NodeId, Reader, Wire, Writer};

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

impl Wire for ComponentCopy {
    fn write(&self, writer: &mut Writer) {
        writer.array(2);
        self.component.write(writer);
        writer.option(self.adopted.as_ref(), Grounds::write);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(2, |r| {
            let component = ComponentId::read(r)?;
            Ok(Self { component, adopted: r.option(Grounds::read)? })
        })
    }
}

impl Wire for Grounds {
    fn write(&self, writer: &mut Writer) {
        writer.array(6);
        self.by.write(writer);
        writer.unsigned(self.holders);
        writer.unsigned(self.wait_us);
        writer.unsigned(self.demand_us);
        writer.unsigned(self.inflow_milli);
        writer.unsigned(self.capacity_milli);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(6, |r| {
            Ok(Self {
                by: NodeId::read(r)?,
                holders: r.narrow()?,
                wait_us: r.narrow()?,
                demand_us: r.narrow()?,
                inflow_milli: r.narrow()?,
                capacity_milli: r.narrow()?,
            })
        })
    }
}

impl Wire for ComponentDemand {
    fn write(&self, writer: &mut Writer) {
        writer.array(5);
        self.component.write(writer);
        writer.unsigned(self.inflow_milli);
        writer.unsigned(self.refused_milli);
        writer.unsigned(self.demand_us);
        writer.unsigned(self.load_ms);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(5, |r| {
            Ok(Self {
                component: ComponentId::read(r)?,
                inflow_milli: r.narrow()?,
                refused_milli: r.narrow()?,
                demand_us: r.narrow()?,
                load_ms: r.narrow()?,
            })
        })
    }
}
