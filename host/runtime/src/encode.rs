//! Core modules as components: what linkers and the compilers of C and Go give carries its component
//! type, and asks for WASI 0.1, which an adapter makes 0.2 of.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Encoding, KnownCustom, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::Error;
use crate::admit::{Form, form, invalid};

/// What a module says of itself.
#[derive(Default)]
struct Module {
    /// It carries its component type.
    typed: bool,
    /// It asks for WASI 0.1.
    adapted: bool,
    /// It is Go's, whose allocator works only once its runtime has begun.
    late_allocator: bool,
    hint: &'static str,
}

/// The component that a core module with its component type makes. What [`Runtime::admit`] does of
/// modules, without asking whether the component can run here.
///
/// [`Runtime::admit`]: crate::Runtime::admit
///
/// # Errors
/// When the module has no component type, or another than it has.
pub fn encoded(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if matches!(form(bytes)?, Form::Component) {
        return Err(Error::Encode { reason: "it is a component already".into() });
    }
    let module = Module::read(bytes)?;
    if !module.typed {
        return Err(Error::CoreModule { hint: module.hint });
    }
    let refused = |error| Error::Encode { reason: format!("{error:#}{}", module.hint) };
    let mut encoder = ComponentEncoder::default().validate(false).module(bytes).map_err(refused)?;
    if module.adapted {
        let (name, adapter) =
            (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
        encoder = encoder.adapter(name, adapter).map_err(refused)?;
    }
    encoder.realloc_via_memory_grow(module.late_allocator).encode().map_err(refused)
}

impl Module {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| invalid(&error, bytes.len()))? {
                Payload::Version { encoding: Encoding::Component, .. } => break,
                Payload::CustomSection(section) => {
                    module.typed |= section.name().starts_with("component-type");
                    if let KnownCustom::Producers(fields) = section.as_known() {
                        let mut fields = fields.into_iter().flatten();
                        module.late_allocator |= fields.any(|field| {
                            let mut values = field.values.into_iter().flatten();
                            field.name == "language" && values.any(|value| value.name == "Go")
                        });
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports().flatten() {
                        module.adapted |= import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
                        if import.module.starts_with("__wbindgen") {
                            module.hint = "; it is built for a browser, by wasm-bindgen";
                        }
                    }
                }
                _ => {}
            }
        }
        if module.adapted && !module.typed {
            module.hint = "; it is a program for WASI 0.1: \
                           `izna component new` makes a component of one that has a WIT world";
        }
        Ok(module)
    }
}
