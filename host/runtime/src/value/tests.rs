//! Values of random types, there and back, with Wasmtime's own dynamic values as the judge: what is
//! lowered here is lifted by them, and the other way round.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ciborium::Value;
use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, TestCaseError, TestRunner};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, SourceMap};

use super::{Arguments, Returned};

/// A type, as far as a component can have one.
#[derive(Debug, Clone)]
enum Ty {
    Bool,
    Int(&'static str, i128, i128),
    F32,
    F64,
    Char,
    String,
    Bytes,
    List(Box<Ty>),
    Record(Vec<Ty>),
    Tuple(Vec<Ty>),
    Variant(Vec<Option<Ty>>),
    Enum(usize),
    Option(Box<Ty>),
    Result(Option<Box<Ty>>, Option<Box<Ty>>),
    Flags(usize),
}

const INTS: [Ty; 8] = [
    Ty::Int("u8", 0, u8::MAX as i128),
    Ty::Int("u16", 0, u16::MAX as i128),
    Ty::Int("u32", 0, u32::MAX as i128),
    Ty::Int("u64", 0, u64::MAX as i128),
    Ty::Int("s8", i8::MIN as i128, i8::MAX as i128),
    Ty::Int("s16", i16::MIN as i128, i16::MAX as i128),
    Ty::Int("s32", i32::MIN as i128, i32::MAX as i128),
    Ty::Int("s64", i64::MIN as i128, i64::MAX as i128),
];

fn any_type() -> impl Strategy<Value = Ty> {
    let leaf = prop_oneof![
        prop::sample::select(INTS.to_vec()),
        prop::sample::select(vec![Ty::Bool, Ty::F32, Ty::F64, Ty::Char, Ty::String, Ty::Bytes]),
        (1..300usize).prop_map(Ty::Enum),
        (1..32usize).prop_map(Ty::Flags),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Ty::List),
            boxed.clone().prop_map(Ty::Option),
            prop::collection::vec(inner.clone(), 1..7).prop_map(Ty::Record),
            prop::collection::vec(inner.clone(), 1..5).prop_map(Ty::Tuple),
            prop::collection::vec(prop::option::of(inner), 1..6).prop_map(Ty::Variant),
            (prop::option::of(boxed.clone()), prop::option::of(boxed))
                .prop_map(|(ok, err)| Ty::Result(ok, err)),
        ]
    })
}

/// Names in an order that is not that of their bytes.
fn name(index: usize) -> String {
    let length = 1 + (index * 7 + 3) % 5;
    format!("n{}-{index}", "x".repeat(length))
}

/// The type in WIT; declarations that it needs are added.
fn wit(ty: &Ty, declarations: &mut Vec<String>) -> String {
    let declare = |keyword: &str, items: Vec<String>, declarations: &mut Vec<String>| {
        let own = format!("t{}", declarations.len());
        declarations.push(format!("{keyword} {own} {{ {} }}", items.join(", ")));
        own
    };
    match ty {
        Ty::Bool => "bool".into(),
        Ty::Int(name, ..) => (*name).into(),
        Ty::F32 => "f32".into(),
        Ty::F64 => "f64".into(),
        Ty::Char => "char".into(),
        Ty::String => "string".into(),
        Ty::Bytes => "list<u8>".into(),
        Ty::List(ty) => format!("list<{}>", wit(ty, declarations)),
        Ty::Option(ty) => format!("option<{}>", wit(ty, declarations)),
        Ty::Tuple(types) => {
            let types: Vec<String> = types.iter().map(|ty| wit(ty, declarations)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Ty::Result(ok, err) => {
            let part = |ty: &Option<Box<Ty>>, declarations: &mut Vec<String>| {
                ty.as_ref().map_or_else(|| "_".into(), |ty| wit(ty, declarations))
            };
            let (ok, err) = (part(ok, declarations), part(err, declarations));
            match (ok.as_str(), err.as_str()) {
                ("_", "_") => "result".into(),
                (ok, "_") => format!("result<{ok}>"),
                (ok, err) => format!("result<{ok}, {err}>"),
            }
        }
        Ty::Record(fields) => {
            let fields = fields.iter().enumerate();
            let fields = fields
                .map(|(index, ty)| format!("{}: {}", name(index), wit(ty, declarations)))
                .collect();
            declare("record", fields, declarations)
        }
        Ty::Variant(cases) => {
            let cases = cases.iter().enumerate();
            let cases = cases
                .map(|(index, ty)| match ty {
                    Some(ty) => format!("{}({})", name(index), wit(ty, declarations)),
                    None => name(index),
                })
                .collect();
            declare("variant", cases, declarations)
        }
        Ty::Enum(count) => declare("enum", (0..*count).map(name).collect(), declarations),
        Ty::Flags(count) => declare("flags", (0..*count).map(name).collect(), declarations),
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn sorted(mut fields: Vec<(String, Value)>) -> Value {
    fields.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    Value::Map(fields.into_iter().map(|(name, value)| (Value::Text(name), value)).collect())
}

fn case(name: String, payload: Option<Value>) -> Value {
    match payload {
        Some(payload) => Value::Map(vec![(Value::Text(name), payload)]),
        None => Value::Text(name),
    }
}

/// A value of a type, as `docs/values.md` writes it.
fn any_value(ty: &Ty) -> BoxedStrategy<Value> {
    let optional = |ty: &Option<Ty>, name: String| match ty {
        Some(ty) => any_value(ty).prop_map(move |v| case(name.clone(), Some(v))).boxed(),
        None => Just(case(name, None)).boxed(),
    };
    match ty {
        Ty::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Ty::Int(_, min, max) => prop_oneof![Just(*min), Just(*max), *min..=*max]
            .prop_map(|number| Value::Integer(number.try_into().unwrap()))
            .boxed(),
        Ty::F32 => any::<f32>().prop_map(|v| Value::Float(v.into())).boxed(),
        Ty::F64 => any::<f64>().prop_map(Value::Float).boxed(),
        Ty::Char => any::<char>().prop_map(text).boxed(),
        Ty::String => any::<String>().prop_map(text).boxed(),
        Ty::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        Ty::List(ty) if matches!(**ty, Ty::Int("u8", ..)) => any_value(&Ty::Bytes),
        Ty::List(ty) => prop::collection::vec(any_value(ty), 0..4).prop_map(Value::Array).boxed(),
        Ty::Tuple(types) => {
            let values: Vec<_> = types.iter().map(any_value).collect();
            values.prop_map(Value::Array).boxed()
        }
        Ty::Record(fields) => {
            let values: Vec<_> = fields.iter().map(any_value).collect();
            values
                .prop_map(|values| {
                    sorted(values.into_iter().enumerate().map(|(i, v)| (name(i), v)).collect())
                })
                .boxed()
        }
        Ty::Variant(cases) => {
            let cases = cases.iter().enumerate();
            let cases: Vec<_> = cases.map(|(index, ty)| optional(ty, name(index))).collect();
            proptest::strategy::Union::new(cases).boxed()
        }
        Ty::Enum(count) => (0..*count).prop_map(|index| text(name(index))).boxed(),
        Ty::Flags(count) => {
            let names: Vec<String> = (0..*count).map(name).collect();
            prop::sample::subsequence(names, 0..=*count)
                .prop_map(|names| Value::Array(names.into_iter().map(Value::Text).collect()))
                .boxed()
        }
        Ty::Option(ty) => {
            let nested = matches!(**ty, Ty::Option(_));
            let wrap = move |v| if nested { Value::Array(vec![v]) } else { v };
            prop_oneof![Just(Value::Null), any_value(ty).prop_map(wrap)].boxed()
        }
        Ty::Result(ok, err) => {
            let plain = |ty: &Option<Box<Ty>>| ty.as_ref().map(|ty| (**ty).clone());
            prop_oneof![optional(&plain(ok), "ok".into()), optional(&plain(err), "err".into())]
                .boxed()
        }
    }
}

/// What a dynamic value is in CBOR: written anew, from the document alone.
fn told(value: &Val) -> Value {
    let optional = |value: &Option<Box<Val>>| value.as_ref().map(|value| told(value));
    match value {
        Val::Bool(v) => Value::Bool(*v),
        Val::U8(v) => Value::from(*v),
        Val::U16(v) => Value::from(*v),
        Val::U32(v) => Value::from(*v),
        Val::U64(v) => Value::from(*v),
        Val::S8(v) => Value::from(*v),
        Val::S16(v) => Value::from(*v),
        Val::S32(v) => Value::from(*v),
        Val::S64(v) => Value::from(*v),
        Val::Float32(v) => Value::Float((*v).into()),
        Val::Float64(v) => Value::Float(*v),
        Val::Char(v) => text(*v),
        Val::String(v) => text(v.as_str()),
        Val::List(v) => match v.iter().map(|v| if let Val::U8(v) = v { Some(*v) } else { None }) {
            bytes if !v.is_empty() && bytes.clone().all(|v| v.is_some()) => {
                Value::Bytes(bytes.flatten().collect())
            }
            _ => Value::Array(v.iter().map(told).collect()),
        },
        Val::Tuple(v) => Value::Array(v.iter().map(told).collect()),
        Val::Record(v) => sorted(v.iter().map(|(name, v)| (name.to_string(), told(v))).collect()),
        Val::Variant(name, v) => case(name.to_string(), optional(v)),
        Val::Enum(name) => text(name.as_str()),
        Val::Option(None) => Value::Null,
        Val::Option(Some(v)) if matches!(**v, Val::Option(_)) => Value::Array(vec![told(v)]),
        Val::Option(Some(v)) => told(v),
        Val::Result(Ok(v)) => case("ok".into(), optional(v)),
        Val::Result(Err(v)) => case("err".into(), optional(v)),
        Val::Flags(v) => Value::Array(v.iter().map(|name| text(name.as_str())).collect()),
        other => panic!("no value: {other:?}"),
    }
}

/// Floats are compared by their bits, every NaN alike; an empty list of bytes is told as a list.
fn plain(value: &Value) -> String {
    format!("{value:?}").replace("Bytes([])", "Array([])")
}

/// A component whose function `same` gives its argument to an import of the same type, and gives
/// back what that gave back.
struct Forwarder {
    engine: Engine,
    component: Component,
    linker: Linker<()>,
    seen: Arc<Mutex<Vec<Val>>>,
}

impl Forwarder {
    fn new(engine: &Engine, ty: &Ty) -> Self {
        let mut declarations = Vec::new();
        let ty = wit(ty, &mut declarations);
        let text = format!(
            "package test:values;
            interface values {{ {} same: func(v: {ty}) -> {ty}; }}
            world forwarder {{ import values; export values; }}",
            declarations.join("\n")
        );
        let mut resolve = Resolve::new();
        let mut map = SourceMap::new();
        map.push_str("values.wit", &text);
        let group = map.parse().map_err(|(_, error)| error).unwrap();
        let package = resolve.push_group(group).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(forwarding(&resolve)).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let bytes = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
        let component = Component::from_binary(engine, &bytes).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut linker = Linker::new(engine);
        let note = seen.clone();
        let mut values = linker.instance("test:values/values").unwrap();
        values
            .func_new("same", move |_, _, params, results| {
                note.lock().unwrap().extend_from_slice(params);
                results.clone_from_slice(params);
                Ok(())
            })
            .unwrap();
        Self { engine: engine.clone(), component, linker, seen }
    }

    /// What comes back for these bytes.
    fn call(&self, input: Bytes) -> wasmtime::Result<Bytes> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.linker.instantiate(&mut store, &self.component)?;
        let within = self.component.get_export_index(None, "test:values/values").unwrap();
        let index = self.component.get_export_index(Some(&within), "same").unwrap();
        let func = instance.get_func(&mut store, index).unwrap();
        let func = func.typed::<Arguments, Returned>(&store)?;
        let arguments = Arguments { input, names: Arc::new(["v".to_owned()]) };
        Ok(func.call(&mut store, arguments)?.0)
    }
}

/// The module of a forwarder: its core values are passed on as they are.
fn forwarding(resolve: &Resolve) -> String {
    let (_, interface) = resolve.interfaces.iter().next().unwrap();
    let function = &interface.functions["same"];
    let export = resolve.wasm_signature(AbiVariant::GuestExport, function);
    let import = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let types = |types: &[WasmType]| {
        let name = |ty: &WasmType| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => "i64",
            WasmType::F32 => "f32",
            WasmType::F64 => "f64",
            _ => "i32",
        };
        types.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let pass: String =
        (0..export.params.len()).map(|local| format!("(local.get {local}) ")).collect();
    let (area, returned) =
        if import.retptr { ("(i32.const 1024)", "(i32.const 1024)") } else { ("", "") };
    format!(
        r#"(module
            (import "test:values/values" "same"
                (func $same (param {}) (result {})))
            (memory (export "memory") 4)
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (block $fits
                    (br_if $fits (i32.le_u (global.get $next)
                        (i32.mul (memory.size) (i32.const 65536))))
                    (drop (memory.grow (i32.add (i32.const 1)
                        (i32.div_u (local.get 3) (i32.const 65536))))))
                (local.get $at))
            (func (export "test:values/values#same") (param {}) (result {})
                {pass} {area} (call $same) {returned}))"#,
        types(&import.params),
        types(&import.results),
        types(&export.params),
        types(&export.results),
    )
}

fn encoded(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes.into()
}

/// Check so many cases; as a fuzzer (`make fuzz`), others and others for so many seconds.
fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seconds = std::env::var("IZNA_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let settings = Settings { cases, failure_persistence: None, ..Settings::default() };
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        TestRunner::new(settings.clone()).run(strategy, &test).unwrap();
        rounds += 1;
    }
    eprintln!("{} types", u64::from(cases) * rounds);
}

/// If this failed, a component would get other values than it was sent, or send others than it
/// means.
#[test]
fn values_of_every_type_survive() {
    let engine = Engine::new(&Config::new()).unwrap();
    let typed = any_type().prop_flat_map(|ty| {
        let values = prop::collection::vec(any_value(&ty), 4);
        (Just(ty), values)
    });
    check(150, &typed, |(ty, values)| {
        let forwarder = Forwarder::new(&engine, &ty);
        for value in values {
            let input = encoded(&Value::Array(vec![value.clone()]));
            let result =
                forwarder.call(input).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            let seen = forwarder.seen.lock().unwrap().pop().unwrap();
            prop_assert_eq!(plain(&told(&seen)), plain(&value));
            prop_assert_eq!(result, encoded(&value));
        }
        Ok(())
    });
}

/// If this failed, bytes from anywhere could end the node, or what is no value be taken for one.
#[test]
fn malformed_values_are_refused() {
    let engine = Engine::new(&Config::new()).unwrap();
    let typed = any_type().prop_flat_map(|ty| {
        let mutations = prop::collection::vec((any::<u16>(), any::<u8>(), any::<bool>()), 1..4);
        let mutated = prop::collection::vec((any_value(&ty), mutations), 40);
        (Just(ty), mutated)
    });
    check(60, &typed, |(ty, mutated)| {
        let forwarder = Forwarder::new(&engine, &ty);
        for (value, mutations) in mutated {
            let mut bytes = encoded(&Value::Array(vec![value])).to_vec();
            for (at, byte, cut) in mutations {
                let at = usize::from(at) % bytes.len().max(1);
                if cut {
                    bytes.truncate(at);
                } else if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            forwarder.seen.lock().unwrap().clear();
            let bytes = Bytes::from(bytes);
            // What is taken all the same is a value, and comes back as one; the same is taken again.
            if let Ok(result) = forwarder.call(bytes) {
                let again: Value = ciborium::from_reader(&result[..]).unwrap();
                prop_assert_eq!(&encoded(&again), &result);
                let seen = forwarder.seen.lock().unwrap().pop().unwrap();
                prop_assert_eq!(plain(&told(&seen)), plain(&again));
                let input = encoded(&Value::Array(vec![again]));
                let second = forwarder.call(input);
                prop_assert_eq!(second.map_err(|e| TestCaseError::fail(format!("{e:?}")))?, result);
            }
        }
        Ok(())
    });
    for bytes in
        [&b""[..], &[0x9f; 1000], &[0x81, 0x9b, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &[0xff]]
    {
        let forwarder = Forwarder::new(&engine, &Ty::List(Box::new(Ty::List(Box::new(Ty::Bool)))));
        assert!(forwarder.call(Bytes::copy_from_slice(bytes)).is_err());
    }
}

/// If this failed, a record's fields would be told apart by marks that there are not enough of.
#[test]
fn records_have_at_most_1024_fields() {
    let engine = Engine::new(&Config::new()).unwrap();
    for (count, taken) in [(1024, true), (1025, false)] {
        let ty = Ty::Record((0..count).map(|_| INTS[0].clone()).collect());
        let fields =
            (0..count).map(|index| (name(index), Value::from(index as u64 % 256))).collect();
        let value = sorted(fields);
        let result = Forwarder::new(&engine, &ty).call(encoded(&Value::Array(vec![value.clone()])));
        match result {
            Ok(result) => assert!(taken && result == encoded(&value)),
            Err(error) => {
                let told = format!("{error:?}");
                assert!(!taken && told.contains("a record of more than 1024 fields"), "{told}");
            }
        }
    }
}
