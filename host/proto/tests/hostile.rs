//! Bytes from anywhere: decoding them never panics, never takes much more memory than they do, and
//! what is taken has no second encoding.
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

#[allow(dead_code, reason = "each test uses some of it")]
mod any;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use izna_proto::{
    Bulletin, Message, Process, TableEntry, Wire, Writer,
    cbor::{Form, Limits, check},
};
use proptest::{collection::vec, prelude::*};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that this thread holds.
struct Counting;

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: it only counts; the system's allocator does the work under the same contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most memory that decoding may take for each byte of input: the least line of a table takes 4
/// bytes on the wire and 104 in memory, and a growing vector is there twice while it moves.
const FACTOR_MAX: usize = 80;

/// Decode, and return the most bytes that were held meanwhile.
fn peak<T: Wire>(input: &Bytes) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    let _ = T::from_bytes(input.clone());
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

fn decode_all(input: Vec<u8>) -> Result<(), TestCaseError> {
    let _ = check(&input, Form::Any, &Limits::default());
    let deterministic = check(&input, Form::Deterministic, &Limits::default());
    let input = Bytes::from(input);
    let bound = input.len() * FACTOR_MAX + 1024;
    prop_assert!(peak::<Message>(&input) <= bound);
    prop_assert!(peak::<Process>(&input) <= bound);
    prop_assert!(peak::<Bulletin>(&input) <= bound);
    prop_assert!(peak::<TableEntry>(&input) <= bound);
    if Message::from_bytes(input).is_ok() {
        prop_assert_eq!(deterministic, Ok(()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// If this fails, random bytes stop a node or use up its memory.
    #[test]
    fn random_bytes_do_no_harm(input in vec(any::<u8>(), 0..300)) {
        decode_all(input)?;
    }

    /// If this fails, a nearly good message stops a node or uses up its memory.
    #[test]
    fn mutated_messages_do_no_harm(
        message in any::message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in option_of_cut(),
    ) {
        let mut input = message.to_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(input.len());
            input[place] = byte;
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len()));
        }
        decode_all(input)?;
    }

    /// If this fails, a message is acted on though its end was lost.
    #[test]
    fn no_prefix_is_a_message(message in any::message(), cut in any::<prop::sample::Index>()) {
        let input = message.to_bytes();
        let cut = input.slice(..cut.index(input.len()));
        prop_assert!(Message::from_bytes(cut).is_err());
    }
}

fn option_of_cut() -> impl Strategy<Value = Option<prop::sample::Index>> {
    proptest::option::weighted(0.2, any::<prop::sample::Index>())
}

/// If this fails, a claimed count alone makes a node allocate.
#[test]
fn a_claimed_count_is_not_trusted_with_memory() {
    let mut writer = Writer::new();
    writer.array(2);
    writer.unsigned(9u8);
    writer.array(65_536);
    let mut input = writer.finish().to_vec();
    assert!(peak::<Message>(&Bytes::from(input.clone())) < 1024);
    input.resize(65_536, 0);
    let peak = peak::<Message>(&Bytes::from(input));
    assert!(peak <= 65_536 + 1024, "{peak} bytes for 65536");
}

/// If this fails, the smallest lines cost a node much more memory than their sender.
#[test]
fn the_smallest_lines_stay_within_the_factor() {
    let mut writer = Writer::new();
    writer.array(2);
    writer.unsigned(9u8);
    writer.array(65_536);
    let mut input = writer.finish().to_vec();
    for _ in 0..65_536 {
        input.extend([0x83, 0x60, 0x00, 0xf6]);
    }
    let input = Bytes::from(input);
    assert!(Message::from_bytes(input.clone()).is_ok());
    let peak = peak::<Message>(&input);
    assert!(peak <= input.len() * FACTOR_MAX, "{peak} bytes for {}", input.len());
}
