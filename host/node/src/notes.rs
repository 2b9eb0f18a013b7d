//! The log lines for what core notes.

use izna_core::{AdoptionStage, Note};
use izna_proto::{Grounds, NodeId};

use crate::{log_limit::LogLimit, names::Names};

/// The target, for the filter of the log, under which each decision of placement is told.
pub(crate) const PLACEMENT: &str = "placement";

/// The figures of a decision, in one line.
pub fn explain(grounds: &Grounds) -> String {
    let thousandths = |milli: u32| f64::from(milli) / 1000.0;
    format!(
        "{} of {} cores are in demand at {} holders, each with a wait of over {:.1} ms; a step \
         takes {:.1} ms",
        thousandths(grounds.inflow_milli),
        thousandths(grounds.capacity_milli),
        grounds.holders,
        thousandths(grounds.wait_us),
        thousandths(grounds.demand_us),
    )
}

/// Log a note.
pub(crate) fn log(names: &Names, duplicates: &LogLimit, note: Note) {
    let name = |node: NodeId| names.get(node).unwrap_or_else(|| "?".into());
    match note {
        Note::Joined(peer) => tracing::info!(%peer, name = %name(peer), "linked to a node"),
        Note::Left(peer) => tracing::warn!(%peer, name = %name(peer), "lost a node"),
        Note::Restarted(peer) => {
            tracing::warn!(%peer, name = %name(peer), "a node has restarted");
        }
        Note::Twin(peer) => {
            if let Some(left_out) = duplicates.take() {
                tracing::error!(
                    %peer, name = %name(peer), left_out,
                    "two nodes run with the same identity: each node needs its own"
                );
            }
        }
        Note::Lost { again, unknown } => {
            tracing::warn!(again, unknown, "processes were lost with a node");
        }
        Note::Spreads { component, app, targets, grounds } => {
            let targets: Vec<_> = targets.iter().map(|target| name(*target)).collect();
            let (targets, why) = (targets.join(","), explain(&grounds));
            tracing::info!(%app, %component, targets, why, "asked nodes to adopt a component");
        }
        Note::Adoption { component, app, stage } => match stage {
            AdoptionStage::Begun(grounds) => {
                let (by, why) = (name(grounds.by), explain(&grounds));
                tracing::info!(%app, %component, %by, why, "adopts a component");
            }
            AdoptionStage::Ready => tracing::info!(%app, %component, "has adopted a component"),
            AdoptionStage::GivenUp => {
                tracing::info!(%app, %component, "gives up a component that it adopted");
            }
            AdoptionStage::Failed => {
                tracing::warn!(%app, %component, "cannot obtain a component to adopt");
            }
        },
        Note::Placed { process, app, component, why } => {
            tracing::debug!(target: PLACEMENT, %process, %app, %component, %why, "placed");
        }
        Note::NotReady(digest, why) => {
            tracing::warn!(%digest, why, "cannot obtain a component; will retry");
        }
    }
}
