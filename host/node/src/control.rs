//! What core puts out that must be done in its order: links, components, the table, beacons, notes.

use std::{collections::BTreeMap, sync::Arc};

use izna_core::{AdoptionStage, Note, Output, TableError};
use izna_proto::{Grounds, NodeId, TableEntry};
use tokio::sync::mpsc;

use crate::{
    Error, artifacts, links,
    quiet::Quiet,
    shell::{Change, Shell, lock},
};

/// Do it all, until the node stops.
pub(crate) async fn run(shell: Arc<Shell>, mut control: mpsc::UnboundedReceiver<Output>) {
    let (keep, kept) = mpsc::unbounded_channel();
    shell.spawn(write(shell.clone(), kept));
    let twins = Quiet::default();
    while let Some(output) = control.recv().await {
        match output {
            Output::Store(entry) => {
                publish(&shell, entry.clone());
                let _ = keep.send(Output::Store(entry));
            }
            Output::Forget(name) => {
                shell.table.send_modify(|table| {
                    *table = Arc::new(table.iter().filter(|e| e.name != name).cloned().collect());
                });
                let _ = keep.send(Output::Forget(name));
            }
            // Answered when the lines before it are on disk.
            changed @ Output::Changed { .. } => {
                let _ = keep.send(changed);
            }
            output => perform(&shell, output, &twins),
        }
    }
}

fn perform(shell: &Arc<Shell>, output: Output, twins: &Quiet) {
    match output {
        Output::Beacon(beacon) => shell.radio.send(shell, &beacon),
        Output::Bulletin { audience, bulletin } => {
            shell.radio.tell(shell, &audience, bulletin);
        }
        Output::Connect(peer) => links::connect(shell, peer),
        Output::Disconnect(peer) => shell.links.disconnect(peer),
        Output::Hold { digest, holders } => artifacts::hold(shell, digest, holders),
        Output::Keep { digest, holders } => artifacts::keep(shell, digest, holders),
        Output::Release(digest) => artifacts::release(shell, digest),
        Output::Drained => {
            shell.drained.send_replace(true);
        }
        Output::Note(note) => tell(shell, note, twins),
        // Done elsewhere: see `Shell::feed` and above.
        Output::Run(_)
        | Output::Send { .. }
        | Output::Introduce { .. }
        | Output::Reply(_)
        | Output::MemoryAnswer { .. }
        | Output::Store(_)
        | Output::Changed { .. }
        | Output::Forget(_) => {}
    }
}

/// Tell those who watch the table.
pub(crate) fn publish(shell: &Shell, entry: TableEntry) {
    shell.table.send_modify(|table| {
        let mut lines: BTreeMap<_, _> =
            table.iter().map(|line| (line.name.clone(), line.clone())).collect();
        lines.insert(entry.name.clone(), entry);
        *table = Arc::new(lines.into_values().collect());
    });
}

/// Write lines of the table, in order, apart from all else: the disk can be slow.
async fn write(shell: Arc<Shell>, mut kept: mpsc::UnboundedReceiver<Output>) {
    // Of each app the last error, until who changed it is told, or a later line of it is written.
    let mut failed = BTreeMap::new();
    while let Some(output) = kept.recv().await {
        match output {
            Output::Store(entry) => {
                let Ok(store) = shell.store() else { return };
                let name = entry.name.clone();
                let wrote = shell.spawn_blocking(move || store.put_entry(&entry)).await;
                failed.remove(&name);
                if let Ok(Err(error)) = wrote {
                    let cause: &dyn std::error::Error = &error;
                    tracing::error!(app = %name, error = cause, "cannot keep an app on disk");
                    failed.insert(name, error);
                }
            }
            Output::Forget(name) => {
                let Ok(store) = shell.store() else { return };
                let app = name.clone();
                let removed = shell.spawn_blocking(move || store.remove_entry(&app)).await;
                if let Ok(Err(error)) = removed {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(app = %name, error, "cannot remove an undeployed app from disk");
                }
            }
            Output::Changed { request, result } => {
                let waiting = lock(&shell.changes).remove(&request);
                let Some(Change { app, changed }) = waiting else { continue };
                let failed = failed.remove(&app);
                let result = match (result, failed) {
                    (Ok(_), Some(error)) => Err(error.into()),
                    (Ok(line), None) => Ok(line),
                    (Err(why), _) => Err(refused(&app, why)),
                };
                let _ = changed.send(result);
            }
            other => unreachable!("{other:?} is not for the disk"),
        }
    }
}

fn refused(app: &str, why: TableError) -> Error {
    match why {
        TableError::Unknown { component: None, .. } => Error::NotDeployed { app: app.into() },
        TableError::Unknown { component: Some(component), .. } => {
            Error::NotDeployed { app: format!("{app}/{component}") }
        }
        source => Error::NotTaken { app: app.into(), source },
    }
}

/// The figures of a decision, in one line.
pub fn told(grounds: &Grounds) -> String {
    let cores = |milli: u32| f64::from(milli) / 1000.0;
    format!(
        "{} of {} cores asked for at {} holders, each wait over {:.1} ms, a step takes {:.1} ms",
        cores(grounds.inflow_milli),
        cores(grounds.capacity_milli),
        grounds.holders,
        cores(grounds.wait_us),
        cores(grounds.demand_us),
    )
}

/// The target, for the filter of the log, under which each decision of placement is told.
pub(crate) const PLACEMENT: &str = "placement";

fn tell(shell: &Shell, note: Note, twins: &Quiet) {
    let name = |node: NodeId| shell.name_of(node).unwrap_or_else(|| "?".into());
    match note {
        Note::Joined(peer) => tracing::info!(%peer, name = %name(peer), "linked to a node"),
        Note::Left(peer) => tracing::warn!(%peer, name = %name(peer), "lost a node"),
        Note::Restarted(peer) => {
            tracing::warn!(%peer, name = %name(peer), "a node has started again");
        }
        Note::Twin(peer) => {
            if let Some(left_out) = twins.take() {
                tracing::error!(
                    %peer, name = %name(peer), left_out,
                    "two nodes run under one name: each node needs an identity of its own"
                );
            }
        }
        Note::Lost { again, unknown } => {
            tracing::warn!(again, unknown, "processes were lost with a node");
        }
        Note::Spreads { component, app, targets, grounds } => {
            let targets: Vec<_> = targets.iter().map(|target| name(*target)).collect();
            let (targets, why) = (targets.join(","), told(&grounds));
            tracing::info!(%app, %component, targets, why, "others are to adopt a component");
        }
        Note::Adoption { component, app, stage } => match stage {
            AdoptionStage::Begun(grounds) => {
                let (by, why) = (name(grounds.by), told(&grounds));
                tracing::info!(%app, %component, %by, why, "adopts a component");
            }
            AdoptionStage::Ready => tracing::info!(%app, %component, "has adopted a component"),
            AdoptionStage::GivenUp => {
                tracing::info!(%app, %component, "gives up a component that it adopted");
            }
            AdoptionStage::Failed => {
                tracing::warn!(%app, %component, "cannot have the component that it was to adopt");
            }
        },
        Note::Placed { process, app, component, why } => {
            tracing::debug!(target: PLACEMENT, %process, %app, %component, %why, "placed");
        }
        Note::NotReady(digest, why) => {
            tracing::warn!(%digest, why, "a component cannot be had; it is tried again");
        }
    }
}
