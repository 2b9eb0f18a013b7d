//! What a component is made of, read from its bytes without compiling them: its world as WIT text,
//! its memory, the tools that made it.

use std::cell::Cell;
use std::sync::LazyLock;

use wasmparser::{KnownCustom, Parser, Payload};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, Resolve, SourceMap, Type, TypeDefKind, WorldId,
    WorldItem, WorldKey,
};

use crate::Error;
use crate::links::Links;
use crate::names::is_tools;
use crate::parts::Parts;

/// What `izna inspect` prints about a component.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// How it is called.
    pub kind: Kind,
    /// Its size in bytes.
    pub bytes: usize,
    /// What it asks for.
    pub imports: Vec<Interface>,
    /// What it provides.
    pub exports: Vec<Interface>,
    /// The memory that one instance of it begins with, in bytes.
    pub memory_bytes: u64,
    /// Its core modules.
    pub modules: u32,
    /// Its largest function, in bytes.
    pub function_bytes: u64,
    /// The languages and tools that made it, as `language: Rust`.
    pub producers: Vec<String>,
}

/// The ways in which a component may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It exports `izna:process/handler` and says itself what to carry between its steps.
    Explicit,
    /// It exports ordinary functions, and what it imports of other components is a call.
    Direct,
    /// The same, and it exports `wasi:http/incoming-handler` of WASI 0.2.
    Http,
}

impl Kind {
    /// Whether it is called by the types of its functions.
    pub fn is_typed(self) -> bool {
        matches!(self, Self::Direct | Self::Http)
    }
}

/// One import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name with its version, or the name of a single function.
    pub name: String,
    /// Its functions as in WIT: `get: func(key: string) -> option<string>`.
    pub functions: Vec<String>,
    /// The same and its resources, with all types spelled out.
    pub items: Vec<Item>,
    /// Whether it is a single function, which no interface is around.
    pub alone: bool,
}

/// A function or a resource of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Its type, down to what consists of nothing else: equal texts are equal types.
    pub ty: String,
    /// Why it cannot be called by or from another component, if it cannot.
    pub obstacle: Option<String>,
}

/// A component's world.
pub(crate) struct World {
    resolve: Resolve,
    world: WorldId,
}

/// What is known of a component's parts.
#[derive(Debug, Default)]
pub(crate) struct Anatomy {
    pub(crate) parts: Parts,
    pub(crate) modules: u32,
    pub(crate) function_bytes: u64,
    pub(crate) producers: Vec<String>,
}

/// The WIT packages of the platform itself.
static PLATFORM: LazyLock<Result<Resolve, String>> = LazyLock::new(|| {
    let packages: [&[(&str, &str)]; 2] = [
        &[
            ("types.wit", include_str!("../../../wit/process/types.wit")),
            ("handler.wit", include_str!("../../../wit/process/handler.wit")),
        ],
        &[("store.wit", include_str!("../../../wit/memory/store.wit"))],
    ];
    let mut resolve = Resolve::new();
    for files in packages {
        let mut map = SourceMap::new();
        for (name, text) in files {
            map.push_str(name, *text);
        }
        let group = map.parse().map_err(|error| format!("{error:?}"))?;
        resolve.push_group(group).map_err(|error| format!("{error:#}"))?;
    }
    Ok(resolve)
});

impl World {
    /// The world of a valid component.
    pub(crate) fn read(component: &[u8]) -> Result<Self, Error> {
        match decode(component) {
            Ok(DecodedWasm::Component(resolve, world)) => Ok(Self { resolve, world }),
            Ok(DecodedWasm::WitPackage(..)) => Err(Error::WitPackage),
            Err(error) => Err(Error::Describe { reason: format!("{error:#}") }),
        }
    }

    pub(crate) fn imports(&self) -> Vec<Interface> {
        let world = self.resolve.worlds.get(self.world);
        world.map(|world| self.interfaces(&world.imports)).unwrap_or_default()
    }

    pub(crate) fn exports(&self) -> Vec<Interface> {
        let world = self.resolve.worlds.get(self.world);
        world.map(|world| self.interfaces(&world.exports)).unwrap_or_default()
    }

    fn interfaces<'a>(
        &self,
        items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
    ) -> Vec<Interface> {
        let names = Printer::new(&self.resolve, Names::Given);
        let links = Links::new(&self.resolve);
        items
            .into_iter()
            .filter_map(|(key, item)| {
                let name = self.resolve.name_world_key(key);
                let functions: Vec<&Function> = match item {
                    WorldItem::Interface { id, .. } => {
                        self.resolve.interfaces.get(*id)?.functions.values().collect()
                    }
                    WorldItem::Function(function) => vec![function],
                    // A name for a type: nothing that anyone has to provide.
                    WorldItem::Type { .. } => return None,
                };
                if functions.iter().any(|f| is_tools(&f.name, f.params.iter().map(|p| &*p.name))) {
                    return None;
                }
                let mut items: Vec<Item> = functions.iter().map(|f| links.item(f)).collect();
                if let WorldItem::Interface { id, .. } = item {
                    items.extend(links.resources(*id));
                }
                let functions = functions.into_iter().map(|f| names.function(f)).collect();
                let alone = matches!(item, WorldItem::Function(_));
                Some(Interface { name, functions, items, alone })
            })
            .collect()
    }

    /// An interface of the component, by a name that it uses.
    fn interface(&self, name: &str) -> Option<InterfaceId> {
        let world = self.resolve.worlds.get(self.world)?;
        world.exports.iter().chain(&world.imports).find_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } if self.resolve.name_world_key(key) == name => {
                Some(*id)
            }
            _ => None,
        })
    }

    /// Compare the functions of its interface `name` with those of the platform's `wanted`. An
    /// import may have fewer of them.
    pub(crate) fn agrees(&self, name: &str, wanted: &str, side: Side) -> Result<(), Error> {
        let platform =
            PLATFORM.as_ref().map_err(|reason| Error::Describe { reason: reason.clone() })?;
        let ours = platform
            .interfaces
            .iter()
            .find(|(id, _)| platform.id_of(*id).as_deref() == Some(wanted))
            .map(|(_, interface)| interface);
        let theirs = self.interface(name).and_then(|id| self.resolve.interfaces.get(id));
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
        let differs = |function: &str, found: String, wanted: String| Error::Signature {
            interface: name.into(),
            function: function.into(),
            found,
            wanted,
        };
        let (ours_in, theirs_in) =
            (Printer::new(platform, Names::Expanded), Printer::new(&self.resolve, Names::Expanded));
        if side == Side::Export {
            let missing = ours.functions.keys().find(|key| !theirs.functions.contains_key(*key));
            if let Some((key, function)) = missing.and_then(|key| ours.functions.get_key_value(key))
            {
                let wanted = format!("`{}`", ours_in.function(function));
                return Err(differs(key, "it is missing".into(), wanted));
            }
        }
        for (key, function) in &theirs.functions {
            let Some(wanted) = ours.functions.get(key) else {
                if side == Side::Export {
                    continue;
                }
                let found = theirs_in.function(function);
                return Err(differs(key, found, "no such function".into()));
            };
            let (found, wanted) = (theirs_in.function(function), ours_in.function(wanted));
            if found != wanted {
                return Err(differs(key, format!("it is `{found}`"), format!("`{wanted}`")));
            }
        }
        Ok(())
    }
}

/// Who has an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Import,
    Export,
}

/// Types and functions as text: by name where they have one, or, to be compared, as what they
/// consist of.
pub(crate) struct Printer<'a> {
    resolve: &'a Resolve,
    names: Names,
    /// How much more may be printed: a type of a few bytes can be gigabytes of text.
    room: Cell<usize>,
}

/// What a type with a name is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Given,
    Expanded,
}

/// The most text of one printer, in bytes; parts of a type count once for each level around them.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// What is printed in place of a type for which there is no room.
const CUT: &str = "...";

impl<'a> Printer<'a> {
    pub(crate) fn new(resolve: &'a Resolve, names: Names) -> Self {
        Self { resolve, names, room: Cell::new(TEXT_BYTES_MAX) }
    }

    /// Whether something was cut.
    pub(crate) fn is_full(&self) -> bool {
        self.room.get() == 0
    }

    pub(crate) fn function(&self, function: &Function) -> String {
        let params: Vec<String> = function
            .params
            .iter()
            .map(|param| format!("{}: {}", param.name, self.ty(&param.ty)))
            .collect();
        let result =
            function.result.as_ref().map(|ty| format!(" -> {}", self.ty(ty))).unwrap_or_default();
        let kind = match function.kind {
            FunctionKind::Freestanding
            | FunctionKind::Method(_)
            | FunctionKind::Static(_)
            | FunctionKind::Constructor(_) => "func",
            _ => "async func",
        };
        format!("{}: {kind}({}){result}", function.name, params.join(", "))
    }

    fn ty(&self, ty: &Type) -> String {
        if self.is_full() {
            return CUT.into();
        }
        let text = self.whole(ty);
        self.room.set(self.room.get().saturating_sub(text.len()));
        text
    }

    fn whole(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return primitive(ty).into() };
        let Some(def) = self.resolve.types.get(*id) else { return "unknown".into() };
        match &def.name {
            Some(name) if self.names == Names::Given => name.clone(),
            _ => self.kind(&def.kind, def.name.as_deref()),
        }
    }

    fn optional(&self, ty: Option<&Type>) -> String {
        ty.map_or_else(|| "_".into(), |ty| self.ty(ty))
    }

    fn kind(&self, kind: &TypeDefKind, name: Option<&str>) -> String {
        let fields = |items: Vec<String>| items.join(", ");
        let case = |name: &str, ty: Option<&Type>| match ty {
            Some(ty) => format!("{name}({})", self.ty(ty)),
            None => name.to_string(),
        };
        match kind {
            TypeDefKind::Record(record) => {
                let field = |f: &wit_parser::Field| format!("{}: {}", f.name, self.ty(&f.ty));
                format!("record {{ {} }}", fields(record.fields.iter().map(field).collect()))
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|c| case(&c.name, c.ty.as_ref()));
                format!("variant {{ {} }}", fields(cases.collect()))
            }
            TypeDefKind::Enum(cases) => {
                let cases = cases.cases.iter().map(|case| case.name.clone());
                format!("enum {{ {} }}", fields(cases.collect()))
            }
            TypeDefKind::Flags(flags) => {
                let flags = flags.flags.iter().map(|flag| flag.name.clone());
                format!("flags {{ {} }}", fields(flags.collect()))
            }
            TypeDefKind::Tuple(tuple) => {
                format!("tuple<{}>", fields(tuple.types.iter().map(|ty| self.ty(ty)).collect()))
            }
            TypeDefKind::List(ty) => format!("list<{}>", self.ty(ty)),
            TypeDefKind::Option(ty) => format!("option<{}>", self.ty(ty)),
            TypeDefKind::Result(result) => {
                let (ok, err) = (result.ok.as_ref(), result.err.as_ref());
                format!("result<{}, {}>", self.optional(ok), self.optional(err))
            }
            TypeDefKind::Future(ty) => format!("future<{}>", self.optional(ty.as_ref())),
            TypeDefKind::Stream(ty) => format!("stream<{}>", self.optional(ty.as_ref())),
            TypeDefKind::Type(ty) => self.ty(ty),
            TypeDefKind::Handle(Handle::Own(id)) => self.named(*id),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.named(*id)),
            _ => name.unwrap_or("unknown").into(),
        }
    }

    fn named(&self, id: wit_parser::TypeId) -> String {
        let name = self.resolve.types.get(id).and_then(|def| def.name.clone());
        name.unwrap_or_else(|| "resource".into())
    }
}

fn primitive(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(_) => "unknown",
    }
}

impl Anatomy {
    /// Of a valid component.
    pub(crate) fn read(component: &[u8]) -> Self {
        let mut anatomy = Self { parts: Parts::read(component), ..Self::default() };
        for payload in Parser::new(0).parse_all(component) {
            match payload {
                Ok(Payload::ModuleSection { .. }) => anatomy.modules += 1,
                Ok(Payload::CodeSectionEntry(body)) => {
                    let range = body.range();
                    let bytes = range.end.saturating_sub(range.start) as u64;
                    anatomy.function_bytes = anatomy.function_bytes.max(bytes);
                }
                Ok(Payload::CustomSection(section)) => {
                    if let KnownCustom::Producers(fields) = section.as_known() {
                        anatomy.note_producers(fields);
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        anatomy
    }

    fn note_producers(&mut self, fields: wasmparser::ProducersSectionReader<'_>) {
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let version = Some(value.version).filter(|version| !version.is_empty());
                let version = version.map(|version| format!(" {version}")).unwrap_or_default();
                let line = format!("{}: {}{version}", field.name, value.name);
                if !self.producers.contains(&line) && self.producers.len() < PRODUCERS_MAX {
                    self.producers.push(line);
                }
            }
        }
    }
}

/// The most tools that a description names.
const PRODUCERS_MAX: usize = 32;
