//! The tasks of a node, and what becomes of the node when one of them fails.
//!
//! There are three kinds. A *supervised* task goes on until the node stops: when it ends or panics
//! before, the node stops with that as its reason, rather than live on without it and say that it
//! is ready. A *spawned* task may end, and stops the node only by a panic. A panic of an *isolated*
//! task or of blocking work, where strangers' and guests' bytes are handled, costs nothing but
//! itself.

use std::{
    any::Any,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::Error;

/// All tasks of a node; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(std::sync::Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Where tasks run that were begun on threads without sockets.
    io: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    failure: OnceLock<String>,
}

impl Tasks {
    /// None yet. Must be called on a runtime, which is where they will run.
    pub(crate) fn new() -> Self {
        Self(std::sync::Arc::new(Shared {
            io: Handle::current(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            failure: OnceLock::new(),
        }))
    }

    /// Go on with `future` until the node stops. That it ends before stops the node.
    pub(crate) fn supervise(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let tasks = self.clone();
        self.track(async move {
            match tasks.0.stop.run_until_cancelled(AssertUnwindSafe(future).catch_unwind()).await {
                Some(Ok(())) => tasks.fail(format_args!("the task \"{name}\" has ended")),
                Some(Err(panic)) => tasks.panicked(name, &*panic),
                None => {}
            }
        });
    }

    /// Go on with `future` until its end or that of the node. A panic stops the node.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let tasks = self.clone();
        self.track(async move {
            let future = AssertUnwindSafe(future).catch_unwind();
            if let Some(Err(panic)) = tasks.0.stop.run_until_cancelled(future).await {
                tasks.panicked(name, &*panic);
            }
        });
    }

    /// The same for what strangers can bring about: a panic is logged and ends this task alone.
    pub(crate) fn isolate(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.0.stop.clone();
        self.track(async move {
            let future = AssertUnwindSafe(future).catch_unwind();
            if let Some(Err(panic)) = stop.run_until_cancelled(future).await {
                tracing::error!(task = name, panic = text(&*panic), "a task panicked");
            }
        });
    }

    /// Do what waits for the disk or computes for long on a thread of its own. A stop waits for its
    /// end, even if nobody awaits it. A panic is logged, and an error for who awaits.
    pub(crate) fn blocking<T: Send + 'static, W>(
        &self,
        name: &'static str,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        W: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        let caught = move || {
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                tracing::error!(task = name, panic = text(&*panic), "a task panicked");
                Err(Error::Panicked { task: name })
            })
        };
        let task = self.0.tracker.spawn_blocking_on(caught, &self.0.io);
        async move { task.await.unwrap_or(Err(Error::Stopped)) }
    }

    /// Where sockets are for what runs on a thread without any.
    pub(crate) fn io(&self) -> &Handle {
        &self.0.io
    }

    fn track(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.tracker.spawn_on(future, &self.0.io);
    }

    fn panicked(&self, name: &'static str, panic: &(dyn Any + Send)) {
        self.fail(format_args!("the task \"{name}\" panicked: {}", text(panic)));
    }

    /// Stop the node, which cannot go on. Only the first reason counts, and none after a stop.
    pub(crate) fn fail(&self, why: impl Display) {
        if self.is_stopped() {
            return;
        }
        let why = why.to_string();
        tracing::error!(why, "this node has failed and stops");
        let _ = self.0.failure.set(why);
        self.stop();
    }

    /// Why the node has stopped, unless it was told to.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.0.failure.get().map(String::as_str)
    }

    /// End all tasks, at their next wait.
    pub(crate) fn stop(&self) {
        self.0.stop.cancel();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Wait for a stop.
    pub(crate) async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    /// What comes of `future`; none if the node stops first.
    pub(crate) async fn until_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.0.stop.run_until_cancelled(future).await
    }

    /// Wait until all tasks have ended after a stop.
    pub(crate) async fn ended(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn reason(tasks: &Tasks) -> String {
        timeout(Duration::from_secs(60), tasks.stopped()).await.unwrap();
        timeout(Duration::from_secs(60), tasks.ended()).await.unwrap();
        tasks.failure().unwrap().to_owned()
    }

    /// If this fails, a node goes on without a part of itself, and says that it is ready.
    #[tokio::test]
    async fn a_supervised_task_that_ends_stops_the_node() {
        let tasks = Tasks::new();
        tasks.supervise("clock", std::future::pending());
        tasks.supervise("effects", async {});
        assert_eq!(reason(&tasks).await, "the task \"effects\" has ended");

        let tasks = Tasks::new();
        let now = 3;
        tasks.supervise("effects", async move { panic!("no effect at {now}") });
        assert_eq!(reason(&tasks).await, "the task \"effects\" panicked: no effect at 3");

        let tasks = Tasks::new();
        tasks.spawn("hold", async {});
        tasks.spawn("hold", async { panic!("first") });
        assert_eq!(reason(&tasks).await, "the task \"hold\" panicked: first");
        tasks.fail("a later one");
        assert_eq!(tasks.failure(), Some("the task \"hold\" panicked: first"));
    }

    /// If this fails, a stranger's bytes or a guest's code can stop a node.
    #[tokio::test]
    async fn an_isolated_panic_stops_nothing() {
        let tasks = Tasks::new();
        tasks.isolate("connection", async { panic!("bad bytes") });
        let compiled = tasks.blocking("compile", || -> Result<(), Error> { panic!("bad code") });
        assert!(matches!(compiled.await, Err(Error::Panicked { task: "compile" })));
        assert_eq!(tasks.blocking("compile", || Ok(1)).await.unwrap(), 1);
        assert!(!tasks.is_stopped());
        tasks.stop();
        timeout(Duration::from_secs(60), tasks.ended()).await.unwrap();
        assert_eq!(tasks.failure(), None, "it was told to stop");
    }
}
