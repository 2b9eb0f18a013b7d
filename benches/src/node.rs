//! One `izna node` as a process of the operating system: begun, watched, hurt, ended.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{self, Response};
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
}

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    folder: PathBuf,
    launch: Launch,
    child: Option<Child>,
    starts: usize,
    addresses: Option<Addresses>,
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
        let mut node = Self { name, folder, launch, child: None, starts: 0, addresses: None };
        node.begin()?;
        Ok(node)
    }

    fn begin(&mut self) -> Result<()> {
        self.starts += 1;
        self.addresses = None;
        let binary = shipped::binary()?;
        let mut words = self.launch.wrapper.iter().map(String::as_str);
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
        let child = command
            .args(&self.launch.arguments)
            .envs(self.launch.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(output(self.events_path())?)
            .stderr(output(self.log_path())?)
            .spawn();
        self.child = Some(child.with_context(|| format!("cannot start {}", binary.display()))?);
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

    /// Its process id; an error once it has ended.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().with_context(|| format!("node {} has ended", self.name))?;
        Ok(child.id())
    }

    /// Whether it runs, or is stopped by a signal.
    pub fn alive(&mut self) -> bool {
        self.child.is_some() && self.exited().is_none()
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no such process")?, signal)
            .with_context(|| format!("cannot signal node {}", self.name))
    }

    /// Kill it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child.take() {
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
        self.child = None;
        Ok(status)
    }

    /// Start it again with the same identity and data, once it has ended. It is not ready yet.
    pub fn restart(&mut self) -> Result<()> {
        if self.alive() {
            bail!("node {} still runs", self.name);
        }
        self.begin()
    }

    /// A GET of its gateway.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(self.addresses()?.gateway, path)
    }

    /// A POST to its gateway.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Response> {
        http::post(self.addresses()?.gateway, path, "application/octet-stream", body)
    }

    /// A GET of its management API, as JSON.
    pub fn manage(&self, path: &str) -> Result<Value> {
        let response = http::get(self.addresses()?.manage, path)?;
        if response.status != 200 {
            bail!("{path} of node {}: {} {}", self.name, response.status, response.text());
        }
        response.json()
    }

    /// A figure of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let response = http::get(self.addresses()?.manage, "/metrics")?;
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
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
