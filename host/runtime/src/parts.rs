//! What one instance of a component consists of: core instances, memories and tables, counted in
//! its bytes without compiling them. Not here: what there may be of each.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Instance, Parser, Payload,
};

/// The parts of one instance, its nested components included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Instances of core modules.
    pub(crate) instances: u64,
    /// Memories, without those that one module lends another.
    pub(crate) memories: u64,
    /// What all of them begin with, in bytes.
    pub(crate) memory_bytes: u64,
    /// Tables.
    pub(crate) tables: u64,
    /// The elements that the largest of them begins with.
    pub(crate) table_elements: u64,
}

/// A module or component that is being read.
#[derive(Default)]
struct Scope {
    is_module: bool,
    /// What one instance of each module and component consists of, by its index.
    modules: Vec<Parts>,
    components: Vec<Parts>,
    parts: Parts,
}

impl Parts {
    /// Of a valid component. What it imports as a module or component, which Izna never gives it,
    /// is not counted.
    pub(crate) fn read(component: &[u8]) -> Self {
        let mut scopes: Vec<Scope> = Vec::new();
        for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
            match payload {
                Payload::Version { encoding, .. } => {
                    let is_module = encoding == Encoding::Module;
                    scopes.push(Scope { is_module, ..Scope::default() });
                }
                Payload::End(_) => {
                    let Some(ended) = scopes.pop() else { break };
                    match scopes.last_mut() {
                        Some(around) if ended.is_module => {
                            around.modules.push(Self { instances: 1, ..ended.parts });
                        }
                        Some(around) => around.components.push(ended.parts),
                        None => return ended.parts,
                    }
                }
                payload => note(&payload, &mut scopes),
            }
        }
        Self::default()
    }

    fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.tables = self.tables.saturating_add(other.tables);
        self.table_elements = self.table_elements.max(other.table_elements);
    }
}

fn note(payload: &Payload<'_>, scopes: &mut [Scope]) {
    // Of a scope further out, which is never changed from within.
    let outer = |scopes: &[Scope], kind, count: u32, index: u32| {
        let at = scopes.len().checked_sub(1 + count as usize)?;
        let scope = scopes.get(at)?;
        match kind {
            ComponentOuterAliasKind::CoreModule => scope.modules.get(index as usize).copied(),
            _ => scope.components.get(index as usize).copied(),
        }
    };
    match payload {
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases.clone().into_iter().flatten() {
                match alias {
                    ComponentAlias::Outer { kind, count, index } => {
                        let parts = outer(scopes, kind, count, index).unwrap_or_default();
                        if let Some(scope) = scopes.last_mut() {
                            match kind {
                                ComponentOuterAliasKind::CoreModule => scope.modules.push(parts),
                                ComponentOuterAliasKind::Component => scope.components.push(parts),
                                _ => {}
                            }
                        }
                    }
                    ComponentAlias::InstanceExport { kind, .. } => {
                        if let Some(scope) = scopes.last_mut() {
                            scope.define(kind, Parts::default());
                        }
                    }
                    ComponentAlias::CoreInstanceExport { .. } => {}
                }
            }
        }
        payload => {
            if let Some(scope) = scopes.last_mut() {
                scope.note(payload);
            }
        }
    }
}

impl Scope {
    fn note(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories.clone().into_iter().flatten() {
                    let page = 1u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(0);
                    let memory_bytes = memory.initial.saturating_mul(page);
                    self.parts.add(Parts { memories: 1, memory_bytes, ..Parts::default() });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone().into_iter().flatten() {
                    let table_elements = table.ty.initial;
                    self.parts.add(Parts { tables: 1, table_elements, ..Parts::default() });
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone().into_iter().flatten() {
                    if let Instance::Instantiate { module_index, .. } = instance {
                        self.parts.add(of(&self.modules, module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone().into_iter().flatten() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance {
                        self.parts.add(of(&self.components, component_index));
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone().into_iter().flatten() {
                    match import.ty {
                        ComponentTypeRef::Module(_) => self.modules.push(Parts::default()),
                        ComponentTypeRef::Component(_) => self.components.push(Parts::default()),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone().into_iter().flatten() {
                    let parts = match export.kind {
                        ComponentExternalKind::Module => of(&self.modules, export.index),
                        _ => of(&self.components, export.index),
                    };
                    self.define(export.kind, parts);
                }
            }
            _ => {}
        }
    }

    /// An export has an index of its own.
    fn define(&mut self, kind: ComponentExternalKind, parts: Parts) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(parts),
            ComponentExternalKind::Component => self.components.push(parts),
            _ => {}
        }
    }
}

fn of(known: &[Parts], index: u32) -> Parts {
    known.get(index as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Parts {
        Parts::read(&wat::parse_str(text).unwrap())
    }

    /// If this failed, the author of a component in several parts would hear from the compiler
    /// that it has too many, or that its memory is too large, after minutes and not before.
    #[test]
    fn every_instance_counts() {
        let one = "(core module $m (memory 2) (memory 1) (table 7 funcref))
                   (core module $n (table 9 funcref) (memory 1))";
        let twice = parts(&format!(
            "(component {one} (core instance (instantiate $m)) (core instance (instantiate $m)))"
        ));
        let memory_bytes = 6 << 16;
        let expected =
            Parts { instances: 2, memories: 4, memory_bytes, tables: 2, table_elements: 7 };
        assert_eq!(twice, expected);
        let nested = parts(&format!(
            "(component $o {one}
               (component $c (core instance (instantiate $n)) (alias outer $o $m (core module $m))
                 (core instance (instantiate $m)))
               (instance (instantiate $c)) (instance (instantiate $c)))"
        ));
        let memory_bytes = 8 << 16;
        let expected =
            Parts { instances: 4, memories: 6, memory_bytes, tables: 4, table_elements: 9 };
        assert_eq!(nested, expected);
        assert_eq!(parts(&format!("(component {one})")), Parts::default());
    }

    /// If this failed, two kilobytes that multiply would be counted for ever, or to few.
    #[test]
    fn multiplied_parts_are_many_and_counted_at_once() {
        let mut text = String::from("(component $c0 (core module $m) ");
        text += "(core instance (instantiate $m)) (core instance (instantiate $m)))";
        for level in 1..64 {
            let inner = level - 1;
            text = format!(
                "(component $c{level} {text} (instance (instantiate $c{inner})) \
                 (instance (instantiate $c{inner})))"
            );
        }
        assert_eq!(parts(&text).instances, u64::MAX);
    }
}
