//! What a function returns, as far as a route must know it: whether its type is a `result`, and
//! whether a value in it is an HTTP response.

use bytes::Bytes;
use ciborium_ll::Header;
use izna_proto::cbor::{Input, Misfit};
use izna_proto::typed::{Case, Told};
use wasmtime::component::Type;
use wasmtime::component::types::{ComponentFunc, Record};

/// The type of what a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returns {
    is_result: bool,
    /// Whether the value, or that in `ok`, is a response.
    ok: bool,
    /// Whether the value in `err` is one.
    err: bool,
}

impl Returns {
    pub(crate) fn of(function: &ComponentFunc) -> Self {
        match function.results().next() {
            Some(Type::Result(result)) => {
                let is = |ty: Option<Type>| ty.is_some_and(|ty| is_response(&ty));
                Self { is_result: true, ok: is(result.ok()), err: is(result.err()) }
            }
            ty => Self { is_result: false, ok: ty.is_some_and(|ty| is_response(&ty)), err: false },
        }
    }

    /// A value of this type, with what the type is.
    pub(crate) fn told(self, value: &[u8]) -> Result<Bytes, Misfit> {
        let told = match self.is_result {
            false => Told { case: Case::None, is_response: self.ok, value },
            true => self.case(value)?,
        };
        Ok(told.to_bytes())
    }

    fn case(self, value: &[u8]) -> Result<Told<'_>, Misfit> {
        const NULL: &[u8] = &[0xf6];
        let mut input = Input::new(value);
        let has_payload = matches!(input.peek()?, Header::Map(_));
        if has_payload {
            input.head()?;
        }
        let case = match input.text("a case")? {
            "ok" => Case::Ok,
            _ => Case::Err,
        };
        let is_response = has_payload && if case == Case::Ok { self.ok } else { self.err };
        Ok(Told { case, is_response, value: if has_payload { input.any()? } else { NULL } })
    }
}

/// A record of a status, headers and a body, and of nothing else: no other type is taken for a
/// response by accident.
fn is_response(ty: &Type) -> bool {
    let Type::Record(record) = ty else { return false };
    let has = |name: &str, is: fn(&Type) -> bool| field(record, name).is_some_and(|ty| is(&ty));
    record.fields().len() == 3
        && has("status", |ty| matches!(ty, Type::U16 | Type::U32 | Type::S32 | Type::U64))
        && has("headers", is_fields)
        && has("body", |ty| matches!(ty, Type::String) || is_list_of(ty, |of| *of == Type::U8))
}

fn field(record: &Record, name: &str) -> Option<Type> {
    record.fields().find(|field| field.name == name).map(|field| field.ty)
}

fn is_list_of(ty: &Type, is: impl Fn(&Type) -> bool) -> bool {
    matches!(ty, Type::List(list) if is(&list.ty()))
}

/// Whether a type is a list of pairs of texts.
fn is_fields(ty: &Type) -> bool {
    is_list_of(ty, |of| match of {
        Type::Tuple(pair) => {
            pair.types().len() == 2 && pair.types().all(|ty| matches!(ty, Type::String))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Engine;
    use wasmtime::component::{Component, types::ComponentItem};

    /// What a function of this type returns.
    fn returns(ty: &str) -> Returns {
        let text = format!(r#"(component (import "f" (func {ty})))"#);
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
        let ty = component.component_type();
        match ty.imports(&engine).next().unwrap().1.ty {
            ComponentItem::ComponentFunc(function) => Returns::of(&function),
            _ => unreachable!(),
        }
    }

    fn told(returns: Returns, value: &[u8]) -> (Case, bool, Vec<u8>) {
        let bytes = returns.told(value).unwrap();
        let told = Told::of_bytes(&bytes).unwrap().unwrap();
        (told.case, told.is_response, told.value.to_vec())
    }

    /// If this failed, a failure would leave a route as a success, or a success as a failure.
    #[test]
    fn a_result_is_known_by_its_type() {
        let bare = returns("(result (result))");
        assert_eq!(told(bare, b"\x62ok"), (Case::Ok, false, vec![0xf6]));
        assert_eq!(told(bare, b"\x63err"), (Case::Err, false, vec![0xf6]));
        let half = returns("(result (result (error u32)))");
        assert_eq!(told(half, b"\x62ok"), (Case::Ok, false, vec![0xf6]));
        assert_eq!(told(half, b"\xa1\x63err\x07"), (Case::Err, false, vec![7]));
        // The same bytes of other types are not one.
        let text = returns("(result string)");
        assert_eq!(told(text, b"\x63err"), (Case::None, false, b"\x63err".to_vec()));
        let other = returns("(result (option u8))");
        assert_eq!(told(other, &[0xa1, 0x62, b'o', b'k', 7]).0, Case::None);
    }

    /// If this failed, a record with a field `status` would become a page of its own.
    #[test]
    fn a_response_is_known_by_its_type() {
        let record = |fields: &str| {
            let text = format!(
                r#"(component
                    (type $r (record {fields}))
                    (import "r" (type $e (eq $r)))
                    (import "f" (func $f (result $e)))
                )"#
            );
            let engine = Engine::default();
            let component = Component::new(&engine, wat::parse_str(&text).unwrap()).unwrap();
            let ty = component.component_type();
            let mut imports = ty.imports(&engine);
            let found = imports.find_map(|(_, item)| match item.ty {
                ComponentItem::ComponentFunc(function) => Some(Returns::of(&function)),
                _ => None,
            });
            found.unwrap().ok
        };
        let headers = r#"(field "headers" (list (tuple string string)))"#;
        let body = r#"(field "body" (list u8))"#;
        let status = r#"(field "status" u16)"#;
        assert!(record(&format!("{status} {headers} {body}")));
        assert!(record(&format!(r#"{status} {headers} (field "body" string)"#)));
        assert!(!record(&format!("{status} {body}")));
        assert!(!record(&format!(r#"{status} {body} (field "subject" string)"#)));
        assert!(!record(&format!(r#"{status} {headers} {body} (field "id" u8)"#)));
        assert!(!record(&format!(r#"(field "status" bool) {headers} {body}"#)));
    }
}
