//! What the manifest grants beside WASI itself, as the interfaces through which published
//! components ask for it: `wasi:config` and `wasi:logging`.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::host::Level;
use crate::state::State;

/// The names that `wasi:config` has been published under; all have the same functions.
pub(crate) const CONFIG: [&str; 4] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/runtime@0.2.0-draft",
];
/// The same of `wasi:logging`.
pub(crate) const LOGGING: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// Whether a name is one of these.
pub(crate) fn has(name: &str) -> bool {
    CONFIG.contains(&name) || LOGGING.contains(&name)
}

/// Why a setting is not available: never, here.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum Unavailable {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type One = Result<Option<String>, Unavailable>;
type All = Result<Vec<(String, String)>, Unavailable>;

/// Link both in all their versions.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in CONFIG {
        let mut config = linker.instance(name)?;
        config.func_wrap("get", |store: StoreContextMut<'_, State>, (key,): (String,)| {
            let grants = store.data().host.grants();
            let found = grants.config.iter().find(|(name, _)| *name == key);
            Ok((One::Ok(found.map(|(_, value)| value.clone())),))
        })?;
        config.func_wrap("get-all", |store: StoreContextMut<'_, State>, (): ()| {
            Ok((All::Ok(store.data().host.grants().config.clone()),))
        })?;
    }
    for name in LOGGING {
        let mut logging = linker.instance(name)?;
        let log = |mut store: StoreContextMut<'_, State>, line: (Level, String, String)| {
            let (level, context, message) = line;
            store.data_mut().log(level, &context, &message);
            Ok(())
        };
        logging.func_wrap("log", log)?;
    }
    Ok(())
}
