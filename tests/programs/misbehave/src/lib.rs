//! A function for every way to misbehave: the tests show that each ends its step and nothing else.

use izna_sdk::{Bytes, Failure, Outcome, Result, Step, call};
use std::hint::black_box;

izna_sdk::component! {
    spin,
    spin_ms,
    hog,
    trap,
    panic,
    fail,
    huge,
    deep,
    bad_cbor,
    loop_call => loop_ended,
    call_huge => ended,
    call_unlinked => ended,
    keep_huge => ended_with,
}

/// Never ends.
fn spin() -> Result<()> {
    loop {
        black_box(());
    }
}

/// Runs about this many million iterations: in the order of a millisecond each.
fn spin_ms(millions: u64) -> Result<u64> {
    let mut value = millions;
    for _ in 0..millions.saturating_mul(1_000_000) {
        value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    Ok(value)
}

/// Takes memory until it gets no more.
fn hog() -> Result<u64> {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1u8; 1024 * 1024]));
    }
}

/// Runs into an unreachable instruction.
fn trap() -> Result<()> {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    unreachable!()
}

/// Panics, which is a trap too.
fn panic(text: Option<String>) -> Result<()> {
    panic!("{}", text.as_deref().unwrap_or("as asked"))
}

/// Fails with this text, as a component should.
fn fail(text: Option<String>) -> Result<()> {
    Err(Failure::Failed(text.unwrap_or_else(|| "as asked".into())))
}

/// A result of this many bytes.
fn huge(bytes: usize) -> Result<Bytes> {
    Ok(Bytes::from(vec![7; bytes]))
}

/// Recursion without an end.
fn deep() -> Result<u64> {
    Ok(deeper(black_box(1)))
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the point")]
fn deeper(depth: u64) -> u64 {
    // An array, so that each call takes of the stack in memory as well as of the runtime's.
    let room = black_box([depth; 8]);
    deeper(depth + 1) + room.iter().sum::<u64>()
}

/// A result that is not CBOR.
fn bad_cbor() -> Result<Step> {
    Ok(Step::Done(vec![0xff, 0x00, 0x1c]))
}

/// Calls itself without an end, one call inside another.
fn loop_call(depth: Option<u64>) -> Result<Step<u64>> {
    let depth = depth.unwrap_or(0);
    call("misbehave", "loop_call", (depth + 1,)).then(depth)
}

fn loop_ended(_: u64, outcome: Outcome<u64>) -> Result<u64> {
    outcome
}

/// A call with an argument of this many bytes.
fn call_huge(bytes: usize) -> Result<Step<()>> {
    call("misbehave", "fail", (Bytes::from(vec![7; bytes]),)).then(())
}

/// A call of a component that the manifest does not link.
fn call_unlinked() -> Result<Step<()>> {
    call("nobody", "nothing", ()).then(())
}

fn ended(_: (), outcome: Outcome<()>) -> Result<()> {
    outcome
}

/// A continuation of this many bytes.
fn keep_huge(bytes: usize) -> Result<Step<Bytes>> {
    call("misbehave", "huge", (1,)).then(Bytes::from(vec![7; bytes]))
}

fn ended_with(kept: Bytes, _: Outcome<Bytes>) -> Result<usize> {
    Ok(kept.len())
}
