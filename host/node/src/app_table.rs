//! The app table outside of core: its newest lines for those that watch them, and on disk.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use izna_core::TableError;
use izna_proto::TableEntry;
use tokio::sync::{mpsc, watch};

use crate::{
    Error,
    open_store::OpenStore,
    supervision::Tasks,
    waiters::{Waiters, Waiting},
};

/// The newest line of each app, in the order of their names.
pub(crate) type TableLines = Arc<Vec<TableEntry>>;

/// The app table of this node.
#[derive(Debug)]
pub(crate) struct AppTable {
    lines: watch::Sender<TableLines>,
    disk: mpsc::UnboundedSender<ForDisk>,
    /// Who waits for what comes of a change; an error is the disk's.
    changes: Arc<Waiters<u64, Result<Changed, Error>>>,
    requests: AtomicU64,
}

/// The new line of an app that was to be changed, or why core did not take the change.
pub(crate) type Changed = Result<TableEntry, TableError>;

/// What waits for the disk, in order.
#[derive(Debug)]
pub(crate) enum ForDisk {
    Keep(TableEntry),
    Remove(Arc<str>),
    /// What came of a change, told when the lines that came before are on disk.
    Changed(u64, Changed),
}

impl AppTable {
    /// An empty table, and what [`write()`] is to be given.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ForDisk>) {
        let (disk, for_disk) = mpsc::unbounded_channel();
        let (lines, changes) = (watch::Sender::new(TableLines::default()), Arc::default());
        (Self { lines, disk, changes, requests: AtomicU64::new(0) }, for_disk)
    }

    /// The newest lines, now and whenever they change.
    pub(crate) fn watch(&self) -> watch::Receiver<TableLines> {
        self.lines.subscribe()
    }

    /// The newest lines.
    pub(crate) fn lines(&self) -> TableLines {
        self.lines.borrow().clone()
    }

    /// Tell those who watch of a line that is on disk.
    pub(crate) fn publish(&self, entry: TableEntry) {
        self.lines.send_modify(|table| {
            let mut lines: BTreeMap<_, _> =
                table.iter().map(|line| (line.name.clone(), line.clone())).collect();
            lines.insert(entry.name.clone(), entry);
            *table = Arc::new(lines.into_values().collect());
        });
    }

    /// Tell those who watch of a new line, and write it.
    pub(crate) fn store(&self, entry: TableEntry) {
        self.publish(entry.clone());
        self.for_disk(ForDisk::Keep(entry));
    }

    /// The line of an app is gone.
    pub(crate) fn forget(&self, name: Arc<str>) {
        self.lines.send_modify(|table| {
            *table = Arc::new(table.iter().filter(|e| e.name != name).cloned().collect());
        });
        self.for_disk(ForDisk::Remove(name));
    }

    /// A number for a change of an app, and what is answered when that is on disk.
    pub(crate) fn change(&self) -> (u64, Waiting<u64, Result<Changed, Error>>) {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        (request, self.changes.wait(request))
    }

    /// What came of a change: answered when the lines before it are on disk.
    pub(crate) fn changed(&self, request: u64, changed: Changed) {
        self.for_disk(ForDisk::Changed(request, changed));
    }

    fn for_disk(&self, work: ForDisk) {
        // With nobody to receive it, the node has stopped.
        let _ = self.disk.send(work);
    }
}

/// Write lines of the table, in order, apart from all else: the disk can be slow.
pub(crate) async fn write(
    table: Arc<AppTable>,
    store: Arc<OpenStore>,
    tasks: Tasks,
    mut for_disk: mpsc::UnboundedReceiver<ForDisk>,
) {
    // Of each app the last error, until who changed it is told, or a later line of it is written.
    let mut failed = BTreeMap::new();
    while let Some(work) = for_disk.recv().await {
        let Ok(store) = store.get() else { return };
        match work {
            ForDisk::Keep(entry) => {
                let name = entry.name.clone();
                let write = move || Ok(store.put_entry(&entry)?);
                let wrote = tasks.blocking("write the app table", write).await;
                failed.remove(&name);
                if let Err(error) = wrote {
                    let cause: &dyn std::error::Error = &error;
                    tracing::error!(app = %name, error = cause, "cannot write an app to disk");
                    failed.insert(name, error);
                }
            }
            ForDisk::Remove(name) => {
                let app = name.clone();
                let remove = move || Ok(store.remove_entry(&app)?);
                if let Err(error) = tasks.blocking("write the app table", remove).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(app = %name, error, "cannot remove an app from disk");
                }
            }
            ForDisk::Changed(request, changed) => {
                let error = changed.as_ref().ok().and_then(|line| failed.remove(&line.name));
                table.changes.answer(&request, error.map_or(Ok(changed), Err));
            }
        }
    }
}
