//! Whether bytes that a user gives are a component that can run here, and if not, why not and what
//! to do.
//!
//! Cheap questions come first, so that the answer names what is really wrong: a page of HTML is not
//! "invalid at byte 0", and a component for another world is not a linker error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use izna_proto::Digest;
use wasmparser::Validator;
use wasmtime::{Engine, WasmFeatures};

use crate::describe::{Anatomy, Side, World};
use crate::engine::digest_of;
use crate::{Description, Error, Interface, Kind, Runtime, encode, http, offer};

const MAGIC: &[u8] = b"\0asm";
const CORE_MODULE: u32 = 0x0000_0001;
const COMPONENT: u32 = 0x0001_000d;

/// A component that can run here.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Its bytes: those that were given, or what was made of a core module.
    pub component: Vec<u8>,
    /// Their SHA-256, the name under which nodes know it.
    pub digest: Digest,
    /// What it is.
    pub description: Description,
}

impl Runtime {
    /// What a deploy calls: check `bytes` as the user gave them, a component or a core module that
    /// carries its component type. It does not compile: milliseconds, for large ones a second.
    pub fn admit(&self, bytes: &[u8]) -> Result<Admitted, Error> {
        let config = self.config();
        // The decoders of other crates return errors, and have bugs. None of theirs may end a node.
        let admitted = catch_unwind(AssertUnwindSafe(|| {
            within(bytes.len(), config.component_bytes_max)?;
            let component = match form(bytes)? {
                Form::Component => bytes.to_vec(),
                Form::Module => encode::encoded(bytes)?,
            };
            within(component.len(), config.component_bytes_max)?;
            validate(self.engine(), &component)?;
            let anatomy = Anatomy::read(&component);
            let (bytes, max) = (anatomy.function_bytes, config.function_bytes_max);
            if bytes > max {
                return Err(Error::FunctionTooBig { bytes, max });
            }
            let (initial, max) = (anatomy.memory_bytes, config.memory_bytes_max);
            if initial > max {
                return Err(Error::Memory { initial, max });
            }
            let description = describe(&component, anatomy)?;
            Ok(Admitted { digest: digest_of(&component), component, description })
        }));
        admitted.unwrap_or_else(|_| {
            Err(Error::Describe { reason: "the decoder failed; see the log".into() })
        })
    }
}

impl Runtime {
    /// What the bytes of an admitted component are. As quick as [`admit`](Self::admit) without its
    /// checks.
    pub fn describe(&self, component: &[u8]) -> Result<Description, Error> {
        catch_unwind(|| describe(component, Anatomy::read(component))).unwrap_or_else(|_| {
            Err(Error::Describe { reason: "the decoder failed; see the log".into() })
        })
    }
}

pub(crate) enum Form {
    Component,
    Module,
}

fn within(bytes: usize, max: u64) -> Result<(), Error> {
    if bytes as u64 > max { Err(Error::TooBig { bytes, max }) } else { Ok(()) }
}

pub(crate) fn form(bytes: &[u8]) -> Result<Form, Error> {
    let Some(head) = bytes.get(..4).or((!bytes.is_empty()).then_some(bytes)) else {
        return Err(Error::Empty);
    };
    if head != MAGIC {
        if Engine::detect_precompiled(bytes).is_some() {
            return Err(Error::Precompiled);
        }
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"(component") || text.starts_with(b"(module") {
            return Err(Error::Text);
        }
        let begins = head.escape_ascii().to_string();
        return Err(Error::NotWasm { begins, bytes: bytes.len() });
    }
    let Some(version) = bytes.get(4..8).and_then(|bytes| bytes.try_into().ok()) else {
        return Err(Error::Invalid {
            offset: bytes.len() as u64,
            bytes: bytes.len(),
            reason: CUT_SHORT.into(),
        });
    };
    match u32::from_le_bytes(version) {
        CORE_MODULE => Ok(Form::Module),
        COMPONENT => Ok(Form::Component),
        version => Err(Error::Version { version }),
    }
}

const CUT_SHORT: &str = "the file is truncated";

fn validate(engine: &Engine, component: &[u8]) -> Result<(), Error> {
    let enabled = engine.get_wasm_features();
    let all = |features| Validator::new_with_features(features).validate_all(component);
    let Err(error) = all(enabled) else { return Ok(()) };
    if all(WasmFeatures::all()).is_err() {
        return Err(invalid(&error, component.len()));
    }
    let needs: Vec<String> = (WasmFeatures::all() - enabled)
        .iter_names()
        .filter(|(_, feature)| all(WasmFeatures::all() - *feature).is_err())
        .map(|(name, _)| feature_name(name))
        .collect();
    Err(Error::Feature { needs, reason: error.to_string() })
}

fn feature_name(name: &str) -> String {
    match name {
        "CM_ASYNC" => {
            "async functions of the component model (WASI 0.3 is not supported yet: build for 0.2)"
                .into()
        }
        "GC" | "GC_TYPES" => "garbage collection".into(),
        _ => name.strip_prefix("CM_").unwrap_or(name).to_lowercase().replace('_', "-"),
    }
}

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError, bytes: usize) -> Error {
    let message = error.message();
    let reason = if message.starts_with("unexpected end") {
        format!("{message}; {CUT_SHORT} or damaged")
    } else {
        format!("{message}; the file is damaged, or uses an unsupported format")
    };
    Error::Invalid { offset: error.offset() as u64, bytes, reason }
}

fn describe(component: &[u8], anatomy: Anatomy) -> Result<Description, Error> {
    let world = World::read(component)?;
    let (imports, exports) = (world.imports(), world.exports());
    let kind = check_exports(&world, &exports)?;
    check_imports(&world, &imports, kind)?;
    Ok(Description {
        kind,
        bytes: component.len(),
        imports,
        exports,
        memory_bytes: anatomy.memory_bytes,
        modules: anatomy.modules,
        function_bytes: anatomy.function_bytes,
        producers: anatomy.producers,
    })
}

fn check_exports(world: &World, exports: &[Interface]) -> Result<Kind, Error> {
    let handler = exports.iter().find(|export| offer::compatible(&export.name, offer::HANDLER));
    if let Some(handler) = handler {
        world.agrees(&handler.name, offer::HANDLER, Side::Export)?;
        return Ok(Kind::Explicit);
    }
    if exports.iter().any(|export| offer::compatible(&export.name, http::HANDLER)) {
        return Ok(Kind::Http);
    }
    let own = exports.iter().filter(|export| !is_platforms(&export.name));
    if own.flat_map(|export| &export.items).any(|item| item.obstacle.is_none()) {
        return Ok(Kind::Direct);
    }
    let exports: Vec<String> = exports.iter().map(|export| export.name.clone()).collect();
    let has = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    let hint = if has("izna:process/handler") {
        "; that is an unsupported version: rebuild it with this platform's SDK"
    } else if has("wasi:http/") {
        "; of wasi:http, `incoming-handler` of WASI 0.2 is supported, WASI 0.3 is not yet"
    } else if has("wasi:cli/run") {
        "; it is a command-line program, not a service"
    } else {
        "; ordinary functions on values would be supported as well"
    };
    Err(Error::World { wanted: offer::HANDLER, exports, hint })
}

/// Whether a name is one of the platform's or of WASI, which no component of an app exports.
fn is_platforms(name: &str) -> bool {
    ["wasi:", "wasi_", "izna:"].iter().any(|prefix| name.starts_with(prefix))
}

fn check_imports(world: &World, imports: &[Interface], kind: Kind) -> Result<(), Error> {
    let mut refused = Vec::new();
    // An interface without functions and resources only names types.
    for import in imports.iter().filter(|import| !import.items.is_empty()) {
        match offer::grant(&import.name) {
            None if kind.is_typed() && !is_platforms(&import.name) => check_link(import)?,
            None => refused.push(offer::refuse(&import.name)),
            Some(offered) => world.agrees(&import.name, &offered, Side::Import)?,
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::Imports { refused, offered: offer::packages() })
}

/// Check that all of an import can be a call of another component.
fn check_link(import: &Interface) -> Result<(), Error> {
    let interface = import.name.clone();
    if import.alone {
        let why = "only functions of an interface can be; move it into one".into();
        return Err(Error::Unlinkable { interface: "the world".into(), item: interface, why });
    }
    let held = import.items.iter().find_map(|item| Some((item, item.obstacle.clone()?)));
    match held {
        Some((item, why)) => Err(Error::Unlinkable { interface, item: item.name.clone(), why }),
        None => Ok(()),
    }
}
