//! The engine and its settings: what a runtime may use, and how it gets from bytes to something
//! that can run.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use izna_proto::Digest;
use ring::digest;
use wasmtime::component::{Component as Compiled, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::admit::{Admissions, Work};
use crate::bindings::ExplicitPre;
use crate::cache::{Cache, CacheCounts, identity};
use crate::compiler::{Code, Compiler};
use crate::component::{Form, Uses};
use crate::direct::Direct;
use crate::state::State;
use crate::ticker::Ticker;
use crate::warm::{Limits, Warm, WarmCounts};
use crate::{Component, Error, granted, offer};

/// The address space that a memory has, so that guests need no bounds checks, and the unmapped
/// space after it.
const RESERVATION_BYTES: u64 = 4 << 30;
const GUARD_BYTES: u64 = 32 << 20;
/// More steps would not fit into the 47 bits of a process's address space.
const STEPS_MAX: usize = 5000;
/// The memories and tables that there are for each live step: most components have one memory and
/// two tables.
const STEP_MEMORIES: u32 = 2;
const STEP_TABLES: u32 = 8;
/// The core instances that wasmtime adds to those of a component in several parts, for the calls
/// between them: as many again.
const ADAPTERS: u32 = 2;
/// What a freed slot keeps of its memory, so that the next step finds it without a page fault.
const KEPT_BYTES: usize = 256 << 10;
/// How many freed slots keep that.
const WARM_SLOTS_MAX: u32 = 100;
/// The share of the machine's memory, in thousandths, above which nothing is kept as a mere hint.
const TIGHT_PERMILLE: u16 = 800;
/// The host's own part of a step's stack.
const HOST_STACK_BYTES: usize = 1536 << 10;

/// What a [`Runtime`] may use.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most steps that are live at once, waiting ones included: 1 to 5000. Each reserves 8 GiB
    /// of address space, without memory behind it.
    pub steps_max: usize,
    /// No more live steps than this, whatever `steps_max` is; then what they need must be there.
    /// Without it there are fewer where the system does not give that much address space.
    pub live_steps_max: Option<usize>,
    /// What a component may consist of.
    pub parts: PartsMax,
    /// The largest memory limit that a component may ask for, in bytes: 64 KiB to 4 GiB.
    pub memory_bytes_max: u64,
    /// The largest component, in bytes.
    pub component_bytes_max: u64,
    /// The largest function of a component, in bytes: the time to compile one grows faster than its
    /// size.
    pub function_bytes_max: u64,
    /// The deepest call stack of a guest, in bytes: 64 KiB to 8 MiB.
    pub stack_bytes_max: usize,
    /// How long a step runs before others get a turn, in milliseconds: 1 to 100.
    pub tick_ms: u32,
    /// A folder of this node's own for compiled components; none: compile again after a restart.
    pub cache: Option<PathBuf>,
    /// What compiles apart from this process, within limits; none: this process compiles. Without
    /// a cache it is this process in any case.
    pub compiler: Option<Compiler>,
    /// The most bytes in that folder; the oldest go first.
    pub cache_bytes_max: u64,
    /// The most suspended functions of direct components that are kept as they stand. They are live
    /// steps too, but make room where room is short.
    pub warm_max: usize,
    /// The most linear memory of all of them, in bytes.
    pub warm_bytes_max: u64,
    /// How long one is kept, in milliseconds.
    pub warm_ms_max: u32,
}

/// What one instance of a component may consist of; what has more is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartsMax {
    /// Core instances: of interpreters for other languages about ten, of programs that load native
    /// libraries one for each.
    pub instances_max: u32,
    /// Memories; each live one reserves 4 GiB of address space.
    pub memories_max: u32,
    /// Tables.
    pub tables_max: u32,
    /// The elements of one table.
    pub table_elements_max: u32,
}

impl Default for PartsMax {
    fn default() -> Self {
        Self { instances_max: 200, memories_max: 16, tables_max: 64, table_elements_max: 100_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            live_steps_max: None,
            parts: PartsMax::default(),
            steps_max: 1000,
            memory_bytes_max: 1 << 30,
            component_bytes_max: 64 << 20,
            function_bytes_max: 1 << 20,
            stack_bytes_max: 512 << 10,
            tick_ms: 1,
            cache: None,
            compiler: None,
            cache_bytes_max: 2 << 30,
            warm_max: 256,
            warm_bytes_max: 256 << 20,
            warm_ms_max: 10_000,
        }
    }
}

/// An engine: version, settings, processor. Code compiled for one runs on equal ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineId(pub [u8; 32]);

/// Compiles, links and runs components; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    engine: Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
    ticker: Ticker,
    warm: Warm,
    admissions: Admissions,
}

impl Runtime {
    /// A runtime with its clock thread. Several in one process share nothing but the address space.
    ///
    /// Where the system does not give the address space that `steps_max` takes, there are fewer
    /// live steps, which is logged; not where `live_steps_max` says how many there must be.
    pub fn new(mut config: Config) -> Result<Self, Error> {
        check(&config)?;
        if let Some(max) = config.live_steps_max {
            config.steps_max = config.steps_max.min(max);
        }
        let wanted = config.steps_max;
        let engine = loop {
            let error = match Engine::new(&engine_config(&config)) {
                Ok(engine) => break engine,
                Err(error) => error,
            };
            if config.live_steps_max.is_some() || config.steps_max == 1 {
                return Err(unreserved(&config, &error));
            }
            config.steps_max /= 2;
        };
        config.parts.memories_max = config.parts.memories_max.min(memories(&config));
        if config.steps_max < wanted {
            let (steps_max, gib) = (config.steps_max, reserved_gib(&config));
            tracing::warn!(
                steps_max,
                wanted,
                gib,
                "the system limits address space: fewer live steps; see `ulimit -v`"
            );
        }
        Self::with(config, engine)
    }

    /// A runtime that admits components as one of [`Runtime::new`] does, but reserves no address
    /// space for live steps.
    pub fn for_admission(config: Config) -> Result<Self, Error> {
        check(&config)?;
        let engine = Engine::new(&compile_config()).map_err(|error| unreserved(&config, &error))?;
        Self::with(config, engine)
    }

    fn with(config: Config, engine: Engine) -> Result<Self, Error> {
        let mut linker = Linker::new(&engine);
        State::link(&mut linker).map_err(|error| Error::Link { reason: format!("{error:#}") })?;
        let cache = match &config.cache {
            Some(folder) => Some(Cache::open(folder, config.cache_bytes_max)?),
            None => None,
        };
        let ticker = Ticker::start(&engine, Duration::from_millis(config.tick_ms.into()))
            .map_err(|source| Error::Thread { name: "izna-ticker".into(), source })?;
        let warm = Warm::new(Limits {
            count_max: config.warm_max,
            bytes_max: config.warm_bytes_max,
            age_max: Duration::from_millis(config.warm_ms_max.into()),
        });
        let admissions = Admissions::default();
        let inner = Inner { config, engine, linker, cache, ticker, warm, admissions };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What it may use.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The component whose bytes are `component` and whose SHA-256 is `digest`, ready to run: from
    /// the cache, else compiled. Blocking: seconds for a large one, on all cores.
    ///
    /// The bytes are those that [`admit`](Self::admit) gave, on this node or another. They are
    /// checked again as far as safety goes: wrong ones are an error.
    pub fn load(&self, digest: Digest, component: &[u8]) -> Result<Component, Error> {
        let (compiled, cost) = self.compiled(digest, component)?;
        let unlinked = |error: wasmtime::Error| Error::Link { reason: format!("{error:#}") };
        let ty = compiled.component_type();
        let imports =
            |prefix: &str| ty.imports(&self.inner.engine).any(|(name, _)| name.starts_with(prefix));
        // What the manifest grants beside WASI needs nothing of it.
        let is_wasi = |name: &str| name.starts_with("wasi:") && !granted::has(name);
        let wasi = ty.imports(&self.inner.engine).any(|(name, _)| is_wasi(name));
        let uses = Uses { wasi, requests: imports("wasi:http/outgoing-handler") };
        let form = if self.is_explicit(&compiled) {
            let pre = self.inner.linker.instantiate_pre(&compiled).map_err(unlinked)?;
            Form::Explicit(ExplicitPre::new(pre).map_err(unlinked)?)
        } else {
            let (engine, linker) = (&self.inner.engine, &self.inner.linker);
            Form::Direct(Direct::new(engine, &compiled, linker).map_err(unlinked)?)
        };
        Ok(Component::new(self.clone(), digest, form, uses).that_cost(cost))
    }

    fn is_explicit(&self, compiled: &Compiled) -> bool {
        let ty = compiled.component_type();
        let mut exports = ty.exports(&self.inner.engine);
        exports.any(|(name, _)| offer::compatible(name, offer::HANDLER))
    }

    /// How often the cache had what was asked for; zeros without a cache.
    pub fn cache_counts(&self) -> CacheCounts {
        self.inner.cache.as_ref().map(Cache::counts).unwrap_or_default()
    }

    /// Drop suspended functions that have been kept for too long; all of them where more than
    /// four fifths of the machine's memory is in use. Worth calling a few times a second: nothing
    /// else looks at their age on an idle node.
    pub fn sweep(&self, memory_permille: u16) {
        self.inner.warm.sweep(memory_permille > TIGHT_PERMILLE);
    }

    /// Drop all suspended functions: they keep this alive, and the hosts of their steps.
    pub fn clear(&self) {
        self.inner.warm.sweep(true);
    }

    /// What has become of suspended functions.
    pub fn warm_counts(&self) -> WarmCounts {
        self.inner.warm.counts()
    }

    pub(crate) fn warm(&self) -> &Warm {
        &self.inner.warm
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.inner.linker
    }

    pub(crate) fn admissions(&self) -> &Admissions {
        &self.inner.admissions
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.inner.ticker
    }

    /// Everything that compiled code depends on: version, settings, processor.
    pub fn engine_id(&self) -> EngineId {
        EngineId(identity(&self.inner.engine))
    }

    /// Whether the cache has code of a component, of which is not known yet whether it is sound.
    pub fn has_code(&self, digest: Digest) -> bool {
        self.inner.cache.as_ref().is_some_and(|cache| cache.has(&self.inner.engine, digest))
    }

    /// The code of a component as the cache has it, checked; for a node with the same engine.
    pub fn code(&self, digest: Digest) -> Option<Vec<u8>> {
        self.inner.cache.as_ref()?.code(&self.inner.engine, digest)
    }

    /// Take the code of a component that another node with the same engine has made; false if
    /// there is no cache, or what is in it cannot be loaded.
    ///
    /// The caller must trust that node as itself: nobody can check machine code. It is kept, and
    /// run, as if it had been compiled here.
    pub fn trust_code(&self, digest: Digest, code: &[u8]) -> bool {
        let cache = self.inner.cache.as_ref();
        cache.is_some_and(|cache| cache.put(&self.inner.engine, digest, code).is_some())
    }

    /// Compile in a child; what went over a limit once is not tried again.
    fn compile_apart(
        &self,
        compiler: &Compiler,
        digest: Digest,
        component: &[u8],
    ) -> Result<Code, Error> {
        if let Some(reason) = self.admissions().failure(Work::Compile, digest) {
            return Err(Error::Compile { reason });
        }
        compiler.compile(self.engine(), component).map_err(|refused| {
            self.admissions().note(Work::Compile, digest, &refused);
            Error::Compile { reason: refused.reason }
        })
    }

    /// The compiled component, and what compiling took if it was not in the cache.
    fn compiled(
        &self,
        digest: Digest,
        component: &[u8],
    ) -> Result<(Compiled, Option<Duration>), Error> {
        let engine = &self.inner.engine;
        if let Some(compiled) = self.inner.cache.as_ref().and_then(|c| c.take(engine, digest)) {
            return Ok((compiled, None));
        }
        let found = digest_of(component);
        if found != digest {
            return Err(Error::Digest { found, wanted: digest });
        }
        let uncompiled = |error: wasmtime::Error| Error::Compile { reason: format!("{error:#}") };
        let began = Instant::now();
        let here = || Compiled::from_binary(engine, component).map_err(uncompiled);
        let Some(cache) = &self.inner.cache else {
            return Ok((here()?, Some(began.elapsed())));
        };
        let Code { bytes, cost } = match &self.inner.config.compiler {
            Some(compiler) => self.compile_apart(compiler, digest, component)?,
            None => {
                let bytes = engine.precompile_component(component).map_err(uncompiled)?;
                Code { bytes, cost: began.elapsed() }
            }
        };
        match cache.put(engine, digest, &bytes) {
            Some(compiled) => Ok((compiled, Some(cost))),
            // The cache could not be written, which it has told: then without it.
            None => Ok((here()?, Some(began.elapsed()))),
        }
    }
}

/// The SHA-256 of a component's bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let hash = digest::digest(&digest::SHA256, bytes);
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.as_ref());
    Digest(digest)
}

fn check(config: &Config) -> Result<(), Error> {
    let steps = config.steps_max as u64;
    let stack = config.stack_bytes_max as u64;
    let parts = &config.parts;
    let within = |name, value: u32, max: u32, allowed| {
        (name, u64::from(value), (1..=max).contains(&value), allowed)
    };
    let rules: [(&'static str, u64, bool, &'static str); 9] = [
        within("instances_max", parts.instances_max, 10_000, "1 to 10000"),
        within("memories_max", parts.memories_max, 100, "1 to 100"),
        within("tables_max", parts.tables_max, 1000, "1 to 1000"),
        within("table_elements_max", parts.table_elements_max, 10_000_000, "1 to 10000000"),
        ("steps_max", steps, (1..=STEPS_MAX as u64).contains(&steps), "1 to 5000"),
        (
            "memory_bytes_max",
            config.memory_bytes_max,
            (64 << 10..=4 << 30).contains(&config.memory_bytes_max),
            "65536 (64 KiB) to 4294967296 (4 GiB)",
        ),
        (
            "stack_bytes_max",
            stack,
            (64 << 10..=8 << 20).contains(&stack),
            "65536 (64 KiB) to 8388608 (8 MiB)",
        ),
        ("tick_ms", config.tick_ms.into(), (1..=100).contains(&config.tick_ms), "1 to 100"),
        (
            "component_bytes_max",
            config.component_bytes_max,
            (1..=1 << 30).contains(&config.component_bytes_max),
            "1 to 1073741824 (1 GiB)",
        ),
    ];
    match rules.into_iter().find(|(_, _, holds, _)| !holds) {
        Some((setting, value, _, allowed)) => Err(Error::Config { setting, value, allowed }),
        None => Ok(()),
    }
}

/// What compiled code depends on: equal here and in the child that compiles.
pub(crate) fn compile_config() -> wasmtime::Config {
    let mut engine = wasmtime::Config::new();
    engine.wasm_component_model(true).wasm_memory64(false);
    engine.epoch_interruption(true);
    engine.memory_init_cow(true);
    engine.memory_reservation(RESERVATION_BYTES).memory_guard_size(GUARD_BYTES);
    // Names of functions are all that messages tell; offsets would make the code a tenth larger.
    engine.generate_address_map(false);
    engine
}

fn engine_config(config: &Config) -> wasmtime::Config {
    let mut engine = compile_config();
    engine.max_wasm_stack(config.stack_bytes_max);
    engine.async_stack_size(config.stack_bytes_max + HOST_STACK_BYTES);
    engine.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    engine
}

/// How many memories there are.
fn memories(config: &Config) -> u32 {
    let steps = u32::try_from(config.steps_max).unwrap_or(u32::MAX);
    // Of few steps each could need all that a component may have.
    let all = steps.saturating_mul(STEP_MEMORIES).max(config.parts.memories_max);
    if config.steps_max == 1 { 1 } else { all }
}

/// The address space that memories take, which is nearly all.
fn reserved_gib(config: &Config) -> u64 {
    (u64::from(memories(config)) * (RESERVATION_BYTES + GUARD_BYTES)) >> 30
}

fn unreserved(config: &Config, error: &wasmtime::Error) -> Error {
    let (steps_max, gib) = (config.steps_max, reserved_gib(config));
    Error::Engine { steps_max, gib, reason: format!("{error:#}") }
}

fn pool(config: &Config) -> PoolingAllocationConfig {
    let steps = u32::try_from(config.steps_max).unwrap_or(u32::MAX);
    let PartsMax { instances_max, memories_max, tables_max, table_elements_max } = config.parts;
    let (memories, tables) = (memories(config), steps.saturating_mul(STEP_TABLES).max(tables_max));
    let instances_max = instances_max.saturating_mul(ADAPTERS);
    let memories_max = memories_max.min(memories);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(steps)
        .total_stacks(steps)
        .total_core_instances(steps.saturating_mul(instances_max))
        .total_memories(memories)
        .total_tables(tables)
        .max_core_instances_per_component(instances_max)
        .max_memories_per_component(memories_max)
        .max_tables_per_component(tables_max)
        .max_memories_per_module(memories_max)
        .max_tables_per_module(tables_max)
        .table_elements(table_elements_max as usize)
        .max_memory_size(usize::try_from(config.memory_bytes_max).unwrap_or(usize::MAX));
    // Without these a step costs twice as much, and with several threads many times that.
    pool.linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .async_stack_keep_resident(KEPT_BYTES)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(WARM_SLOTS_MAX);
    pool
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a setting that cannot work would be found out by the first request.
    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = |config: Config| Runtime::new(config).unwrap_err().to_string();
        assert_eq!(
            refused(Config { steps_max: 0, ..Config::default() }),
            "invalid runtime setting `steps_max` 0: expected 1 to 5000"
        );
        assert_eq!(
            refused(Config { steps_max: 5001, ..Config::default() }),
            "invalid runtime setting `steps_max` 5001: expected 1 to 5000"
        );
        assert_eq!(
            refused(Config { tick_ms: 0, ..Config::default() }),
            "invalid runtime setting `tick_ms` 0: expected 1 to 100"
        );
        assert_eq!(
            refused(Config { memory_bytes_max: 5 << 30, ..Config::default() }),
            "invalid runtime setting `memory_bytes_max` 5368709120: expected 65536 (64 KiB) to \
             4294967296 (4 GiB)"
        );
    }

    /// If this failed, a node with the most steps that its settings allow would not start.
    #[test]
    fn the_largest_pool_fits_into_the_address_space() {
        Runtime::new(Config { steps_max: STEPS_MAX, ..Config::default() }).unwrap();
    }
}
