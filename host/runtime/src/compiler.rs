//! Compiling apart: a child process with limits of its own turns a component into machine code, so
//! that a component on which the compiler needs too much, or fails, costs the node nothing but a
//! child. It stands back behind steps, which get three times its share of a core that both want; at
//! the lowest priority a busy machine would starve it, and with it the deploy that waits for it.
//!
//! The child is this same program, started with other arguments; [`compile_apart`] is what it then
//! does. It reads the component from its standard input and writes the engine's identity, the
//! processor time and the code to its standard output. Both sides make the engine's settings by the
//! same function, so the identities agree unless the program was replaced on disk meanwhile.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{self, Resource, Rlimit, Signal};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::Engine;

use crate::Error;
use crate::cache::identity;
use crate::engine::compile_config;

/// Before the code: the engine's identity and the processor time in microseconds.
const HEADER_BYTES: usize = 32 + 8;
/// The most code that is taken from a child.
const CODE_BYTES_MAX: u64 = 1 << 30;
/// What a child may say of its failure, in bytes.
const SAID_BYTES_MAX: u64 = 4096;
/// A child that gets no processor is ended after so many times the time that it may use.
const WAIT_FACTOR: u32 = 10;

/// The program that compiles, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// What makes it one that compiles; those of its [`Allowance`] follow.
    pub arguments: Vec<OsString>,
    /// What it may use.
    pub allowance: Allowance,
}

/// What compiling one component may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The most memory, in bytes.
    pub memory_bytes_max: u64,
    /// The most processor time, in seconds.
    pub cpu_seconds_max: u32,
    /// How far it stands back behind everything else: 0 to 19, as of `nice`.
    pub nice: u8,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { memory_bytes_max: 2 << 30, cpu_seconds_max: 120, nice: 5 }
    }
}

impl Allowance {
    /// What tells the child.
    fn arguments(&self) -> [String; 3] {
        let Self { memory_bytes_max, cpu_seconds_max, nice } = self;
        [memory_bytes_max.to_string(), cpu_seconds_max.to_string(), nice.to_string()]
    }

    fn over_memory(&self) -> Error {
        let mib = self.memory_bytes_max >> 20;
        let reason = format!("it exceeded the memory limit for compiling of {mib} MiB");
        Error::Compile { reason }
    }

    fn over_time(&self) -> Error {
        let seconds = self.cpu_seconds_max;
        let reason = format!("it exceeded the CPU time limit for compiling of {seconds} s");
        Error::Compile { reason }
    }

    /// How long a child is waited for: it may have to wait for a processor.
    fn wait_max(&self) -> Duration {
        Duration::from_secs(u64::from(self.cpu_seconds_max)) * WAIT_FACTOR
    }
}

/// Machine code, and the processor time that making it took.
pub(crate) struct Code {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cost: Duration,
}

impl Compiler {
    /// Compile in a child; waits for it.
    pub(crate) fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Code, Error> {
        let failed = |operation: &str, source: &dyn fmt::Display| {
            let program = self.program.display();
            let reason = format!("cannot {operation} the compiler {program}: {source}");
            Error::Compile { reason }
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(self.allowance.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| failed("start", &error))?;
        let Talk { status, out, said } =
            self.talk(child, component).map_err(|error| failed("communicate with", &error))?;
        if !status.success() {
            return Err(self.explain(status, &said));
        }
        let Some((header, code)) = out.split_at_checked(HEADER_BYTES) else {
            return Err(failed("read the output of", &"it is too short"));
        };
        let (its, cpu) = header.split_at_checked(32).unwrap_or_default();
        if its != identity(engine) {
            let why = "its version differs from the running node's; restart the node";
            return Err(failed("use the code of", &why));
        }
        let micros = cpu.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Ok(Code { bytes: code.to_vec(), cost: Duration::from_micros(micros) })
    }

    /// Give it the component and take what it says, until its end.
    fn talk(&self, mut child: Child, component: &[u8]) -> io::Result<Talk> {
        let none = || io::Error::other("it has no pipes");
        let mut stdin = child.stdin.take().ok_or_else(none)?;
        let stdout = child.stdout.take().ok_or_else(none)?;
        let stderr = child.stderr.take().ok_or_else(none)?;
        let wait_max = self.allowance.wait_max();
        let (sender, ended) = mpsc::channel();
        let talked = thread::scope(|scope| {
            // A child that fails early reads no more; what matters then is what it says.
            scope.spawn(move || drop(stdin.write_all(component)));
            let said = scope.spawn(move || read(stderr, SAID_BYTES_MAX));
            let out = scope.spawn(move || {
                let out = read(stdout, CODE_BYTES_MAX);
                let _ = sender.send(());
                out
            });
            let in_time = ended.recv_timeout(wait_max).is_ok();
            if !in_time {
                child.kill()?;
            }
            let status = child.wait()?;
            let joined = |thread: thread::ScopedJoinHandle<'_, Vec<u8>>| {
                thread.join().map_err(|_| io::Error::other("a thread failed"))
            };
            Ok((status, joined(out)?, joined(said)?))
        });
        talked.map(|(status, out, said)| {
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            Talk { status, out, said }
        })
    }

    /// Why a child failed.
    fn explain(&self, status: ExitStatus, said: &str) -> Error {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal();
        let is = |named: Signal| signal == Some(named.as_raw());
        if is(Signal::XCPU) {
            return self.allowance.over_time();
        }
        if is(Signal::KILL) {
            // By the watch above, or by the system because memory is short everywhere.
            let seconds = self.allowance.wait_max().as_secs();
            let reason = format!(
                "it took more than {seconds} s, or the system killed it because memory is short"
            );
            return Error::Compile { reason };
        }
        let starved = ["memory allocation of", "Cannot allocate memory", "out of memory"];
        if is(Signal::ABORT) || starved.iter().any(|sign| said.contains(sign)) {
            return self.allowance.over_memory();
        }
        let reason = match said.lines().last() {
            Some(said) if signal.is_none() => said.to_owned(),
            _ => format!("the compiler failed ({status}): {said}"),
        };
        Error::Compile { reason }
    }
}

/// What a child has said.
struct Talk {
    status: ExitStatus,
    out: Vec<u8>,
    said: String,
}

fn read(from: impl Read, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.take(bytes_max).read_to_end(&mut bytes);
    bytes
}

/// What a program does that was started to compile: take limits, read a component, write its code.
///
/// # Errors
/// When the limits cannot be had, or the component does not compile: one line for the parent.
pub fn compile_apart(allowance: &Allowance) -> Result<(), String> {
    limit(allowance).map_err(|error| format!("cannot limit the compiler: {error}"))?;
    let engine = Engine::new(&compile_config()).map_err(|error| format!("{error:#}"))?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).map_err(|error| error.to_string())?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::try_from(used).unwrap_or_default();
    let used = u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
    let mut out = io::stdout().lock();
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|error| error.to_string());
    write(&identity(&engine))?;
    write(&used.to_be_bytes())?;
    write(&code)?;
    out.flush().map_err(|error| error.to_string())
}

fn limit(allowance: &Allowance) -> io::Result<()> {
    let at_most = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    let seconds = u64::from(allowance.cpu_seconds_max);
    // Data, and not address space: reserving that costs nothing.
    process::setrlimit(Resource::Data, at_most(allowance.memory_bytes_max))?;
    let time = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
    process::setrlimit(Resource::Cpu, time)?;
    process::setrlimit(Resource::Core, at_most(0))?;
    process::nice(i32::from(allowance.nice))?;
    // A node that dies takes its compiler along.
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
