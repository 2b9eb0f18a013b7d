//! A node, as those see it who run it: start, submit, deploy, look, drain, stop.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use izna_core::{Assignment, Change, Input, Reply, Submission, TableError};
use izna_proto::{
    App, Digest, Failure, FailureKind, NodeId, Payload, ProcessId, SlotId, TableEntry, Trail,
};
use izna_runtime::Description;
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use crate::{
    Error, NodeConfig, app_linking,
    app_table::TableLines,
    assembly::{self, Parts},
    driver::Driver,
    link_writer::Flush,
    snapshot::{HostCounts, Snapshot},
    waiters::Waiting,
};

/// A request of a client, which is to become a process.
#[derive(Debug, Clone)]
pub struct NewProcess {
    /// The app.
    pub app: Arc<str>,
    /// The component, by its name in the app.
    pub component: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// A CBOR array of arguments.
    pub input: Payload,
    /// Whether it may run again when its process is lost.
    pub idempotent: bool,
    /// How long it may take.
    pub deadline: Duration,
    /// The W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

/// A running node; cheap to clone. It goes on when all of these are dropped: [`Node::shutdown`]
/// ends it.
#[derive(Clone)]
pub struct Node {
    parts: Arc<Parts>,
}

impl Node {
    /// Start a node. Its tasks run on the runtime that this is called in; brief steps run there too
    /// if that is a `current_thread` one. All others run on threads that this starts.
    ///
    /// # Errors
    /// When its directory, sockets or identity cannot be used: see [`Error`].
    pub async fn start(config: NodeConfig) -> Result<Self, Error> {
        Ok(Self { parts: assembly::start(config).await? })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.parts.own.node
    }

    /// Its name.
    pub fn name(&self) -> Arc<str> {
        self.parts.own.name.clone()
    }

    /// Where it takes links and unicast beacons; what others name as a seed.
    pub fn address(&self) -> SocketAddr {
        self.parts.own.address
    }

    /// Run a process to its end. Dropping the future tells the node that nobody waits any more.
    pub async fn submit(&self, new: NewProcess) -> Reply {
        let Parts { driver, replies, slots, .. } = &*self.parts;
        let slot = SlotId(slots.fetch_add(1, Ordering::Relaxed));
        let id = ProcessId(uuid::Uuid::now_v7().as_u128());
        let mut client = Client { driver, slot, waiting: replies.wait(slot) };
        let NewProcess { app, component, function, input, idempotent, deadline, traceparent } = new;
        let submission = Input::Submit(Submission {
            slot,
            id,
            app,
            component,
            function,
            input,
            idempotent,
            deadline,
            traceparent,
        });
        driver.feed_here(submission, Flush::Later);
        let stopped = || {
            let outcome = Err(Failure::new(FailureKind::Unavailable, "the node has stopped"));
            let (trail, took) = (Trail::default(), Duration::ZERO);
            Reply { slot, process: id, outcome, trail, took }
        };
        match driver.tasks.until_stopped(&mut client.waiting.answer).await {
            Some(Ok(reply)) => reply,
            _ => stopped(),
        }
    }

    /// Check a component's bytes, keep them, and compile them, so that what is wrong with them
    /// shows now. The digest, for the app that is to have it, is that of the component; from a
    /// core module one is made first.
    ///
    /// # Errors
    /// When they are no component that can run here, or cannot be kept.
    pub async fn admit(&self, bytes: impl Into<Bytes>) -> Result<(Digest, Description), Error> {
        self.parts.artifacts.admit(bytes.into()).await
    }

    /// Deploy a new revision of an app. It is on this node's disk when this returns, and on its way
    /// to the others.
    ///
    /// # Errors
    /// When a component of it was not admitted here, components do not fit together, or the app
    /// cannot be kept.
    pub async fn deploy(&self, app: App) -> Result<TableEntry, Error> {
        let (store, name) = (self.parts.store.get()?, app.name.clone());
        self.parts.artifacts.spare(app.components.iter().map(|component| component.digest));
        if let Some(missing) = app.components.iter().find(|c| !store.has(c.digest)) {
            let (app, component) = (name.to_string(), missing.name.to_string());
            return Err(Error::NotAdmitted { app, component, digest: missing.digest });
        }
        let runtime = self.parts.runtime.clone();
        let link = move || app_linking::link(app, &store, &runtime);
        let app = self.parts.driver.tasks.blocking("link an app", link).await?;
        self.change(name, Change::Deploy(app)).await
    }

    /// Undeploy an app.
    ///
    /// # Errors
    /// When no app of that name is deployed, or that it is gone cannot be kept.
    pub async fn undeploy(&self, name: &str) -> Result<TableEntry, Error> {
        let name: Arc<str> = name.into();
        self.change(name.clone(), Change::Undeploy(name)).await
    }

    /// Add a node to the holders of a component, or remove it: a new revision of the app, as
    /// [`Node::deploy`] makes one.
    ///
    /// # Errors
    /// When there is no such app or component, or that cannot be kept.
    pub async fn assign(
        &self,
        app: Arc<str>,
        component: Arc<str>,
        node: NodeId,
        assignment: Assignment,
    ) -> Result<TableEntry, Error> {
        let name = app.clone();
        self.change(name, Change::Assign { app, component, node, assignment }).await
    }

    async fn change(&self, app: Arc<str>, change: Change) -> Result<TableEntry, Error> {
        let Parts { driver, table, .. } = &*self.parts;
        let (request, mut changed) = table.change();
        driver.feed(Input::Change { request, change });
        let answer = driver.tasks.until_stopped(&mut changed.answer).await;
        match answer.and_then(Result::ok).ok_or(Error::Stopped)?? {
            Ok(line) => Ok(line),
            Err(why) => Err(refused(&app, why)),
        }
    }

    /// The app table, now and whenever it changes: the newest line of each app, undeployed ones
    /// included.
    pub fn table(&self) -> watch::Receiver<TableLines> {
        self.parts.table.watch()
    }

    /// The name of a node that was ever linked, and of this one.
    pub fn name_of(&self, node: NodeId) -> Option<Arc<str>> {
        self.parts.names.get(node)
    }

    /// Whether clients should come here: beacons can be heard, and it does not drain or stop.
    pub fn is_ready(&self) -> bool {
        !self.parts.draining.load(Ordering::Relaxed)
            && !self.parts.driver.tasks.is_stopped()
            && self.parts.discovery.can_hear()
    }

    /// The node as it is now; none once it has failed.
    pub fn status(&self) -> Option<Snapshot> {
        let Parts { own, driver, performer, runtime, addresses, .. } = &*self.parts;
        let mut snapshot = driver.look(|core| Snapshot::of(own, core))?;
        // The rest needs no lock of core.
        snapshot.uptime = driver.uptime();
        snapshot.ready = self.is_ready();
        snapshot.host = HostCounts {
            process_encoded: performer.process_encoded(),
            lent: driver.lent(),
            cache: runtime.cache_counts(),
            warm: runtime.warm_counts(),
        };
        let addresses = addresses.lock();
        for peer in &mut snapshot.peers {
            peer.address = addresses.address(peer.status.node);
        }
        snapshot.peers.sort_by(|a, b| a.status.name.cmp(&b.status.name));
        Some(snapshot)
    }

    /// Take nothing new and hand over what is here; true when nothing is left, false when `limit`
    /// is over first.
    pub async fn drain(&self, limit: Duration) -> bool {
        let Parts { driver, performer, draining, .. } = &*self.parts;
        draining.store(true, Ordering::Relaxed);
        let mut drained = performer.drained();
        driver.feed(Input::Drain);
        let wait = timeout(limit, drained.wait_for(|drained| *drained));
        matches!(driver.tasks.until_stopped(wait).await, Some(Ok(Ok(_))))
    }

    /// Wait until the node has stopped: by [`Node::shutdown`], or because it had to; then the
    /// reason.
    pub async fn stopped(&self) -> Option<String> {
        let tasks = &self.parts.driver.tasks;
        tasks.stopped().await;
        tasks.failure().map(str::to_owned)
    }

    /// Stop at once: close all sockets and files, end all steps. Clients that wait get a failure.
    pub async fn shutdown(&self) {
        let Parts { driver, discovery, steps, replies, runtime, executor, store, .. } =
            &*self.parts;
        driver.tasks.stop();
        driver.tasks.ended().await;
        discovery.close();
        let executor = executor.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It waits for the slices that its threads are in.
        let runtime = runtime.clone();
        let end = move || {
            drop(executor);
            runtime.clear();
        };
        let _ = spawn_blocking(end).await;
        replies.clear();
        steps.clear();
        store.close();
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

/// Tells core when the client goes away before the reply.
struct Client<'a> {
    driver: &'a Driver,
    slot: SlotId,
    waiting: Waiting<SlotId, Reply>,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if self.waiting.end() {
            self.driver.feed(Input::Abandon(self.slot));
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("own", &self.parts.own).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
