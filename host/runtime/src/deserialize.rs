//! The one place where machine code that was compiled earlier is trusted. Who may call it and why:
//! `cache.rs`.
#![expect(
    unsafe_code,
    reason = "Wasmtime cannot check that a file is its own compiler's output; the seal does"
)]

use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

/// A promise of the caller: the file at this path has exactly the bytes that
/// [`Engine::precompile_component`] of this node gave, and no one but this node's user can write
/// it.
pub(crate) struct Sealed<'a>(pub(crate) &'a Path);

pub(crate) fn component(engine: &Engine, file: &Sealed<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the file is the unchanged output of `precompile_component`: the only constructor of
    // `Sealed` in use is `Cache::open`, which has just compared an HMAC over all of its bytes with
    // a key that only this node has. It stays so while it is mapped: the folder is its owner's
    // alone (mode 0700), this node never writes into a file there but renames new ones over old
    // ones, and removing a mapped file leaves its pages.
    unsafe { Component::deserialize_file(engine, file.0) }
}
