//! What the tests of this crate share: guests, a host, a way to wait.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests run this")]

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use izna_proto::{Digest, Failure, MemoryAnswer, MemoryOperation, Run, StepEnd};
use izna_runtime::{BoxFuture, Component, Config, Host, Runtime, StepLimits, Stepped, Stream};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

pub const LIMITS: StepLimits =
    StepLimits { memory_bytes_max: 64 << 20, cpu_ms_max: 10_000, payload_bytes_max: 1 << 20 };

pub fn runtime() -> Runtime {
    Runtime::new(Config { steps_max: 8, ..Config::default() }).unwrap()
}

/// The guest `name` as the build leaves it: a core module with its component type.
pub fn guest_bytes(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("guest {name}.wasm is not there ({error}): run 'make guests' first")
    })
}

pub fn guest(runtime: &Runtime, name: &str) -> Component {
    load(runtime, &guest_bytes(name))
}

pub fn load(runtime: &Runtime, bytes: &[u8]) -> Component {
    let component = runtime.admit(bytes).unwrap().component;
    runtime.load(digest(&component), &component).unwrap()
}

pub fn digest(bytes: &[u8]) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    Digest(hash.as_ref().try_into().unwrap())
}

/// A core module with the component type of a world that exports the handler and has `items` beside
/// it.
pub fn module(items: &str, wat: &str) -> Vec<u8> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut resolve = Resolve::new();
    resolve.push_dir(wit.join("process")).unwrap();
    resolve.push_dir(wit.join("memory")).unwrap();
    let mut map = SourceMap::new();
    let text = format!(
        "package test:guest;
        world guest {{ export izna:process/handler@0.1.0; {items} }}
        {WASI}"
    );
    map.push_str("guest.wit", text);
    let group = map.parse().map_err(|(_, error)| error).unwrap();
    let package = resolve.push_group(group).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(wat).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// The parts of WASI that the tests' own guests use.
const WASI: &str = "
    package wasi:io@0.2.0 {
        interface error { resource error; }
        interface poll { resource pollable { block: func(); } }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream {
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:cli@0.2.0 {
        interface stdout {
            use wasi:io/streams@0.2.0.{output-stream};
            get-stdout: func() -> output-stream;
        }
        interface exit { exit: func(status: result); }
    }
    package wasi:clocks@0.2.0 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            subscribe-duration: func(when: u64) -> pollable;
        }
    }
    package wasi:http@0.3.0 { interface client { send: func(); } }
    package izna:memori@0.1.0 { interface store { get: func(); } }
    ";

/// A module whose `start` does `body` and then ends with the CBOR number in the global `result`.
///
/// Its memory is one page; `body` may use bytes from 1024 on.
pub fn simple(items: &str, imports: &str, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            (global $result (mut i32) (i32.const 0))
            (func $end (result i32)
                (i32.store8 (i32.const 100) (global.get $result))
                (i32.store8 (i32.const 64) (i32.const 0))
                (i32.store (i32.const 68) (i32.const 100))
                (i32.store (i32.const 72) (i32.const 1))
                (i32.const 64))
            (func (export "izna:process/handler@0.1.0#start") (param i32 i32 i32 i32) (result i32)
                {body}
                (call $end))
            (func (export "izna:process/handler@0.1.0#resume")
                (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (call $end))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (i32.const 2048)))"#
    );
    module(items, &wat)
}

/// The CBOR of a small number.
pub fn number(number: u64) -> Bytes {
    let mut bytes = Vec::new();
    write_head(&mut bytes, 0, number);
    Bytes::from(bytes)
}

/// The CBOR array of these numbers.
pub fn numbers(numbers: &[u64]) -> Bytes {
    let mut bytes = Vec::new();
    write_head(&mut bytes, 4, numbers.len() as u64);
    for number in numbers {
        write_head(&mut bytes, 0, *number);
    }
    Bytes::from(bytes)
}

fn write_head(bytes: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    match number {
        0..24 => bytes.push(major | u8::try_from(number).unwrap()),
        24..0x100 => bytes.extend([major | 24, u8::try_from(number).unwrap()]),
        _ => {
            bytes.push(major | 26);
            bytes.extend(u32::try_from(number).unwrap().to_be_bytes());
        }
    }
}

pub fn start(input: Bytes) -> Run {
    Run::Start { input }
}

/// Run one step to its end.
pub fn run(component: &Component, function: &str, run: Run, limits: StepLimits) -> Stepped {
    block_on(component.step(function.into(), run, limits, Arc::new(Notes::default())))
}

/// How a step of `function` with these arguments ends.
pub fn end(component: &Component, function: &str, arguments: &[u64]) -> StepEnd {
    run(component, function, start(numbers(arguments)), LIMITS).end
}

pub fn failure(stepped: Stepped) -> Failure {
    match stepped.end {
        StepEnd::Failed(failure) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}

/// A host that notes what it is told, and has no memory.
#[derive(Default)]
pub struct Notes {
    pub lines: Mutex<Vec<String>>,
    pub operations: Mutex<Vec<(String, MemoryOperation)>>,
}

impl Host for Notes {
    fn memory(&self, key: String, operation: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        self.operations.lock().unwrap().push((key, operation));
        Box::pin(async { Ok(None) })
    }

    fn component(&self) -> Option<&str> {
        Some("tested")
    }

    fn log(&self, stream: Stream, line: &str) {
        self.lines.lock().unwrap().push(format!("{stream}: {line}"));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park_timeout(Duration::from_secs(30)),
        }
    }
}

/// A folder that goes when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("izna-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
