//! What belongs to one step beside its instance: bounds, clock, the way to the host, WASI if it is
//! asked for.

use std::sync::Arc;

use bytes::Bytes;
use izna_proto::{MemoryAnswer, MemoryError, MemoryOperation};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings::izna::memory::store;
use crate::bounds::Bounds;
use crate::log::{Budget, Output};
use crate::{Host, Stream};

/// The most resources (streams, pollables) that a step may hold at once.
const RESOURCES_MAX: usize = 1000;
/// The most random bytes in one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The data of a step's store.
pub(crate) struct State {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) bounds: Bounds,
    pub(crate) output: Arc<Budget>,
    /// Made by the first call that needs it: a component that uses no WASI does not pay for it.
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(host: Arc<dyn Host>, bounds: Bounds, output: Arc<Budget>) -> Self {
        Self { host, bounds, output, wasi: None }
    }

    /// Everything that a component may import.
    pub(crate) fn link(linker: &mut Linker<Self>) -> wasmtime::Result<()> {
        store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
        wasmtime_wasi::p2::add_to_linker_async(linker)
    }
}

impl store::Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, store::Error> {
        answer(self.host.memory(key, MemoryOperation::Get).await).map(|value| value.map(Vec::from))
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), store::Error> {
        let operation = MemoryOperation::Put(Bytes::from(value));
        answer(self.host.memory(key, operation).await).map(|_| ())
    }

    async fn remove(&mut self, key: String) -> Result<(), store::Error> {
        answer(self.host.memory(key, MemoryOperation::Remove).await).map(|_| ())
    }
}

fn answer(answer: MemoryAnswer) -> Result<Option<Bytes>, store::Error> {
    answer.map_err(|error| match error {
        MemoryError::TooLarge { max } => store::Error::TooLarge(max),
        MemoryError::Unavailable => store::Error::Unavailable,
    })
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| Wasi::new(&self.host, &self.output));
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

impl Wasi {
    /// WASI with nothing in it: no files, no network, no environment, no arguments. Clocks and
    /// random numbers are the node's.
    fn new(host: &Arc<dyn Host>, budget: &Arc<Budget>) -> Box<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ctx = WasiCtxBuilder::new()
            .stdout(Output::new(host.clone(), Stream::Stdout, budget.clone()))
            .stderr(Output::new(host.clone(), Stream::Stderr, budget.clone()))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(RANDOM_BYTES_MAX)
            .build();
        Box::new(Self { ctx, table })
    }
}
