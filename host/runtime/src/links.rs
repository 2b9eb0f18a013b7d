//! What of an interface can be called across components, and why not the rest: values go from one
//! instance to another, handles to what an instance keeps do not.

use std::cell::RefCell;
use std::collections::HashSet;

use wit_parser::{Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId};

use crate::describe::{Item, Names, Printer};

/// The longest name of a function with its interface, in bytes: the wire takes no longer ones.
const NAME_BYTES_MAX: usize = 200;

/// Looks at the types of a component.
pub(crate) struct Links<'a> {
    resolve: &'a Resolve,
    printer: Printer<'a>,
    /// Types that hold nothing of an instance: each is looked at once, however often it is used.
    free: RefCell<HashSet<TypeId>>,
}

impl<'a> Links<'a> {
    pub(crate) fn new(resolve: &'a Resolve) -> Self {
        let printer = Printer::new(resolve, Names::Expanded);
        Self { resolve, printer, free: RefCell::default() }
    }

    pub(crate) fn item(&self, function: &Function) -> Item {
        let (name, ty) = (function.name.clone(), self.printer.function(function));
        let obstacle = match self.printer.is_full() {
            true => Some("its type is too large".into()),
            false => self.obstacle(function),
        };
        Item { name, ty, obstacle }
    }

    /// The resources that an interface itself has.
    pub(crate) fn resources(&self, interface: InterfaceId) -> Vec<Item> {
        let types = self.resolve.interfaces.get(interface).map(|i| i.types.iter());
        let own = types.into_iter().flatten().filter(|(_, id)| self.is_resource(**id));
        own.map(|(name, _)| Item {
            name: name.clone(),
            ty: "resource".into(),
            obstacle: Some("it is a resource, which cannot leave its instance".into()),
        })
        .collect()
    }

    fn is_resource(&self, id: TypeId) -> bool {
        self.resolve.types.get(id).is_some_and(|def| matches!(def.kind, TypeDefKind::Resource))
    }

    /// Why the function cannot be called from another component.
    fn obstacle(&self, function: &Function) -> Option<String> {
        if function.name.len() > NAME_BYTES_MAX {
            return Some(format!("its name is longer than {NAME_BYTES_MAX} bytes"));
        }
        match function.kind {
            FunctionKind::Freestanding => {}
            FunctionKind::Method(_) | FunctionKind::Static(_) | FunctionKind::Constructor(_) => {
                return Some("it belongs to a resource, which cannot leave its instance".into());
            }
            _ => return Some("it is async, which is not supported yet".into()),
        }
        let params = function.params.iter().find_map(|param| {
            let what = self.held(&param.ty)?;
            Some(format!("its parameter `{}` {what}", param.name))
        });
        params.or_else(|| {
            let what = self.held(function.result.as_ref()?)?;
            Some(format!("its result {what}"))
        })
    }

    /// What a type holds that cannot leave its instance.
    fn held(&self, ty: &Type) -> Option<String> {
        let id = match ty {
            Type::Id(id) => *id,
            Type::ErrorContext => return Some("contains an error context".into()),
            _ => return None,
        };
        if self.free.borrow().contains(&id) {
            return None;
        }
        let held = self.held_by(id);
        if held.is_none() {
            self.free.borrow_mut().insert(id);
        }
        held
    }

    fn held_by(&self, id: TypeId) -> Option<String> {
        let def = self.resolve.types.get(id)?;
        let all =
            |mut types: Box<dyn Iterator<Item = &Type> + '_>| types.find_map(|ty| self.held(ty));
        match &def.kind {
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => {
                let name = self.resolve.types.get(*id).and_then(|def| def.name.clone());
                Some(format!("contains the resource `{}`", name.unwrap_or_default()))
            }
            TypeDefKind::Resource => Some("is a resource".into()),
            TypeDefKind::Future(_) => Some("contains a future".into()),
            TypeDefKind::Stream(_) => Some("contains a stream".into()),
            TypeDefKind::Record(record) => {
                all(Box::new(record.fields.iter().map(|field| &field.ty)))
            }
            TypeDefKind::Tuple(tuple) => all(Box::new(tuple.types.iter())),
            TypeDefKind::Variant(variant) => {
                all(Box::new(variant.cases.iter().filter_map(|case| case.ty.as_ref())))
            }
            TypeDefKind::Result(result) => all(Box::new(result.ok.iter().chain(result.err.iter()))),
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => {
                self.held(ty)
            }
            TypeDefKind::Enum(_) | TypeDefKind::Flags(_) => None,
            _ => Some("contains a type that is not supported yet".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wit_parser::SourceMap;

    fn resolve(depth: usize, name_bytes: usize) -> Resolve {
        let mut text = format!(
            "package a:b; interface i {{ record base {{ f{}: u8 }} type t0 = base;",
            "a".repeat(name_bytes)
        );
        for level in 1..=depth {
            let inner = level - 1;
            text += &format!("type t{level} = tuple<t{inner}, t{inner}>;");
        }
        text += &format!("f: func(x: t{depth}); }}");
        let mut map = SourceMap::new();
        map.push_str("i.wit", text);
        let mut resolve = Resolve::new();
        resolve.push_group(map.parse().unwrap_or_else(|_| panic!("the text is WIT"))).unwrap();
        resolve
    }

    fn function(resolve: &Resolve) -> &Function {
        resolve.interfaces.iter().find_map(|(_, i)| i.functions.get("f")).unwrap()
    }

    /// If this failed, a component of some kilobytes would take gigabytes of a node's memory by
    /// what its types are in words, or be looked at for ever.
    #[test]
    fn types_that_multiply_are_bounded() {
        let small = resolve(3, 1);
        let item = Links::new(&small).item(function(&small));
        let whole = "f: func(x: tuple<tuple<tuple<";
        assert!(item.ty.starts_with(whole) && item.obstacle.is_none(), "{item:?}");
        let large = resolve(60, 50_000);
        let item = Links::new(&large).item(function(&large));
        assert_eq!(item.obstacle.as_deref(), Some("its type is too large"));
        assert!(item.ty.len() < 64 << 20, "{}", item.ty.len());
        assert_eq!(Links::new(&large).obstacle(function(&large)), None);
    }
}
