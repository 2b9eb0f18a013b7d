//! What a deploy is told about bytes that cannot run here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests run this")]

mod common;

use common::*;
use izna_runtime::{Config, Error, Kind, Runtime};
use wit_component::ComponentEncoder;

fn refused(bytes: &[u8]) -> String {
    runtime().admit(bytes).unwrap_err().to_string()
}

/// A component of WAT, with nothing about worlds in it.
fn component(wat: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {wat})")).unwrap()
}

/// If this failed, what the build makes could not be deployed, or `izna inspect` would say nothing
/// about it.
#[test]
fn guests_are_admitted_and_described() {
    let runtime = runtime();
    let admitted = runtime.admit(&guest_bytes("cache")).unwrap();
    let description = &admitted.description;
    assert_eq!(description.kind, Kind::Explicit);
    assert_eq!(description.bytes, admitted.component.len());
    let store = description.imports.iter().find(|i| i.name == "izna:memory/store@0.1.0").unwrap();
    assert!(
        store
            .functions
            .contains(&"get: func(key: string) -> result<option<list<u8>>, error>".to_string())
    );
    let handler = &description.exports[0];
    assert_eq!(handler.name, "izna:process/handler@0.1.0");
    assert_eq!(
        handler.functions,
        [
            "start: func(function: string, input: list<u8>) -> step",
            "resume: func(function: string, continuation: list<u8>, outcome: outcome) -> step",
        ]
    );
    assert!(description.memory_bytes >= 65536 && description.function_bytes > 0);
    assert!(description.producers.iter().any(|line| line == "language: Rust"));
    // What is admitted is admitted again, unchanged: nodes check what they get from one another.
    assert_eq!(runtime.admit(&admitted.component).unwrap().component, admitted.component);
}

/// If this failed, the answer to a wrong file would be "unexpected end".
#[test]
fn other_files_are_named() {
    assert_eq!(refused(b""), "not a WebAssembly file: it is empty");
    assert_eq!(
        refused(b"<!DOCTYPE html>"),
        "not a WebAssembly file: it starts with `<!DO` and has 15 bytes"
    );
    assert_eq!(
        refused(b"\x7fELF\x02\x01\x01\0"),
        "not a WebAssembly file: it starts with `\\x7fELF` and has 8 bytes"
    );
    assert_eq!(refused(b"\0"), "not a WebAssembly file: it starts with `\\x00` and has 1 bytes");
    assert_eq!(
        refused(b"\n (component)"),
        "this is WebAssembly text; convert it: `wasm-tools parse FILE -o FILE.wasm`"
    );
    assert_eq!(
        refused(b"\0asm\x05\0\0\0"),
        "neither a WebAssembly component nor a core module: version and layer are 0x00000005"
    );
    assert!(refused(b"\0asm\x0d").contains("the file is truncated"));
}

/// If this failed, machine code from outside would run on the node.
#[test]
fn precompiled_code_is_refused() {
    let code = wasmtime::Engine::default().precompile_component(&component("")).unwrap();
    assert!(refused(&code).starts_with("this is precompiled code (.cwasm), which is not accepted"));
}

/// If this failed, a damaged file would be a trap at the first request.
#[test]
fn damaged_components_are_refused() {
    let whole = runtime().admit(&guest_bytes("echo")).unwrap().component;
    let cut = refused(&whole[..whole.len() / 2]);
    assert!(cut.starts_with("invalid WebAssembly at byte 0x"), "{cut}");
    assert!(cut.contains("the file is truncated"), "{cut}");
    let mut flipped = whole;
    flipped[9] ^= 0x80;
    let flipped = refused(&flipped);
    assert!(flipped.starts_with("invalid WebAssembly at byte 0x"), "{flipped}");
}

/// If this failed, nobody would know how to make a component of a core module.
#[test]
fn core_modules_need_a_component_type() {
    let plain = refused(&wat::parse_str("(module)").unwrap());
    assert!(plain.starts_with("this is a core module without a component type"), "{plain}");
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write"
        (func (param i32 i32 i32 i32) (result i32))))"#;
    let wasi = refused(&wat::parse_str(wasi).unwrap());
    assert!(
        wasi.ends_with("`izna component new` makes a component of one that has a WIT world"),
        "{wasi}"
    );
    let untrue = refused(&module("", "(module)"));
    assert!(untrue.starts_with("cannot convert the core module to a component: "), "{untrue}");
}

/// If this failed, a component for the future would be "malformed".
#[test]
fn disabled_features_are_named() {
    let inside = |module: &str| refused(&component(&format!("(core module {module})")));
    let threads = inside("(memory 1 1 shared)");
    assert!(
        threads.starts_with("the component needs `threads`, which is not enabled: "),
        "{threads}"
    );
    let memory64 = inside("(memory i64 1)");
    assert!(memory64.starts_with("the component needs `memory64`"), "{memory64}");
    let exceptions = inside("(tag)");
    assert!(exceptions.contains("`exceptions`"), "{exceptions}");
    let collected = inside("(type (struct))");
    assert!(collected.contains("garbage collection"), "{collected}");
    let future = refused(&component(
        r#"(import "f" (func async (result u32)))
           (type $f (future u32)) (core func (canon future.new $f))"#,
    ));
    assert!(future.contains("async functions of the component model"), "{future}");
}

/// If this failed, the author of a component for something else would get a linker's words.
#[test]
fn other_worlds_are_refused() {
    assert_eq!(
        refused(&component("")),
        "the component does not export `izna:process/handler@0.1.0`; it exports nothing; \
         ordinary functions on values would be supported as well"
    );
    let exporting = |name: &str| {
        refused(&component(&format!("(instance $i) (export \"{name}\" (instance $i))")))
    };
    let http = exporting("wasi:http/handler@0.3.0");
    assert!(http.contains("of wasi:http, `incoming-handler` of WASI 0.2 is supported"), "{http}");
    let command = exporting("wasi:cli/run@0.2.0");
    assert!(command.ends_with("it is a command-line program, not a service"), "{command}");
    let version = exporting("izna:process/handler@0.7.0");
    assert!(version.ends_with("rebuild it with this platform's SDK"), "{version}");
}

/// What a direct component has beside what it imports.
const EXPORT: &str = r#"
    (core module $m (func (export "f") (result i32) i32.const 1))
    (core instance $m (instantiate $m))
    (func $f (result u32) (canon lift (core func $m "f")))
    (instance $own (export "f" (func $f)))
    (export "a:b/own@1.0.0" (instance $own))"#;

/// If this failed, an ordinary component would need something of Izna in it.
#[test]
fn ordinary_components_are_direct() {
    let runtime = runtime();
    let described = |bytes: &[u8]| runtime.admit(bytes).unwrap().description;
    let greeter = described(&guest_bytes("wrong-world"));
    assert_eq!(greeter.kind, Kind::Direct);
    let functions: Vec<String> = greeter.functions().collect();
    assert_eq!(functions, ["acme:greeting/greeter@1.0.0.greet"]);
    assert_eq!(greeter.needs().count(), 0);
    let album = described(&guest_bytes("album"));
    let needs: Vec<&str> = album.needs().map(|import| import.name.as_str()).collect();
    assert_eq!(needs, ["demo:paint/painter@0.2.0"]);
    assert_eq!(album.function("walk").unwrap(), "demo:album/album@0.1.0.walk");
    assert!(album.function("draw").is_err());
}

/// If this failed, a component would be deployed whose calls cannot leave its instance.
#[test]
fn what_cannot_be_a_link_is_named_with_its_reason() {
    let importing = |import: &str| refused(&component(&format!("{import}{EXPORT}")));
    let begins = "the component imports";
    let cannot = "which cannot be a call of another component:";
    assert_eq!(
        importing(r#"(import "a:b/c@1.0.0" (instance (export "r" (type (sub resource)))))"#),
        format!(
            "{begins} `r` of `a:b/c@1.0.0`, {cannot} it is a resource, which cannot leave its instance"
        )
    );
    let held = r#"(import "a:b/c@1.0.0" (instance
        (export "r" (type $r (sub resource)))
        (type $l (list (own $r)))
        (export "f" (func (param "x" (tuple u8 $l))))))"#;
    assert_eq!(
        importing(held),
        format!(
            "{begins} `f` of `a:b/c@1.0.0`, {cannot} its parameter `x` contains the resource `r`"
        )
    );
    assert_eq!(
        importing(r#"(import "g" (func))"#),
        format!(
            "{begins} `g` of `the world`, {cannot} only functions of an interface can be; move it \
             into one"
        )
    );
    let unknown =
        importing(r#"(import "wasi:keyvalue/store@0.2.0" (instance (export "f" (func))))"#);
    assert!(unknown.contains("use izna:memory/store for a shared key-value store"), "{unknown}");
}

/// If this failed, a component with the right name and the wrong types would fail at its first
/// request.
#[test]
fn wrong_signatures_are_refused() {
    let missing =
        refused(&component(r#"(instance $i) (export "izna:process/handler@0.1.0" (instance $i))"#));
    assert!(
        missing.starts_with(
            "`izna:process/handler@0.1.0` of the component differs from the platform's in \
             `start`: it is missing; expected `start: func("
        ),
        "{missing}"
    );
    let numbered = refused(&component(
        r#"(core module $m (func (export "f") (param i32)))
           (core instance $m (instantiate $m))
           (func $f (param "function" u32) (canon lift (core func $m "f")))
           (instance $i (export "start" (func $f)) (export "resume" (func $f)))
           (export "izna:process/handler@0.1.0" (instance $i))"#,
    ));
    assert!(
        numbered.contains(
            "in `start`: it is `start: func(function: u32)`; expected `start: func(function: string, \
             input: list<u8>) -> variant { done(list<u8>), "
        ),
        "{numbered}"
    );
}

/// If this failed, a component would be deployed that can never be linked.
#[test]
fn imports_that_nobody_grants_are_named() {
    let greedy = refused(&guest_bytes("greedy"));
    assert!(
        greedy.starts_with(
            "unsupported imports: `acme:secret/vault@1.0.0`; \
             supported are izna:memory@0.1.0, wasi:cli@0.2"
        ),
        "{greedy}"
    );
    let near = r#"(import "izna:memori/store@0.1.0" "get" (func $get))"#;
    let near = refused(&simple("import izna:memori/store@0.1.0;", near, "(call $get)"));
    assert!(near.contains("(did you mean izna:memory/store@0.1.0?)"), "{near}");
    let newer = r#"(import "wasi:http/client@0.3.0" "send" (func $send))"#;
    let newer = refused(&simple("import wasi:http/client@0.3.0;", newer, "(call $send)"));
    assert!(
        newer.contains("(of this package, `types` and `outgoing-handler` are supported)"),
        "{newer}"
    );
}

/// If this failed, an upload could fill a node's memory or keep its compiler busy for ever.
#[test]
fn sizes_are_limited() {
    let bytes = guest_bytes("echo");
    let refused = |config: Config| {
        Runtime::new(Config { steps_max: 1, ..config }).unwrap().admit(&bytes).unwrap_err()
    };
    let small = refused(Config { component_bytes_max: 1000, ..Config::default() });
    assert!(matches!(small, Error::TooBig { max: 1000, .. }), "{small}");
    let function = refused(Config { function_bytes_max: 1000, ..Config::default() });
    assert!(matches!(function, Error::FunctionTooBig { max: 1000, .. }), "{function}");
    let memory = refused(Config { memory_bytes_max: 1 << 16, ..Config::default() });
    assert!(matches!(memory, Error::Memory { max: 65536, .. }), "{memory}");
}

/// If this failed, bytes of a deploy could end a node.
#[test]
fn damaged_bytes_never_panic() {
    let runtime = runtime();
    let module = guest_bytes("wrong-world");
    let component = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let own = runtime.admit(&simple("", "", "")).unwrap().component;
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = move |max: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random).unwrap() % max
    };
    for round in 0..1000 {
        let source = [&module, &component, &own][round % 3];
        let mut bytes = source.clone();
        if below(3) == 0 {
            bytes.truncate(below(bytes.len()));
        }
        for _ in 0..below(4) {
            let at = below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << below(8);
            }
        }
        if let Err(Error::Describe { reason }) = runtime.admit(&bytes) {
            assert!(!reason.contains("the decoder failed"), "round {round}");
        }
    }
}
