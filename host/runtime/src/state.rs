//! What belongs to one step beside its instance: bounds, clock, the way to the host, WASI if it is
//! asked for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use izna_proto::{MemoryAnswer, MemoryError, MemoryOperation};
use ring::rand::{SecureRandom, SystemRandom};
use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::izna::memory::store;
use crate::bounds::Bounds;
use crate::http::{self, Outbox};
use crate::log::{Budget, Output};
use crate::record::{self, Recorder};
use crate::{Host, Level, Stream, granted, log};

/// The most resources (streams, pollables) that a step may hold at once.
const RESOURCES_MAX: usize = 1000;
/// The most random bytes in one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The data of a step's store.
pub(crate) struct State {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) bounds: Bounds,
    pub(crate) output: Arc<Budget>,
    /// Of a direct function that can be suspended.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// Made by the first call that needs it: a component that uses no WASI does not pay for it.
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    outbox: Outbox,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        bounds: Bounds,
        output: Arc<Budget>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        Self { host, bounds, output, recorder, wasi: None }
    }

    /// Everything that a component may import.
    pub(crate) fn link(linker: &mut Linker<Self>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
        granted::link(linker)?;
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
        let options = LinkOptions::default();
        types::add_to_linker::<_, WasiHttp>(linker, &options.into(), WasiHttpView::http)?;
        linker.instance(http::OUTGOING)?.func_wrap("handle", send)
    }
}

type Sent = Result<Resource<HostFutureIncomingResponse>, types::ErrorCode>;

/// The function of `wasi:http/outgoing-handler`.
fn send(
    mut store: StoreContextMut<'_, State>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<types::RequestOptions>>),
) -> wasmtime::Result<(Sent,)> {
    match store.data_mut().send(request, options) {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

impl store::Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, store::Error> {
        answer(self.memory(key, MemoryOperation::Get).await).map(|value| value.map(Vec::from))
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), store::Error> {
        let operation = MemoryOperation::Put(Bytes::from(value));
        answer(self.memory(key, operation).await).map(|_| ())
    }

    async fn remove(&mut self, key: String) -> Result<(), store::Error> {
        answer(self.memory(key, MemoryOperation::Remove).await).map(|_| ())
    }
}

impl State {
    /// A line by `wasi:logging`.
    pub(crate) fn log(&mut self, level: Level, context: &str, message: &str) {
        if self.recorder.as_ref().is_some_and(|recorder| recorder.is_replaying()) {
            return;
        }
        log::tell(&*self.host, &self.output, level, context, message);
    }

    /// Ask cluster memory, or the record of having asked it.
    async fn memory(&mut self, key: String, operation: MemoryOperation) -> MemoryAnswer {
        let Some(recorder) = &self.recorder else {
            return self.host.memory(key, operation).await;
        };
        if let Some(answer) = recorder.remembered(&key, &operation) {
            return answer;
        }
        let digest = record::memory_digest(&key, &operation);
        let answer = self.host.memory(key, operation).await;
        recorder.remember(digest, &answer);
        answer
    }
}

fn answer(answer: MemoryAnswer) -> Result<Option<Bytes>, store::Error> {
    answer.map_err(|error| match error {
        MemoryError::TooLarge { max } => store::Error::TooLarge(max),
        MemoryError::Unavailable => store::Error::Unavailable,
    })
}

impl State {
    fn wasi(&mut self) -> &mut Wasi {
        let (host, output, recorder) = (&self.host, &self.output, &self.recorder);
        self.wasi.get_or_insert_with(|| Wasi::new(host, output, recorder.as_ref()))
    }

    /// Where the requests go that the guest makes.
    pub(crate) fn outbox(&mut self) -> Outbox {
        self.wasi().outbox.clone()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let wasi = self.wasi();
        WasiHttpCtxView { ctx: &mut wasi.http, table: &mut wasi.table, hooks: &mut wasi.outbox }
    }
}

impl State {
    /// What the library does, and word of the task that hands the response to the guest.
    fn send(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<types::RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        let memory_bytes = self.bounds.memory_bytes();
        let response = outgoing_handler::Host::handle(&mut self.http(), request, options)?;
        let wasi = self.wasi();
        if let HostFutureIncomingResponse::Pending(task) = wasi.table.get(&response)? {
            wasi.outbox.asked(task.abort_handle(), memory_bytes);
        }
        Ok(response)
    }
}

impl Wasi {
    /// WASI with the environment that the manifest grants and nothing else: no files, no network,
    /// no arguments. Clocks and random numbers are the node's, or recorded ones.
    fn new(
        host: &Arc<dyn Host>,
        budget: &Arc<Budget>,
        recorder: Option<&Arc<Recorder>>,
    ) -> Box<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let output = |stream| Output::new(host.clone(), stream, budget.clone(), recorder.cloned());
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(output(Stream::Stdout))
            .stderr(output(Stream::Stderr))
            .envs(&host.grants().env)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES_MAX);
        if let Some(recorder) = recorder {
            // The generator is a named one, not what the library prefers in its version: nodes of
            // several versions must go on with one another's numbers.
            let mut numbers = ChaCha20Rng::from_seed(recorder.seed(fresh_seed));
            builder.insecure_random_seed(u128::from(numbers.next_u64()));
            builder.insecure_random(ChaCha20Rng::from_rng(&mut numbers));
            builder.secure_random(numbers);
            builder.wall_clock(Clock(recorder.clone()));
            builder.monotonic_clock(Clock(recorder.clone()));
        }
        let (http, outbox) = (WasiHttpCtx::new(), Outbox::default());
        Box::new(Self { ctx: builder.build(), http, outbox, table })
    }
}

/// A seed that nobody can guess.
fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // It fails only before a machine has any entropy, which is long before it runs this.
    let _ = SystemRandom::new().fill(&mut seed);
    seed
}

/// Both clocks of a function whose times are recorded.
struct Clock(Arc<Recorder>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(record::TICK_NS)
    }

    fn now(&self) -> Duration {
        let (base_ns, since_ns) = self.0.time();
        Duration::from_nanos(base_ns.saturating_add(since_ns))
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        record::TICK_NS
    }

    fn now(&self) -> u64 {
        self.0.time().1
    }
}
