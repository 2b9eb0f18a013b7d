//! Whether bytes that a user gives are a component that can run here, and if not, why not and what
//! to do.
//!
//! Cheap questions come first, so that the answer names what is really wrong: a page of HTML is not
//! "invalid at byte 0", and a component for another world is not a linker error.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use izna_proto::Digest;
use wasmparser::Validator;
use wasmtime::{Engine, WasmFeatures};

use crate::compiler::Refused;
use crate::describe::{Anatomy, Side, World};
use crate::engine::digest_of;
use crate::parts::Parts;
use crate::{
    Config, Description, Error, Interface, Kind, PartsMax, Runtime, encode, http, imports, offer,
};

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

/// Failures that are remembered.
const FAILED_MAX: usize = 256;

/// What goes over a limit is not tried again, and components are made and checked one at a time.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    turn: Mutex<()>,
    failed: Mutex<VecDeque<(Work, Digest, String)>>,
}

/// What may fail with the same bytes each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Check,
    Compile,
}

impl Admissions {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it failed before, if it did.
    pub(crate) fn failure(&self, work: Work, digest: Digest) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = failed.iter();
        let found = failed.find(|(of, bytes, _)| *of == work && *bytes == digest);
        found.map(|(_, _, reason)| reason.clone())
    }

    /// Remember a failure that would be the same again.
    pub(crate) fn note(&self, work: Work, digest: Digest, refused: &Refused) {
        if refused.is_lasting {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.truncate(FAILED_MAX - 1);
            failed.push_front((work, digest, refused.reason.clone()));
        }
    }
}

impl Runtime {
    /// What a deploy calls: check `bytes` as the user gave them, a component or a core module that
    /// carries its component type. It does not compile: milliseconds, for large ones a second.
    ///
    /// With a compiler this is done in a child process, within limits of time and memory.
    pub fn admit(&self, bytes: &[u8]) -> Result<Admitted, Error> {
        let config = self.config();
        let Some(compiler) = &config.compiler else { return self.admit_here(bytes) };
        // Cheap questions need no child.
        within(bytes.len(), config.component_bytes_max)?;
        form(bytes)?;
        let (admissions, digest) = (self.admissions(), digest_of(bytes));
        let _turn = admissions.turn();
        if let Some(reason) = admissions.failure(Work::Check, digest) {
            return Err(Error::Apart { reason });
        }
        let component = compiler.admit(bytes, &limits(config)).map_err(|refused| {
            admissions.note(Work::Check, digest, &refused);
            Error::Apart { reason: refused.reason }
        })?;
        let description = self.describe(&component)?;
        Ok(Admitted { digest: digest_of(&component), component, description })
    }

    /// The same in this process.
    pub(crate) fn admit_here(&self, bytes: &[u8]) -> Result<Admitted, Error> {
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
            check_parts(&anatomy.parts, &config.parts)?;
            let (initial, max) = (anatomy.parts.memory_bytes, config.memory_bytes_max);
            if initial > max {
                return Err(Error::Memory { initial, max });
            }
            let description = describe(&component, anatomy)?;
            imports::check(self, &component, description.kind)?;
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

/// What a child is told of the limits for components.
fn limits(config: &Config) -> [u64; 7] {
    let PartsMax { instances_max, memories_max, tables_max, table_elements_max } = config.parts;
    let [instances, memories, tables, elements] =
        [instances_max, memories_max, tables_max, table_elements_max].map(u64::from);
    let (component, function) = (config.component_bytes_max, config.function_bytes_max);
    [component, function, config.memory_bytes_max, instances, memories, tables, elements]
}

/// What a child is told, as what it may use.
pub(crate) fn config_of(limits: [u64; 7]) -> Config {
    let [component, function, memory_bytes_max, instances, memories, tables, elements] = limits;
    let number = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
    Config {
        component_bytes_max: component,
        function_bytes_max: function,
        memory_bytes_max,
        parts: PartsMax {
            instances_max: number(instances),
            memories_max: number(memories),
            tables_max: number(tables),
            table_elements_max: number(elements),
        },
        ..Config::default()
    }
}

/// Check that the pool has room for an instance.
fn check_parts(parts: &Parts, max: &PartsMax) -> Result<(), Error> {
    let rules = [
        ("core instances", parts.instances, max.instances_max, "--instances-max"),
        ("memories", parts.memories, max.memories_max, "--memories-max"),
        ("tables", parts.tables, max.tables_max, "--tables-max"),
        (
            "elements in a table",
            parts.table_elements,
            max.table_elements_max,
            "--table-elements-max",
        ),
    ];
    match rules.into_iter().find(|(_, found, max, _)| *found > u64::from(*max)) {
        Some((what, found, max, flag)) => Err(Error::Parts { what, found, max, flag }),
        None => Ok(()),
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
        memory_bytes: anatomy.parts.memory_bytes,
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
    if let Some(handler) = exports.iter().find(|e| offer::compatible(&e.name, http::HANDLER)) {
        check_http(handler)?;
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

/// Check that an export has the function that a server for HTTP has. Names of parameters do not
/// matter.
fn check_http(handler: &Interface) -> Result<(), Error> {
    const HANDLE: &str = "handle: func(request: incoming-request, response-out: response-outparam)";
    let types = |ty: &str| -> Vec<String> {
        let parts = ty.split(['(', ')', ',']).skip(1);
        parts.map(|part| part.rsplit(": ").next().unwrap_or(part).trim().to_owned()).collect()
    };
    let found = handler.items.iter().find(|item| item.name == "handle");
    if found.is_some_and(|item| types(&item.ty) == types(HANDLE)) {
        return Ok(());
    }
    Err(Error::Signature {
        interface: handler.name.clone(),
        function: "handle".into(),
        found: found.map_or("it is missing".into(), |item| format!("it is `{}`", item.ty)),
        wanted: format!("`{HANDLE}`"),
    })
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
