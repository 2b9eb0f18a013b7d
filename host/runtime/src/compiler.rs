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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{self, Resource, Rlimit, Signal};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::Engine;

use crate::Runtime;
use crate::admit::config_of;
use crate::cache::identity;
use crate::engine::compile_config;

/// Before the code: the engine's identity and the processor time in microseconds.
const HEADER_BYTES: usize = 32 + 8;
/// The most code that is taken from a child.
const CODE_BYTES_MAX: u64 = 1 << 30;
/// What a child may say of its failure, in bytes.
const SAID_BYTES_MAX: u64 = 4096;
/// How often a waiting thread looks whether the program is told to stop.
const LOOK: Duration = Duration::from_millis(100);
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
    /// Ends what it is doing.
    pub ending: Ending,
}

/// Ends the children of a [`Compiler`], for a program that is told to stop: nobody waits for them.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// End those that run, and those that would be started.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Ending {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Ending {}

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

    fn over_memory(&self, work: &str) -> Refused {
        let mib = self.memory_bytes_max >> 20;
        Refused::lasting(format!("it exceeded the memory limit for {work} of {mib} MiB"))
    }

    fn over_time(&self, work: &str) -> Refused {
        let seconds = self.cpu_seconds_max;
        Refused::lasting(format!("it exceeded the CPU time limit for {work} of {seconds} s"))
    }

    /// How long a child is waited for: it may have to wait for a processor.
    fn wait_max(&self) -> Duration {
        Duration::from_secs(u64::from(self.cpu_seconds_max)) * WAIT_FACTOR
    }
}

/// What making a component of bytes and checking it may use: a large interpreter needs a second and
/// 200 MiB.
const ADMISSION: Allowance = Allowance { memory_bytes_max: 1 << 30, cpu_seconds_max: 10, nice: 5 };

/// Why a child did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    /// It would be the same again.
    pub(crate) is_lasting: bool,
}

impl Refused {
    fn lasting(reason: String) -> Self {
        Self { reason, is_lasting: true }
    }

    fn once(reason: String) -> Self {
        Self { reason, is_lasting: false }
    }
}

/// Machine code, and the processor time that making it took.
pub(crate) struct Code {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cost: Duration,
}

impl Compiler {
    /// Compile in a child; waits for it.
    pub(crate) fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Code, Refused> {
        let out = self.run("compiling", &self.allowance, &[], component)?;
        let failed = |operation, why: &str| self.failed(operation, &why);
        let Some((header, code)) = out.split_at_checked(HEADER_BYTES) else {
            return Err(failed("read the output of", "it is too short"));
        };
        let (its, cpu) = header.split_at_checked(32).unwrap_or_default();
        if its != identity(engine) {
            let why = "its version differs from the running node's; restart the node";
            return Err(failed("use the code of", why));
        }
        let micros = cpu.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Ok(Code { bytes: code.to_vec(), cost: Duration::from_micros(micros) })
    }

    /// Make a component of `bytes` and check it in a child; waits for it.
    pub(crate) fn admit(&self, bytes: &[u8], limits: &[u64]) -> Result<Vec<u8>, Refused> {
        let limits: Vec<String> = limits.iter().map(u64::to_string).collect();
        self.run("checking", &ADMISSION, &limits, bytes)
    }

    fn run(
        &self,
        work: &str,
        allowance: &Allowance,
        more: &[String],
        input: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(allowance.arguments()).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| self.failed("start", &error))?;
        let Talk { status, out, said } = talk(child, input, allowance.wait_max(), &self.ending)
            .map_err(|error| self.failed("communicate with", &error))?;
        if status.success() { Ok(out) } else { Err(explain(work, allowance, status, &said)) }
    }

    fn failed(&self, operation: &str, source: &dyn fmt::Display) -> Refused {
        let program = self.program.display();
        Refused::once(format!("cannot {operation} the compiler {program}: {source}"))
    }
}

/// Give a child its input and take what it says, until its end.
fn talk(mut child: Child, input: &[u8], wait_max: Duration, ending: &Ending) -> io::Result<Talk> {
    let none = || io::Error::other("it has no pipes");
    let mut stdin = child.stdin.take().ok_or_else(none)?;
    let stdout = child.stdout.take().ok_or_else(none)?;
    let stderr = child.stderr.take().ok_or_else(none)?;
    let (sender, ended) = mpsc::channel();
    let talked = thread::scope(|scope| {
        // A child that fails early reads no more; what matters then is what it says.
        scope.spawn(move || drop(stdin.write_all(input)));
        let said = scope.spawn(move || read(stderr, SAID_BYTES_MAX));
        let out = scope.spawn(move || {
            let out = read(stdout, CODE_BYTES_MAX);
            let _ = sender.send(());
            out
        });
        let began = Instant::now();
        let mut in_time = false;
        while !in_time && !ending.is_now() && began.elapsed() < wait_max {
            in_time = ended.recv_timeout(LOOK).is_ok();
        }
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
fn explain(work: &str, allowance: &Allowance, status: ExitStatus, said: &str) -> Refused {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal();
    let is = |named: Signal| signal == Some(named.as_raw());
    if is(Signal::XCPU) {
        return allowance.over_time(work);
    }
    if is(Signal::KILL) {
        // By the watch above, or by the system because memory is short everywhere.
        let seconds = allowance.wait_max().as_secs();
        return Refused::once(format!(
            "it took more than {seconds} s, or the system killed it because memory is short"
        ));
    }
    let starved = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    if is(Signal::ABORT) || starved.iter().any(|sign| said.contains(sign)) {
        return allowance.over_memory(work);
    }
    match said.lines().last() {
        Some(said) if signal.is_none() => Refused::once(said.to_owned()),
        _ => Refused::lasting(format!("{work} failed ({status}): {said}")),
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
/// When the limits cannot be set, or the component does not compile: one line for the parent.
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

/// What a program does that was started to make a component of bytes and check it: take limits, read
/// the bytes, write the component.
///
/// # Errors
/// When the limits cannot be set, or what was read is not admitted: one line for the parent.
pub fn admit_apart(allowance: &Allowance, limits: [u64; 7]) -> Result<(), String> {
    limit(allowance).map_err(|error| format!("cannot set limits: {error}"))?;
    let config = config_of(limits);
    let runtime = Runtime::for_admission(config).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let admitted = runtime.admit_here(&bytes).map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    out.write_all(&admitted.component).and_then(|()| out.flush()).map_err(|error| error.to_string())
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
