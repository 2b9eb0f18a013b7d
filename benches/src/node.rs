//! One `izna node` as a process of the operating system: begun, watched, hurt, ended.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Response};
use crate::quota::Group;
use crate::segment::{self, Place};
use crate::undo::Undo;
use crate::{shipped, wait};

/// How a node is started, and again after it was ended.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What stands before the command: nothing, or a program that starts another in its place, such
    /// as one that sets a quota or a network namespace.
    pub wrapper: Vec<String>,
    /// The arguments of `izna`.
    pub arguments: Vec<String>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// The network namespace that it runs in.
    pub place: Option<Place>,
    /// The control group that it runs in.
    pub group: Option<Arc<Group>>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    launch: Launch,
    /// Shared with what is to be done should the run be interrupted.
    child: Arc<Mutex<Option<Child>>>,
    starts: usize,
    addresses: Option<Addresses>,
    /// Processes that compete with it; in its group, so that they end with that at the latest.
    neighbours: Vec<Child>,
    _undo: Undo,
}

/// Where a node really listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Its gateway.
    pub gateway: SocketAddr,
    /// Its management listener.
    pub manage: SocketAddr,
    /// Its peer links.
    pub peer: SocketAddr,
}

impl Node {
    /// Start a node that keeps its output in `folder`. It is not ready yet.
    pub fn start(name: &str, folder: &Path, launch: Launch) -> Result<Self> {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        let child = Arc::new(Mutex::new(None));
        let undo = Undo::new({
            let child = child.clone();
            move || end(&child)
        });
        let (starts, addresses, neighbours) = (0, None, Vec::new());
        let mut node =
            Self { name, folder, launch, child, starts, addresses, neighbours, _undo: undo };
        node.begin()?;
        Ok(node)
    }

    fn begin(&mut self) -> Result<()> {
        self.starts += 1;
        self.addresses = None;
        let binary = shipped::binary()?;
        let group = self.launch.group.as_ref().map(|group| group.wrapper()).unwrap_or_default();
        let mut words = group.iter().chain(&self.launch.wrapper).map(String::as_str);
        let mut command = match words.next() {
            None => Command::new(&binary),
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&binary);
                command
            }
        };
        let output = |path: PathBuf| {
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))
        };
        command
            .args(&self.launch.arguments)
            .envs(self.launch.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(output(self.events_path())?)
            .stderr(output(self.log_path())?);
        // A process is born where the thread that starts it is.
        let child = segment::within(self.launch.place.as_ref(), || Ok(command.spawn()?));
        let child = child.with_context(|| format!("cannot start {}", binary.display()))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Wait until it says that it is ready; an error with its log if it ends before.
    pub fn wait_ready(&mut self) -> Result<Addresses> {
        let what = format!("node {} to be ready", self.name);
        let found = wait::until(&what, || match self.addresses_told() {
            Some(addresses) => Some(Ok(addresses)),
            None => self.exited().map(|status| {
                Err(anyhow!("node {} ended with {status}: {}", self.name, self.log()))
            }),
        });
        let addresses = found.with_context(|| self.log())??;
        self.addresses = Some(addresses);
        Ok(addresses)
    }

    /// The addresses, once the event that tells them is in the output.
    fn addresses_told(&self) -> Option<Addresses> {
        let events = fs::read_to_string(self.events_path()).ok()?;
        events.lines().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let address = |key: &str| event.get(key)?.as_str()?.parse().ok();
            Some(Addresses {
                gateway: address("listen")?,
                manage: address("manage")?,
                peer: address("peer")?,
            })
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; an error before it was ready.
    pub fn addresses(&self) -> Result<Addresses> {
        self.addresses.with_context(|| format!("node {} was never ready", self.name))
    }

    /// The control group that it runs in, if its processor time is bounded.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.launch.group.as_ref()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process id; an error once it has ended.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child();
        let child = child.as_ref().with_context(|| format!("node {} has ended", self.name))?;
        Ok(child.id())
    }

    /// Whether it runs, or is stopped by a signal.
    pub fn alive(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn exited(&self) -> Option<ExitStatus> {
        self.child().as_mut()?.try_wait().ok().flatten()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no such process")?, signal)
            .with_context(|| format!("cannot signal node {}", self.name))
    }

    /// Kill it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child().take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Stop it as a pause of the machine would.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Let it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ask it to end, as an operator or a supervisor would.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Wait until it has ended by itself.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        let what = format!("node {} to end", self.name);
        let status = wait::until(&what, || self.exited()).with_context(|| self.log())?;
        *self.child() = None;
        Ok(status)
    }

    /// Start it again with the same identity and data, once it has ended. It is not ready yet.
    pub fn restart(&mut self) -> Result<()> {
        if self.alive() {
            bail!("node {} still runs", self.name);
        }
        self.begin()
    }

    /// Let so many processes that only spin compete with it for its quota; without a quota that
    /// would slow everybody down, and is an error.
    pub fn disturb(&mut self, processes: usize) -> Result<()> {
        let group = self.group().context("a node without a quota cannot be disturbed alone")?;
        let words = group.wrapper();
        let (first, rest) = words.split_first().context("no words")?;
        for _ in 0..processes {
            let spin = ["sh", "-c", "while :; do :; done"];
            self.neighbours.push(Command::new(first).args(rest).args(spin).spawn()?);
        }
        Ok(())
    }

    /// End these processes.
    pub fn calm(&mut self) {
        for mut neighbour in self.neighbours.drain(..) {
            let _ = neighbour.kill();
            let _ = neighbour.wait();
        }
    }

    /// What `act` gives where this node is: its management listener is on loopback.
    pub fn near<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        segment::within(self.launch.place.as_ref(), act)
    }

    /// A GET of its gateway.
    pub fn get(&self, path: &str) -> Result<Response> {
        let gateway = self.addresses()?.gateway;
        self.near(|| http::get(gateway, path))
    }

    /// A POST to its gateway.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Response> {
        let gateway = self.addresses()?.gateway;
        self.near(|| http::post(gateway, path, "application/octet-stream", body))
    }

    /// A GET of its management API, as JSON.
    pub fn manage(&self, path: &str) -> Result<Value> {
        let manage = self.addresses()?.manage;
        let response = self.near(|| http::get(manage, path))?;
        if response.status != 200 {
            bail!("{path} of node {}: {} {}", self.name, response.status, response.text());
        }
        response.json()
    }

    /// A figure of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let manage = self.addresses()?.manage;
        let response = self.near(|| http::get(manage, "/metrics"))?;
        let text = response.text();
        let mut values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let unlabelled = rest.starts_with([' ', '{']);
            let value = rest.rsplit(' ').next().filter(|_| unlabelled)?;
            value.parse::<f64>().ok()
        });
        let first = values.next().with_context(|| format!("no {name} in:\n{text}"))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok((first + values.sum::<f64>()) as u64)
    }

    fn events_path(&self) -> PathBuf {
        self.folder.join(format!("{}.{}.out", self.name, self.starts))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.{}.log", self.name, self.starts))
    }

    /// What it has logged since its latest start.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Wait until it has logged a line with all these words, and give the line.
    pub fn wait_log(&self, words: &[&str]) -> Result<String> {
        let what = format!("a line with {words:?} in the log of node {}", self.name);
        let fits = |line: &&str| words.iter().all(|word| line.contains(word));
        let found = wait::until(&what, || self.log().lines().find(fits).map(str::to_owned));
        found.with_context(|| self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.calm();
    }
}

/// Kill it if it runs. What has been waited for has another's number by now, and is left alone.
fn end(child: &Mutex<Option<Child>>) {
    if let Some(mut child) = child.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}
