//! The components of this node: obtains those that core wants held, from the own store or from
//! other nodes, compiles them, and removes artifacts that nothing needs.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use izna_core::Input;
use izna_proto::{Digest, NodeId, TableEntry};
use izna_runtime::{Component, Description, Runtime};
use izna_store::Store;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    app_table::AppTable,
    artifact_fetch::{ArtifactFetch, Missing},
    driver::Driver,
    open_store::OpenStore,
};

/// Between two lookings for artifacts that no app has.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// What was admitted is kept for this long though no app has it yet.
const ADMITTED_FOR: Duration = Duration::from_secs(600);

/// The components of this node.
#[derive(Debug)]
pub(crate) struct Artifacts {
    driver: Arc<Driver>,
    table: Arc<AppTable>,
    fetch: Arc<ArtifactFetch>,
    store: Arc<OpenStore>,
    runtime: Runtime,
    components: RwLock<HashMap<Digest, Component>>,
    needs: Needs,
    /// What compiling took here.
    costs: Mutex<HashMap<Digest, Duration>>,
    /// Compiling uses all cores: one at a time.
    compiling: Arc<Semaphore>,
    /// Whether code compiled by other nodes of this cluster is used.
    shares_code: bool,
}

/// Which artifacts are needed though no app of the table may have them.
#[derive(Debug, Default)]
struct Needs {
    /// What core wants held.
    wanted: Mutex<HashMap<Digest, CancellationToken>>,
    /// What is being fetched for nodes of other zones.
    keeping: Mutex<HashSet<Digest>>,
    admitted: Mutex<HashMap<Digest, Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Needs {
    /// What is about to be deployed is kept, however long ago it was admitted.
    fn spare(&self, digests: impl Iterator<Item = Digest>) {
        lock(&self.admitted).extend(digests.map(|digest| (digest, Instant::now())));
    }

    /// Remove an artifact, unless an app of this table has it, or may have it soon, or it is in use
    /// here. Until it is gone nobody can begin to use it.
    fn remove(&self, store: &Store, table: &[TableEntry], digest: Digest) -> Result<(), Error> {
        let wanted = lock(&self.wanted);
        let keeping = lock(&self.keeping);
        let mut admitted = lock(&self.admitted);
        admitted.retain(|_, at| at.elapsed() < ADMITTED_FOR);
        let mut apps = table.iter().filter_map(|entry| entry.app.as_ref());
        let is_needed = wanted.contains_key(&digest)
            || keeping.contains(&digest)
            || admitted.contains_key(&digest)
            || apps.any(|app| app.components.iter().any(|component| component.digest == digest));
        if !is_needed {
            store.remove(digest)?;
        }
        Ok(())
    }
}

impl Artifacts {
    pub(crate) fn new(
        driver: Arc<Driver>,
        table: Arc<AppTable>,
        fetch: Arc<ArtifactFetch>,
        (store, runtime): (Arc<OpenStore>, Runtime),
        shares_code: bool,
    ) -> Self {
        Self {
            driver,
            table,
            fetch,
            store,
            runtime,
            components: RwLock::default(),
            needs: Needs::default(),
            costs: Mutex::default(),
            compiling: Arc::new(Semaphore::new(1)),
            shares_code,
        }
    }

    /// The component, if it is ready here.
    pub(crate) fn component(&self, digest: &Digest) -> Option<Component> {
        let components = self.components.read().unwrap_or_else(PoisonError::into_inner);
        components.get(digest).cloned()
    }

    /// What is about to be deployed is kept, however long ago it was admitted.
    pub(crate) fn spare(&self, digests: impl Iterator<Item = Digest>) {
        self.needs.spare(digests);
    }

    fn set_component(&self, digest: Digest, component: Option<Component>) {
        let mut components = self.components.write().unwrap_or_else(PoisonError::into_inner);
        let _old = match component {
            Some(component) => components.insert(digest, component),
            None => components.remove(&digest),
        };
    }

    /// Core wants an artifact to be here for others.
    pub(crate) fn keep(self: &Arc<Self>, digest: Digest, holders: Vec<NodeId>) {
        if !lock(&self.needs.keeping).insert(digest) {
            return;
        }
        let artifacts = self.clone();
        self.driver.tasks.spawn("keep an artifact", async move {
            match (artifacts.fetch.artifact(digest, &holders).await, artifacts.store.get()) {
                (Ok(bytes), Ok(store)) => {
                    let put = move || Ok(store.put_as(digest, &bytes)?);
                    if let Err(error) = artifacts.blocking("write an artifact", put).await {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(%digest, error, "cannot keep an artifact for another zone");
                    }
                }
                (Err(why), _) => {
                    tracing::debug!(%digest, %why, "cannot obtain an artifact for another zone");
                }
                (Ok(_), Err(_)) => {}
            }
            lock(&artifacts.needs.keeping).remove(&digest);
        });
    }

    /// Core wants a component held.
    pub(crate) fn hold(self: &Arc<Self>, digest: Digest, holders: Vec<NodeId>) {
        let stop = CancellationToken::new();
        if let Some(older) = lock(&self.needs.wanted).insert(digest, stop.clone()) {
            older.cancel();
        }
        let artifacts = self.clone();
        self.driver.tasks.spawn("hold a component", async move {
            let load = artifacts.load(digest, &holders);
            let Some(loaded) = stop.run_until_cancelled(load).await else { return };
            match loaded {
                Ok(component) if !stop.is_cancelled() => {
                    let cost = lock(&artifacts.costs).get(&digest).copied();
                    artifacts.set_component(digest, Some(component));
                    artifacts.driver.feed(Input::Ready { digest, cost });
                }
                Ok(_) => {}
                Err(why) => artifacts.driver.feed(Input::NotReady(digest, why.to_string())),
            }
        });
    }

    /// Nothing needs a component here any more.
    pub(crate) fn release(self: &Arc<Self>, digest: Digest) {
        if let Some(stop) = lock(&self.needs.wanted).remove(&digest) {
            stop.cancel();
        }
        lock(&self.costs).remove(&digest);
        self.set_component(digest, None);
        let Ok(store) = self.store.get() else { return };
        let artifacts = self.clone();
        // Nobody waits for it; a stop does.
        drop(self.blocking("remove an artifact", move || {
            if let Err(error) = artifacts.needs.remove(&store, &artifacts.table.lines(), digest) {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%digest, error, "cannot remove an artifact");
            }
            Ok(())
        }));
    }

    /// Remove now and then what nothing needs: what was admitted and not deployed, or deployed for
    /// a while where it is not held.
    pub(crate) async fn tidy(self: Arc<Self>) {
        loop {
            sleep(SWEEP_INTERVAL).await;
            let artifacts = self.clone();
            if let Err(error) = self.blocking("remove artifacts", move || artifacts.sweep()).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "cannot remove the artifacts that no app has");
            }
        }
    }

    /// Remove the artifacts that no app has and nobody is about to use.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let store = self.store.get()?;
        for digest in store.artifacts()? {
            self.needs.remove(&store, &self.table.lines(), digest)?;
        }
        Ok(())
    }

    /// Check a component, keep its bytes, and try to compile it.
    pub(crate) async fn admit(&self, bytes: Bytes) -> Result<(Digest, Description), Error> {
        let (runtime, store) = (self.runtime.clone(), self.store.get()?);
        let admitted = self.blocking("check a component", move || {
            let admitted = runtime.admit(&bytes)?;
            Ok((Bytes::from(admitted.component), admitted.description))
        });
        let (component, description) = admitted.await?;
        let digest = izna_store::digest(&component);
        self.spare([digest].into_iter());
        self.compile(digest, component.clone(), &[]).await?;
        let put = move || Ok(store.put_as(digest, &component)?);
        self.blocking("write an artifact", put).await?;
        Ok((digest, description))
    }

    async fn load(&self, digest: Digest, holders: &[NodeId]) -> Result<Component, Missing> {
        let store = self.store.get()?;
        let own = {
            let store = store.clone();
            self.blocking("read an artifact", move || Ok(store.artifact(digest)?)).await
        };
        let bytes = match own {
            Ok(Some(bytes)) => bytes,
            missing => {
                if let Err(error) = missing {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%digest, error, "cannot use the own copy of an artifact");
                }
                let bytes = self.fetch.artifact(digest, holders).await?;
                let kept = bytes.clone();
                let put = move || Ok(store.put_as(digest, &kept)?);
                self.blocking("write an artifact", put).await?;
                bytes
            }
        };
        Ok(self.compile(digest, bytes, holders).await?)
    }

    /// Compile it, unless it was compiled here before, or one of these nodes gives what it
    /// compiled.
    async fn compile(
        &self,
        digest: Digest,
        bytes: Bytes,
        holders: &[NodeId],
    ) -> Result<Component, Error> {
        if self.shares_code && !self.runtime.has_code(digest) {
            self.fetch_code(digest, holders).await;
        }
        let permit = self.compiling.clone().acquire_owned().await.map_err(|_| Error::Stopped)?;
        let runtime = self.runtime.clone();
        let load = move || {
            // Nobody may wait for this any more, but it goes on.
            let _permit = permit;
            Ok(runtime.load(digest, &bytes)?)
        };
        let compiled = self.blocking("compile a component", load).await;
        if let Some(cost) = compiled.as_ref().ok().and_then(Component::cost) {
            lock(&self.costs).insert(digest, cost);
        }
        compiled
    }

    /// Take compiled code from a holder that has the same engine. Without it this node compiles.
    async fn fetch_code(&self, digest: Digest, holders: &[NodeId]) {
        let engine = Digest(self.runtime.engine_id().0);
        for holder in holders {
            match self.fetch.code(digest, engine, *holder).await {
                Ok(code) => {
                    let runtime = self.runtime.clone();
                    let trust = move || Ok(runtime.trust_code(digest, &code));
                    let kept = self.blocking("write compiled code", trust).await;
                    if matches!(kept, Ok(true)) {
                        let text = "uses code that a node has compiled";
                        tracing::info!(%digest, peer = %holder, "{text}");
                        return;
                    }
                }
                Err(why) => {
                    tracing::debug!(%digest, peer = %holder, %why, "no compiled code there");
                }
            }
        }
    }

    fn blocking<T: Send + 'static, W>(
        &self,
        name: &'static str,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        W: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        self.driver.tasks.blocking(name, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, artifacts that nobody needs fill the disk, or one goes that is needed.
    #[test]
    fn what_nobody_needs_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let needs = Needs::default();
        let put = |bytes: &'static [u8]| store.put(bytes).unwrap();
        let names: [&[u8]; 6] = [b"deployed", b"wanted", b"kept", b"new", b"old", b"undeployed"];
        let [deployed, wanted, kept, new, old, undeployed] = names.map(put);
        let component = izna_proto::ComponentSpec {
            name: "a".into(),
            digest: deployed,
            links: Vec::new(),
            limits: izna_proto::Limits::default(),
            grants: Arc::default(),
            spread: izna_proto::Spread::all(),
        };
        let (name, components): (Arc<str>, _) = ("app".into(), vec![component]);
        let app = izna_proto::App { name: name.clone(), components, routes: Vec::new() };
        let table = [TableEntry { name, revision: 1, app: Some(app) }];
        lock(&needs.wanted).insert(wanted, CancellationToken::new());
        lock(&needs.keeping).insert(kept);
        needs.spare([new].into_iter());
        if let Some(then) = Instant::now().checked_sub(ADMITTED_FOR) {
            lock(&needs.admitted).insert(old, then);
        }
        for digest in store.artifacts().unwrap() {
            needs.remove(&store, &table, digest).unwrap();
        }
        assert!([deployed, wanted, kept, new].iter().all(|digest| store.has(*digest)));
        assert!(!store.has(old) && !store.has(undeployed));
    }
}
