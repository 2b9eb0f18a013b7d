//! Direct components: ordinary exports that are called with CBOR, and imports that are calls of
//! other components of the app. Not here: how a value becomes CBOR, and what a suspended function
//! is.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use izna_proto::{Call, Failure, FailureKind, typed};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{
    Component as Compiled, ComponentExportIndex, InstancePre, Linker, LinkerInstance,
};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::component::Scene;
use crate::http::{self, Outgoing};
use crate::names::{self, FunctionName};
use crate::offer;
use crate::record::Recorder;
use crate::returns::Returns;
use crate::state::State;
use crate::value::{Arguments, FlatCounts, Given, Returned, Taken};

/// A direct component, linked.
pub(crate) struct Direct {
    pre: InstancePre<State>,
    exports: Vec<Export>,
    /// The same as an HTTP server, if it is one.
    http: Option<ProxyPre<State>>,
    /// Whether it makes requests by HTTP.
    requests: bool,
    /// Whether a function of it can call, and so be suspended: then what reaches it is recorded.
    pub(crate) recorded: bool,
}

/// A function that can be called.
struct Export {
    /// Interface and function, as the component names them.
    name: Arc<str>,
    index: ComponentExportIndex,
    params: Arc<[String]>,
    returns: Returns,
}

/// A function of another component, as an import of this one.
#[derive(Debug)]
pub(crate) struct Link {
    /// The imported interface: the name of the link.
    interface: Arc<str>,
    /// The function with its interface.
    function: Arc<str>,
}

impl Direct {
    /// Link what the platform does not grant to other components.
    pub(crate) fn new(
        engine: &Engine,
        compiled: &Compiled,
        linker: &Linker<State>,
    ) -> wasmtime::Result<Self> {
        let (linker, recorded) = with_links(engine, compiled, linker)?;
        let ty = compiled.component_type();
        let mut exports = Vec::new();
        for (name, item) in ty.exports(engine) {
            match &item.ty {
                ComponentItem::ComponentFunc(function) => {
                    exports.extend(export(compiled, None, name, function));
                }
                ComponentItem::ComponentInstance(instance) => {
                    for (function_name, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(function) = &item.ty {
                            exports.extend(export(compiled, Some(name), function_name, function));
                        }
                    }
                }
                _ => {}
            }
        }
        if exports.is_empty() {
            return Err(wasmtime::Error::msg("it exports no function"));
        }
        let pre = linker.instantiate_pre(compiled)?;
        let is_http = ty.exports(engine).any(|(name, _)| offer::compatible(name, http::HANDLER));
        let http = if is_http { Some(ProxyPre::new(pre.clone())?) } else { None };
        let requests = ty.imports(engine).any(|(name, _)| offer::compatible(name, http::OUTGOING));
        Ok(Self { pre, exports, http, requests, recorded })
    }

    /// Run a function in a fresh instance.
    pub(crate) async fn call(
        &self,
        store: &mut Store<State>,
        function: &str,
        input: Bytes,
        scene: &Scene,
    ) -> wasmtime::Result<Result<Bytes, Failure>> {
        let export = match self.find(function) {
            Ok(export) => export,
            Err(failure) => return Ok(Err(failure)),
        };
        let interface = FunctionName::parse(&export.name).interface.unwrap_or_default();
        if let Some(http) = &self.http
            && offer::compatible(interface, http::HANDLER)
        {
            return http::handle(http, store, &typed::plain(&input), scene).await;
        }
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let func = instance.get_func(&mut *store, export.index);
        let func = func.ok_or_else(|| wasmtime::Error::msg("an export is missing"))?;
        let func = func.typed::<Arguments, Returned>(&*store)?;
        let is_of_a_route = typed::is_of_a_route(&input);
        let arguments = Arguments { input, names: export.params.clone() };
        let outgoing = self.requests.then(|| Outgoing::new(store.data_mut(), scene));
        let call = func.call_async(store, arguments);
        let returned = match outgoing {
            Some(outgoing) => http::drive(call, outgoing, scene, |_| false).await?,
            None => call.await?,
        };
        match is_of_a_route {
            true => Ok(Ok(export.returns.told(&returned.0)?)),
            false => Ok(Ok(returned.0)),
        }
    }

    fn find(&self, function: &str) -> Result<&Export, Failure> {
        if let Some(export) = self.exports.iter().find(|export| *export.name == *function) {
            return Ok(export);
        }
        let known = self.exports.iter().map(|export| &*export.name);
        let name = names::find(function, known)
            .map_err(|why| Failure::new(FailureKind::NotFound, why.to_string()))?;
        let found = self.exports.iter().find(|export| *export.name == *name);
        found.ok_or_else(|| Failure::new(FailureKind::NotFound, "no such function"))
    }
}

/// The linker with calls of other components in place of what the platform does not grant, and
/// whether there are any.
pub(crate) fn with_links(
    engine: &Engine,
    compiled: &Compiled,
    linker: &Linker<State>,
) -> wasmtime::Result<(Linker<State>, bool)> {
    let mut linker = linker.clone();
    let mut linked = false;
    for (interface, import) in compiled.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else { continue };
        if offer::grant(interface).is_some() {
            continue;
        }
        let mut target = linker.instance(interface)?;
        for (name, item) in instance.exports(engine) {
            if let ComponentItem::ComponentFunc(function) = &item.ty {
                linked = true;
                link(&mut target, interface, name, function)?;
            }
        }
    }
    Ok((linker, linked))
}

fn export(
    compiled: &Compiled,
    interface: Option<&str>,
    function: &str,
    ty: &ComponentFunc,
) -> Option<Export> {
    if names::is_tools(function, ty.params().map(|(name, _)| name)) {
        return None;
    }
    let within = match interface {
        Some(interface) => Some(compiled.get_export_index(None, interface)?),
        None => None,
    };
    let index = compiled.get_export_index(within.as_ref(), function)?;
    let name = FunctionName { interface, function };
    let params = ty.params().map(|(name, _)| name.to_owned()).collect();
    let returns = Returns::of(ty);
    Some(Export { name: name.to_string().into(), index, params, returns })
}

fn link(
    target: &mut LinkerInstance<'_, State>,
    interface: &str,
    name: &str,
    ty: &ComponentFunc,
) -> wasmtime::Result<()> {
    let function = FunctionName { interface: Some(interface), function: name }.to_string();
    let link = Arc::new(Link { interface: interface.into(), function: function.into() });
    let counts = FlatCounts::of(ty.params().map(|(_, ty)| ty), ty.results());
    macro_rules! by_width {
        ($($params:literal)*) => {
            match (counts.params, counts.results) {
                $(
                    ($params, 0) => wrap::<$params, 0>(target, name, link),
                    ($params, 1) => wrap::<$params, 1>(target, name, link),
                )*
                _ => Err(wasmtime::Error::msg("wider than functions are")),
            }
        };
    }
    by_width!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

/// Make an import a call: the function is suspended there until it has its outcome.
fn wrap<const P: usize, const R: usize>(
    target: &mut LinkerInstance<'_, State>,
    name: &str,
    link: Arc<Link>,
) -> wasmtime::Result<()> {
    target.func_wrap_async(name, move |mut store: StoreContextMut<'_, State>, taken: Taken<P>| {
        let begun = store.data().begin_call(&link, taken.0);
        let name = link.function.clone();
        Box::new(async move {
            let (recorder, known) = begun?;
            if let Some(outcome) = known {
                return Ok(Given::<R> { outcome, name });
            }
            // Whoever polls the step sees the call, and polls again once it is answered.
            let outcome = poll_fn(|_| match recorder.take_outcome() {
                Some(outcome) => Poll::Ready(outcome),
                None => Poll::Pending,
            })
            .await;
            // The clock went on meanwhile; the new step's turn begins now.
            store.set_epoch_deadline(1);
            Ok(Given { outcome, name })
        })
    })
}

impl State {
    /// The recorder, and the outcome if it is known.
    fn begin_call(
        &self,
        link: &Link,
        input: Bytes,
    ) -> wasmtime::Result<(Arc<Recorder>, Option<izna_proto::Outcome<Bytes>>)> {
        let recorder = self.recorder.clone();
        let recorder = recorder.ok_or_else(|| wasmtime::Error::msg("nothing is recorded"))?;
        let (component, function) = (link.interface.clone(), link.function.clone());
        let call = Call { component, function, input: input.into() };
        let known = recorder.call(call, self.bounds.memory_bytes())?;
        Ok((recorder, known))
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.exports.iter().map(|export| &*export.name).collect();
        f.debug_struct("Direct").field("exports", &names).finish_non_exhaustive()
    }
}
