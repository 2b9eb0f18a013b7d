//! Whether the platform's interfaces have what a component imports of them, asked of the linker
//! itself, before the component is compiled.

use wasmparser::{Parser, Payload};
use wasmtime::component::Component as Compiled;

use crate::describe::Kind;
use crate::{Error, Runtime, direct};

/// What a component begins with: magic, version and layer.
const HEADER_BYTES: usize = 8;

/// Check the imports of a valid component: a component that has nothing else is compiled, which is
/// done at once, and linked.
pub(crate) fn check(runtime: &Runtime, component: &[u8], kind: Kind) -> Result<(), Error> {
    let alone = alone(component).and_then(|b| Compiled::from_binary(runtime.engine(), &b).ok());
    // One that is made otherwise than by the tools that there are is checked when it is compiled.
    let Some(alone) = alone else { return Ok(()) };
    let linked = match kind.is_typed() {
        true => direct::with_links(runtime.engine(), &alone, runtime.linker()).map(|(l, _)| l),
        false => Ok(runtime.linker().clone()),
    };
    let linked = linked.and_then(|linker| linker.instantiate_pre(&alone));
    linked.map(drop).map_err(|error| Error::Link { reason: format!("{error:#}") })
}

/// The component with its imports, and the types before them, only. None if there are imports after
/// what is left out.
fn alone(component: &[u8]) -> Option<Vec<u8>> {
    let mut alone = component.get(..HEADER_BYTES)?.to_vec();
    let (mut depth, mut ended) = (0, false);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(_) => {}
            _ if depth != 1 => {}
            Payload::ComponentImportSection(_) if ended => return None,
            Payload::ComponentImportSection(_)
            | Payload::ComponentTypeSection(_)
            | Payload::ComponentAliasSection(_)
            | Payload::CoreTypeSection(_)
                if !ended =>
            {
                let (id, range) = payload.as_section()?;
                alone.push(id);
                length(&mut alone, range.len());
                alone.extend_from_slice(component.get(range)?);
            }
            _ => ended = true,
        }
    }
    Some(alone)
}

/// As LEB128.
fn length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits of it")]
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "under 0x80")]
    out.push(length as u8);
}
