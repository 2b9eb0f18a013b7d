//! Why a runtime cannot be made, or a component not be admitted or loaded. What goes wrong in a
//! step is no error here: it is how the step ends.

use std::fmt;
use std::path::PathBuf;

/// What this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No bytes at all.
    #[error("not a WebAssembly file: it is empty")]
    Empty,
    /// Something else than WebAssembly.
    #[error("not a WebAssembly file: it starts with `{begins}` and has {bytes} bytes")]
    NotWasm {
        /// The first four bytes, printable.
        begins: String,
        /// How many there are.
        bytes: usize,
    },
    /// WebAssembly as text.
    #[error("this is WebAssembly text; convert it: `wasm-tools parse FILE -o FILE.wasm`")]
    Text,
    /// A version of the format that nobody knows.
    #[error(
        "neither a WebAssembly component nor a core module: version and layer are {version:#010x}"
    )]
    Version {
        /// Bytes 4 to 8, as a little-endian number.
        version: u32,
    },
    /// Bytes are missing or wrong.
    #[error("invalid WebAssembly at byte {offset:#x} of {bytes}: {reason}")]
    Invalid {
        /// Where.
        offset: u64,
        /// Of how many.
        bytes: usize,
        /// What is wrong there, and what to do about it.
        reason: String,
    },
    /// Machine code.
    #[error(
        "this is precompiled code (.cwasm), which is not accepted: deploy the .wasm that it was \
         compiled from"
    )]
    Precompiled,
    /// A core module that says nothing about its world.
    #[error(
        "this is a core module without a component type; Izna runs components: build it with an \
         Izna SDK, or embed a world and run `wasm-tools component new`{hint}"
    )]
    CoreModule {
        /// More for the case at hand, or nothing.
        hint: &'static str,
    },
    /// A core module that does not do what its component type says.
    #[error("cannot convert the core module to a component: {reason}")]
    Encode {
        /// What is wrong.
        reason: String,
    },
    /// A WIT package in binary form.
    #[error(
        "this is a WIT package, an interface without code; deploy the component that implements it"
    )]
    WitPackage,
    /// WebAssembly beyond what is enabled.
    #[error("the component needs {}, which is not enabled: {reason}", list(needs))]
    Feature {
        /// The features.
        needs: Vec<String>,
        /// The first place where one is used.
        reason: String,
    },
    /// Over the limit for a component.
    #[error("the component has {bytes} bytes; the limit is {max}")]
    TooBig {
        /// Its size.
        bytes: usize,
        /// `component_bytes_max`.
        max: u64,
    },
    /// Over the limit for a function: compiling it could take for ever.
    #[error("a function of the component has {bytes} bytes; the limit is {max}")]
    FunctionTooBig {
        /// Its size.
        bytes: u64,
        /// `function_bytes_max`.
        max: u64,
    },
    /// It asks for more memory than it can ever get.
    #[error("the component starts with {initial} bytes of memory; the limit is {max}")]
    Memory {
        /// All of its memories together.
        initial: u64,
        /// `memory_bytes_max`.
        max: u64,
    },
    /// More parts than there is room for.
    #[error("the component has {found} {what}; the limit is {max} (izna node {flag})")]
    Parts {
        /// Of what: `core instances` and the like.
        what: &'static str,
        /// How many one instance of it has.
        found: u64,
        /// How many it may have.
        max: u32,
        /// What raises the limit.
        flag: &'static str,
    },
    /// What a child process, which checked it, said against it.
    #[error("{reason}")]
    Apart {
        /// One sentence.
        reason: String,
    },
    /// Not a component of this platform.
    #[error("the component does not export `{wanted}`; it exports {}{hint}", list(exports))]
    World {
        /// The interface.
        wanted: &'static str,
        /// What it has instead.
        exports: Vec<String>,
        /// More for the case at hand, or nothing.
        hint: &'static str,
    },
    /// The right name with another type.
    #[error(
        "`{interface}` of the component differs from the platform's in `{function}`: {found}; \
         expected {wanted}"
    )]
    Signature {
        /// The interface.
        interface: String,
        /// The function.
        function: String,
        /// What the component has.
        found: String,
        /// What the host has.
        wanted: String,
    },
    /// Imports that nobody provides.
    #[error("unsupported imports: {}; supported are {offered}", list(refused))]
    Imports {
        /// Each of them.
        refused: Vec<RefusedImport>,
        /// The packages that are.
        offered: String,
    },
    /// An import that cannot be a call of another component.
    #[error(
        "the component imports `{item}` of `{interface}`, which cannot be a call of another \
         component: {why}"
    )]
    Unlinkable {
        /// The interface.
        interface: String,
        /// Its function or resource.
        item: String,
        /// Why not.
        why: String,
    },
    /// It is valid, but cannot be described.
    #[error("cannot read the component's world: {reason}")]
    Describe {
        /// Why.
        reason: String,
    },
    /// The bytes to load are not those that were asked for.
    #[error("digest mismatch: the component has {found}, expected {wanted}")]
    Digest {
        /// The digest of the bytes.
        found: izna_proto::Digest,
        /// The digest that was asked for.
        wanted: izna_proto::Digest,
    },
    /// It cannot be compiled.
    #[error("cannot compile the component: {reason}")]
    Compile {
        /// Why.
        reason: String,
    },
    /// It cannot be linked: what admission did not see.
    #[error("cannot link the component: {reason}")]
    Link {
        /// Why.
        reason: String,
    },
    /// A continuation that is no record of calls.
    #[error("invalid record of the function's calls")]
    Record {
        /// What is wrong with it.
        source: izna_proto::Error,
    },
    /// A setting out of its range.
    #[error("invalid runtime setting `{setting}` {value}: expected {allowed}")]
    Config {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The range.
        allowed: &'static str,
    },
    /// The engine cannot be made.
    #[error(
        "cannot reserve {gib} GiB of address space for {steps_max} live steps: {reason}; lower \
         --live-steps-max, or raise `ulimit -v`"
    )]
    Engine {
        /// The live steps.
        steps_max: usize,
        /// The address space that they take, at least.
        gib: u64,
        /// Why.
        reason: String,
    },
    /// The compile cache cannot be used.
    #[error("compile cache {}: cannot {operation}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What could not be done.
        operation: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

/// An import that nobody provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedImport {
    /// Its name.
    pub name: String,
    /// Why not, or what may have been meant.
    pub hint: Option<String>,
}

impl fmt::Display for RefusedImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// The most items that a message lists.
const LISTED_MAX: usize = 8;

fn list<T: fmt::Display>(items: &[T]) -> String {
    let mut text =
        items.iter().take(LISTED_MAX).map(|item| format!("`{item}`")).collect::<Vec<_>>();
    if items.len() > LISTED_MAX {
        text.push(format!("{} more", items.len() - LISTED_MAX));
    }
    if text.is_empty() { "nothing".into() } else { text.join(", ") }
}
