//! Artifacts: gets those that core wants held, from the own store or in pieces from other nodes,
//! compiles them, and gives pieces to nodes that ask.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use izna_core::Input;
use izna_proto::{Digest, Message, NodeId, TableEntry};
use izna_runtime::{Component, Description};
use izna_store::Store;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Error, shell::Shell, writer::Flush};

/// The bytes of one piece.
const PIECE_BYTES: u64 = 256 << 10;
/// The largest artifact taken from another node.
const ARTIFACT_BYTES_MAX: u64 = 64 << 20;
/// The most compiled code taken from another node.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// Pieces that are asked for and not yet there.
const PIECES_IN_FLIGHT: usize = 2;
/// How long a piece may take.
const PIECE_MAX: Duration = Duration::from_secs(5);
/// A piece that has not come for this long, and for longer than others took, is asked for again.
const PIECE_AGAIN: Duration = Duration::from_millis(500);
/// Nodes' requests for pieces that wait here; further ones are dropped, and made again.
const ASKED_MAX: usize = 64;
/// Between two lookings for artifacts that no app has.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// What was admitted is kept for this long though no app has it yet.
const ADMITTED_FOR: Duration = Duration::from_secs(600);

/// A piece of an artifact, or of what was compiled from it for an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) digest: Digest,
    /// None for the artifact's own bytes.
    pub(crate) engine: Option<Digest>,
    pub(crate) offset: u64,
}

type Request = (NodeId, Part);

#[derive(Debug)]
pub(crate) struct Artifacts {
    components: RwLock<HashMap<Digest, Component>>,
    /// What core wants held.
    wanted: Mutex<HashMap<Digest, CancellationToken>>,
    /// What is being got for nodes of other zones.
    keeping: Mutex<HashSet<Digest>>,
    admitted: Mutex<HashMap<Digest, Instant>>,
    /// What compiling took here.
    costs: Mutex<HashMap<Digest, Duration>>,
    pieces: Mutex<HashMap<Request, oneshot::Sender<(u64, Bytes)>>>,
    asked: mpsc::Sender<Request>,
    /// Compiling uses all cores: one at a time.
    compiling: Arc<Semaphore>,
    /// Whether compiled code is given to nodes of this cluster, and taken from them.
    shares_code: bool,
}

/// Why an artifact cannot be had.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("it is not here, and no node that holds it is known")]
    Nowhere,
    #[error("{0} does not have it")]
    Gone(Arc<str>),
    #[error("{0} did not send it in time")]
    Late(Arc<str>),
    #[error("{0} sent what was not asked for")]
    Odd(Arc<str>),
    #[error("{name} has {length} bytes of it, more than the {max} that are taken")]
    Large { name: Arc<str>, length: u64, max: u64 },
    #[error("what {name} sent has the digest {found} and was refused")]
    Poisoned { name: Arc<str>, found: Digest },
    #[error("no node gives it: {0}")]
    Refused(String),
    #[error(transparent)]
    Other(#[from] Error),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Artifacts {
    pub(crate) fn new(shares_code: bool) -> (Self, mpsc::Receiver<Request>) {
        let (asked, receiver) = mpsc::channel(ASKED_MAX);
        let artifacts = Self {
            components: RwLock::default(),
            wanted: Mutex::default(),
            keeping: Mutex::default(),
            admitted: Mutex::default(),
            costs: Mutex::default(),
            pieces: Mutex::default(),
            asked,
            compiling: Arc::new(Semaphore::new(1)),
            shares_code,
        };
        (artifacts, receiver)
    }

    /// The component, if it is ready here.
    pub(crate) fn component(&self, digest: &Digest) -> Option<Component> {
        let components = self.components.read().unwrap_or_else(PoisonError::into_inner);
        components.get(digest).cloned()
    }

    /// A node asks for a piece.
    pub(crate) fn asked(&self, peer: NodeId, part: Part) {
        if self.asked.try_send((peer, part)).is_err() {
            let digest = part.digest;
            tracing::debug!(%peer, %digest, "too many requests for artifacts: one was dropped");
        }
    }

    /// A piece came; one that nobody waits for is dropped.
    pub(crate) fn arrived(&self, peer: NodeId, part: Part, length: u64, piece: Bytes) {
        if let Some(waiting) = lock(&self.pieces).remove(&(peer, part)) {
            let _ = waiting.send((length, piece));
        }
    }

    /// What is about to be deployed is kept, however long ago it was admitted.
    pub(crate) fn spare(&self, digests: impl Iterator<Item = Digest>) {
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

    fn set_component(&self, digest: Digest, component: Option<Component>) {
        let mut components = self.components.write().unwrap_or_else(PoisonError::into_inner);
        let _old = match component {
            Some(component) => components.insert(digest, component),
            None => components.remove(&digest),
        };
    }
}

/// Give pieces to nodes that asked, one after the other.
pub(crate) async fn serve(shell: Arc<Shell>, mut asked: mpsc::Receiver<Request>) {
    // What was compiled is checked as a whole, so it is read once for all of its pieces.
    let mut compiled: Option<(Digest, Digest, Bytes)> = None;
    while let Some((peer, part)) = asked.recv().await {
        let Part { digest, engine, offset } = part;
        let (length, piece) = match engine {
            None => artifact_piece(&shell, digest, offset).await,
            Some(engine) => {
                if compiled.as_ref().is_none_or(|(of, by, _)| (*of, *by) != (digest, engine)) {
                    let code = code(&shell, digest, engine).await;
                    compiled = code.map(|code| (digest, engine, code));
                }
                compiled.as_ref().map_or((0, Bytes::new()), |(.., code)| cut(code, offset))
            }
        };
        if length <= offset.saturating_add(PIECE_BYTES) {
            compiled = None;
        }
        let lacks = engine.is_none() && length == 0;
        let message = Message::Artifact { digest, engine, offset, length, piece };
        shell.links.send(peer, &message, Flush::Later);
        if lacks {
            shell.feed(Input::Lacked { peer, digest });
        }
    }
}

async fn artifact_piece(shell: &Arc<Shell>, digest: Digest, offset: u64) -> (u64, Bytes) {
    let Ok(store) = shell.store() else { return (0, Bytes::new()) };
    let read = shell.spawn_blocking(move || store.piece(digest, offset, PIECE_BYTES)).await;
    match read {
        Ok(Ok(Some(piece))) => (piece.length, piece.bytes),
        Ok(Ok(None)) | Err(_) => (0, Bytes::new()),
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(%digest, error, "cannot read an artifact");
            (0, Bytes::new())
        }
    }
}

/// What was compiled here for an engine equal to the own one, if it may be given away.
async fn code(shell: &Arc<Shell>, digest: Digest, engine: Digest) -> Option<Bytes> {
    if !shell.artifacts.shares_code || shell.runtime.engine_id().0 != engine.0 {
        return None;
    }
    let runtime = shell.runtime.clone();
    let code = shell.spawn_blocking(move || runtime.code(digest)).await;
    code.ok().flatten().map(Bytes::from)
}

fn cut(bytes: &Bytes, offset: u64) -> (u64, Bytes) {
    let length = bytes.len() as u64;
    let at = |offset: u64| usize::try_from(offset.min(length)).unwrap_or(0);
    (length, bytes.slice(at(offset)..at(offset.saturating_add(PIECE_BYTES))))
}

/// Core wants an artifact to be here for others.
pub(crate) fn keep(shell: &Arc<Shell>, digest: Digest, holders: Vec<NodeId>) {
    if !lock(&shell.artifacts.keeping).insert(digest) {
        return;
    }
    let shell = shell.clone();
    shell.clone().spawn(async move {
        match (fetch(&shell, digest, &holders).await, shell.store()) {
            (Ok(bytes), Ok(store)) => {
                if let Err(error) =
                    blocking(&shell, move || Ok(store.put_as(digest, &bytes)?)).await
                {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%digest, error, "cannot keep an artifact for another zone");
                }
            }
            (Err(why), _) => tracing::debug!(%digest, %why, "no artifact for another zone"),
            (Ok(_), Err(_)) => {}
        }
        lock(&shell.artifacts.keeping).remove(&digest);
    });
}

/// Core wants a component held.
pub(crate) fn hold(shell: &Arc<Shell>, digest: Digest, holders: Vec<NodeId>) {
    let stop = CancellationToken::new();
    if let Some(older) = lock(&shell.artifacts.wanted).insert(digest, stop.clone()) {
        older.cancel();
    }
    let shell = shell.clone();
    shell.clone().spawn(async move {
        let Some(loaded) = stop.run_until_cancelled(load(&shell, digest, &holders)).await else {
            return;
        };
        match loaded {
            Ok(component) if !stop.is_cancelled() => {
                let cost = lock(&shell.artifacts.costs).get(&digest).copied();
                shell.artifacts.set_component(digest, Some(component));
                shell.feed(Input::Ready { digest, cost });
            }
            Ok(_) => {}
            Err(why) => shell.feed(Input::NotReady(digest, why.to_string())),
        }
    });
}

/// Nothing needs a component here any more.
pub(crate) fn release(shell: &Arc<Shell>, digest: Digest) {
    let artifacts = &shell.artifacts;
    if let Some(stop) = lock(&artifacts.wanted).remove(&digest) {
        stop.cancel();
    }
    lock(&artifacts.costs).remove(&digest);
    artifacts.set_component(digest, None);
    let Ok(store) = shell.store() else { return };
    let own = shell.clone();
    // Nobody waits for it; a stop does.
    drop(shell.spawn_blocking(move || {
        if let Err(error) = own.artifacts.remove(&store, &own.table.borrow(), digest) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(%digest, error, "cannot remove an artifact");
        }
    }));
}

/// Remove now and then what nothing needs: what was admitted and not deployed, or deployed for a
/// while where it is not held.
pub(crate) async fn tidy(shell: Arc<Shell>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let own = shell.clone();
        if let Ok(Err(error)) = shell.spawn_blocking(move || sweep(&own)).await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "cannot remove the artifacts that no app has");
        }
    }
}

/// Remove the artifacts that no app has and nobody is about to use.
pub(crate) fn sweep(shell: &Shell) -> Result<(), Error> {
    let store = shell.store()?;
    for digest in store.artifacts()? {
        shell.artifacts.remove(&store, &shell.table.borrow(), digest)?;
    }
    Ok(())
}

/// Check a component, keep its bytes, and try to compile it.
pub(crate) async fn admit(
    shell: &Arc<Shell>,
    bytes: Bytes,
) -> Result<(Digest, Description), Error> {
    let (runtime, store) = (shell.runtime.clone(), shell.store()?);
    let admitted = blocking(shell, move || {
        let admitted = runtime.admit(&bytes)?;
        Ok((Bytes::from(admitted.component), admitted.description))
    });
    let (component, description) = admitted.await?;
    let digest = izna_store::digest(&component);
    shell.artifacts.spare([digest].into_iter());
    compile(shell, digest, component.clone(), &[]).await?;
    blocking(shell, move || Ok(store.put_as(digest, &component)?)).await?;
    Ok((digest, description))
}

async fn load(
    shell: &Arc<Shell>,
    digest: Digest,
    holders: &[NodeId],
) -> Result<Component, Missing> {
    let store = shell.store()?;
    let own = {
        let store = store.clone();
        blocking(shell, move || Ok(store.artifact(digest)?)).await
    };
    let bytes = match own {
        Ok(Some(bytes)) => bytes,
        missing => {
            if let Err(error) = missing {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%digest, error, "cannot use the own copy of an artifact");
            }
            let bytes = fetch(shell, digest, holders).await?;
            let kept = bytes.clone();
            blocking(shell, move || Ok(store.put_as(digest, &kept)?)).await?;
            bytes
        }
    };
    Ok(compile(shell, digest, bytes, holders).await?)
}

/// Compile it, unless it was compiled here before, or one of these nodes gives what it compiled.
async fn compile(
    shell: &Arc<Shell>,
    digest: Digest,
    bytes: Bytes,
    holders: &[NodeId],
) -> Result<Component, Error> {
    if shell.artifacts.shares_code && !shell.runtime.has_code(digest) {
        fetch_code(shell, digest, holders).await;
    }
    let compiling = shell.artifacts.compiling.clone();
    let permit = compiling.acquire_owned().await.map_err(|_| Error::Stopped)?;
    let runtime = shell.runtime.clone();
    let load = move || {
        // Nobody may wait for this any more, but it goes on.
        let _permit = permit;
        Ok(runtime.load(digest, &bytes)?)
    };
    let compiled = blocking(shell, load).await;
    if let Some(cost) = compiled.as_ref().ok().and_then(Component::cost) {
        lock(&shell.artifacts.costs).insert(digest, cost);
    }
    compiled
}

async fn blocking<T: Send + 'static>(
    shell: &Shell,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    shell.spawn_blocking(work).await.unwrap_or(Err(Error::Stopped))
}

/// Take an artifact from the first node that has it: from one that holds the component, else from
/// any, for the node where an app was deployed has the bytes even if it is not to hold it.
async fn fetch(shell: &Arc<Shell>, digest: Digest, holders: &[NodeId]) -> Result<Bytes, Missing> {
    let others = shell.links.up().into_iter().filter(|peer| !holders.contains(peer));
    let others: Vec<_> = others.collect();
    let mut refused = Vec::new();
    for holder in holders.iter().chain(&others) {
        let fetched = fetch_from(shell, digest, None, *holder).await.and_then(|bytes| {
            let found = izna_store::digest(&bytes);
            let of = || name(shell, *holder);
            if found == digest { Ok(bytes) } else { Err(Missing::Poisoned { name: of(), found }) }
        });
        match fetched {
            Ok(bytes) => return Ok(bytes),
            Err(why) => {
                if matches!(why, Missing::Poisoned { .. }) {
                    tracing::error!(%digest, peer = %holder, %why, "refused an artifact");
                }
                refused.push(why.to_string());
            }
        }
    }
    Err(if refused.is_empty() { Missing::Nowhere } else { Missing::Refused(refused.join("; ")) })
}

/// Take compiled code from a holder that has the same engine. Without it this node compiles.
async fn fetch_code(shell: &Arc<Shell>, digest: Digest, holders: &[NodeId]) {
    let engine = Some(Digest(shell.runtime.engine_id().0));
    for holder in holders {
        match fetch_from(shell, digest, engine, *holder).await {
            Ok(code) => {
                let runtime = shell.runtime.clone();
                let kept = shell.spawn_blocking(move || runtime.trust_code(digest, &code)).await;
                if matches!(kept, Ok(true)) {
                    tracing::info!(%digest, peer = %holder, "took what a node had compiled");
                    return;
                }
            }
            Err(why) => tracing::debug!(%digest, peer = %holder, %why, "no compiled code there"),
        }
    }
}

async fn fetch_from(
    shell: &Arc<Shell>,
    digest: Digest,
    engine: Option<Digest>,
    holder: NodeId,
) -> Result<Bytes, Missing> {
    let part = Part { digest, engine, offset: 0 };
    let patience = &Patience::new(PIECE_AGAIN);
    let (length, first) = piece(shell, part, holder, patience).await?;
    if length == 0 {
        return Err(Missing::Gone(name(shell, holder)));
    }
    let max = if engine.is_some() { CODE_BYTES_MAX } else { ARTIFACT_BYTES_MAX };
    if length > max {
        return Err(Missing::Large { name: name(shell, holder), length, max });
    }
    let check = move |offset: u64, told: u64, piece: Bytes| {
        let right = PIECE_BYTES.min(length.saturating_sub(offset));
        if told == length && piece.len() as u64 == right {
            return Ok(piece);
        }
        Err(Missing::Odd(name(shell, holder)))
    };
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    bytes.extend_from_slice(&check(0, length, first)?);
    let offsets = (1..length.div_ceil(PIECE_BYTES)).map(|index| index * PIECE_BYTES);
    let mut pieces = stream::iter(offsets)
        .map(|offset| async move {
            let (told, piece) = piece(shell, Part { offset, ..part }, holder, patience).await?;
            check(offset, told, piece)
        })
        .buffered(PIECES_IN_FLIGHT);
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

async fn piece(
    shell: &Arc<Shell>,
    part: Part,
    holder: NodeId,
    patience: &Patience,
) -> Result<(u64, Bytes), Missing> {
    let request = (holder, part);
    let (sender, receiver) = oneshot::channel();
    lock(&shell.artifacts.pieces).insert(request, sender);
    let _forget = Forget { shell, request };
    let Part { digest, engine, offset } = part;
    let ask = Message::AskArtifact { digest, engine, offset };
    let asked = patience.ask(receiver, || shell.links.send(holder, &ask, Flush::Later));
    match timeout(PIECE_MAX, asked).await {
        Ok(Some(piece)) => Ok(piece),
        Ok(None) => Err(Missing::Gone(name(shell, holder))),
        Err(_) => Err(Missing::Late(name(shell, holder))),
    }
}

/// How long pieces from one node are waited for before they are asked for again: a request is lost
/// where too many wait. On a slow way, asking again would only make it slower.
struct Patience(AtomicU64);

impl Patience {
    fn new(first: Duration) -> Self {
        Self(AtomicU64::new(micros(first)))
    }

    /// Ask until there is an answer; none when it cannot be asked.
    async fn ask<T>(
        &self,
        mut answer: oneshot::Receiver<T>,
        mut ask: impl FnMut() -> bool,
    ) -> Option<T> {
        let began = Instant::now();
        let mut times = 1;
        loop {
            if !ask() {
                return None;
            }
            let wait = Duration::from_micros(self.0.load(Ordering::Relaxed)).saturating_mul(times);
            if let Ok(answer) = timeout(wait, &mut answer).await {
                self.0.fetch_max(micros(began.elapsed()).saturating_mul(2), Ordering::Relaxed);
                return answer.ok();
            }
            times = times.saturating_mul(2);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Ends the wait for a piece, however it ends.
struct Forget<'a> {
    shell: &'a Shell,
    request: Request,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.shell.artifacts.pieces).remove(&self.request);
    }
}

fn name(shell: &Shell, node: NodeId) -> Arc<str> {
    shell.name_of(node).unwrap_or_else(|| node.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, one request that was lost costs a whole artifact, and some seconds.
    #[tokio::test]
    async fn a_piece_is_asked_for_until_it_comes() {
        let patience = Patience::new(Duration::from_millis(1));
        let (sender, receiver) = oneshot::channel();
        let (mut sender, mut asked) = (Some(sender), 0);
        let ask = || {
            asked += 1;
            if asked == 3 {
                let _ = sender.take().unwrap().send("piece");
            }
            true
        };
        assert_eq!(patience.ask(receiver, ask).await, Some("piece"));
        assert_eq!(asked, 3);
        let (_sender, receiver) = oneshot::channel::<()>();
        assert_eq!(patience.ask(receiver, || false).await, None, "there is no link");
    }

    /// If this fails, artifacts that nobody needs fill the disk, or one goes that is needed.
    #[test]
    fn what_nobody_needs_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (artifacts, _asked) = Artifacts::new(false);
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
        lock(&artifacts.wanted).insert(wanted, CancellationToken::new());
        lock(&artifacts.keeping).insert(kept);
        artifacts.spare([new].into_iter());
        if let Some(then) = Instant::now().checked_sub(ADMITTED_FOR) {
            lock(&artifacts.admitted).insert(old, then);
        }
        for digest in store.artifacts().unwrap() {
            artifacts.remove(&store, &table, digest).unwrap();
        }
        assert!([deployed, wanted, kept, new].iter().all(|digest| store.has(*digest)));
        assert!(!store.has(old) && !store.has(undeployed));
    }
}
