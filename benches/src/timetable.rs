//! What is done to the nodes of a cluster, and when, while a load runs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Cluster, Load};

/// Something done to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Start it, for the first time or again, and send it clients once it is ready.
    Add(String),
    /// Kill it as a crash would.
    Kill(String),
    /// Stop it as a pause of its machine would.
    Freeze(String),
    /// Let it go on.
    Thaw(String),
    /// Send it no more clients, and ask it to end.
    Drain(String),
    /// Let so many processes compete with it for its share of a core.
    Disturb(String, usize),
    /// End these processes.
    Calm(String),
    /// Change nothing: time passes.
    Nothing,
}

/// Deeds in the order of their times, counted from the start of the load.
#[derive(Debug, Clone, Default)]
pub struct Timetable {
    entries: VecDeque<(Duration, Deed)>,
}

/// A deed that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// When it began.
    pub at: Duration,
    /// When it was over: a node that was added is ready then.
    pub until: Duration,
    /// What it was.
    pub deed: Deed,
}

impl Timetable {
    /// These deeds, in whatever order.
    pub fn new(deeds: impl IntoIterator<Item = (Duration, Deed)>) -> Self {
        let mut entries: Vec<_> = deeds.into_iter().collect();
        entries.sort_by_key(|(at, _)| *at);
        Self { entries: entries.into() }
    }

    /// The next deed if its time has come by `now`, else how long until then; none after the last.
    pub fn next(&mut self, now: Duration) -> Option<Result<Deed, Duration>> {
        let (at, _) = self.entries.front()?;
        match at.checked_sub(now).filter(|left| !left.is_zero()) {
            Some(left) => Some(Err(left)),
            None => self.entries.pop_front().map(|(_, deed)| Ok(deed)),
        }
    }

    /// Do all of it while `load` runs; what was done, and when.
    ///
    /// # Errors
    /// When a node cannot be started or signalled.
    pub fn play(mut self, cluster: &mut Cluster, load: &Load) -> Result<Vec<Done>> {
        let mut done = Vec::new();
        while let Some(next) = self.next(load.elapsed()) {
            match next {
                Err(left) => thread::sleep(left),
                Ok(deed) => {
                    let at = load.elapsed();
                    act(&deed, cluster, load)?;
                    done.push(Done { at, until: load.elapsed(), deed });
                }
            }
        }
        Ok(done)
    }
}

fn act(deed: &Deed, cluster: &mut Cluster, load: &Load) -> Result<()> {
    match deed {
        Deed::Add(name) => {
            match cluster.node_mut(name) {
                Ok(node) => {
                    node.restart()?;
                    node.wait_ready()?;
                }
                Err(_) => cluster.add_node(name)?,
            }
            load.use_gateways(gateways(cluster, &[]));
        }
        Deed::Kill(name) => cluster.node_mut(name)?.kill()?,
        Deed::Freeze(name) => cluster.node(name)?.freeze()?,
        Deed::Thaw(name) => cluster.node(name)?.thaw()?,
        Deed::Drain(name) => {
            load.use_gateways(gateways(cluster, &[name]));
            cluster.node(name)?.terminate()?;
        }
        Deed::Disturb(name, processes) => cluster.node_mut(name)?.disturb(*processes)?,
        Deed::Calm(name) => cluster.node_mut(name)?.calm(),
        Deed::Nothing => {}
    }
    Ok(())
}

/// The gateways of all nodes that run but these.
pub fn gateways(cluster: &Cluster, but: &[&str]) -> Vec<SocketAddr> {
    let nodes = cluster.nodes().iter().filter(|node| node.alive() && !but.contains(&node.name()));
    nodes.filter_map(|node| node.addresses().ok()).map(|addresses| addresses.gateway).collect()
}

impl Done {
    /// Whether it was of this kind, by its first word.
    pub fn is(&self, kind: &str) -> bool {
        self.deed.to_string().split(' ').next() == Some(kind)
    }

    /// For the record.
    pub fn json(&self) -> Value {
        let (at_s, until_s) = (self.at.as_secs_f64(), self.until.as_secs_f64());
        json!({ "at_s": at_s, "until_s": until_s, "deed": self.deed.to_string() })
    }
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Add(name) => write!(f, "add {name}"),
            Self::Kill(name) => write!(f, "kill {name}"),
            Self::Freeze(name) => write!(f, "freeze {name}"),
            Self::Thaw(name) => write!(f, "thaw {name}"),
            Self::Drain(name) => write!(f, "drain {name}"),
            Self::Disturb(name, processes) => write!(f, "disturb {name} by {processes}"),
            Self::Calm(name) => write!(f, "calm {name}"),
            Self::Nothing => f.write_str("end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// If this fails, a node is killed before its time, or a late deed makes later ones be left
    /// out.
    #[test]
    fn each_deed_comes_at_its_time_and_in_order() {
        let deeds =
            [(S * 9, Deed::Nothing), (S * 2, Deed::Kill("b".into())), (S, Deed::Add("b".into()))];
        let mut table = Timetable::new(deeds);
        assert_eq!(table.next(Duration::ZERO), Some(Err(S)));
        assert_eq!(table.next(S / 4), Some(Err(S * 3 / 4)));
        assert_eq!(table.next(S * 3), Some(Ok(Deed::Add("b".into()))));
        assert_eq!(table.next(S * 3), Some(Ok(Deed::Kill("b".into()))));
        assert_eq!(table.next(S * 3), Some(Err(S * 6)));
        assert_eq!(table.next(S * 9), Some(Ok(Deed::Nothing)));
        assert_eq!(table.next(S * 9), None);
    }
}
