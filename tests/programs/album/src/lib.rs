//! Fills albums with what a painter draws. Plain `wit-bindgen`: nothing of Izna is in it, and it
//! does not know that the painter may be on another machine.

wit_bindgen::generate!({ world: "albums", path: "wit", generate_all });

use demo::paint::painter;
use exports::demo::album::album::{Guest, Notes, Picture, Size};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::random::random;

struct Album;

impl Guest for Album {
    fn page(title: String, size: Size, colors: Vec<u8>) -> Result<Vec<Picture>, String> {
        let draw = |color: u8| painter::draw(&format!("{title} {color}"), size, color);
        colors.into_iter().map(|color| draw(color).map_err(|error| error.to_string())).collect()
    }

    fn walk(calls: u32) -> u32 {
        let size = Size { width: 1, height: 1 };
        (0..calls).filter(|_| painter::draw("", size, 7).is_ok()).count() as u32
    }

    fn slow(seed: u64, millions: u32) -> u64 {
        let half = painter::spin(seed, millions);
        painter::spin(half, millions)
    }

    fn echo(bytes: Vec<u8>) -> Vec<u8> {
        painter::echo(&bytes)
    }

    fn echoes(bytes: Vec<u8>, calls: u32) -> u32 {
        (0..calls).filter(|_| painter::echo(&bytes).len() == bytes.len()).count() as u32
    }

    fn diary(calls: u32) -> Notes {
        let mut diary = Notes { times: vec![], numbers: vec![], results: vec![] };
        let mut note = |result| {
            let wall = wall_clock::now();
            diary.times.push(wall.seconds * 1_000_000_000 + u64::from(wall.nanoseconds));
            diary.times.push(monotonic_clock::now());
            diary.times.push(monotonic_clock::now());
            diary.numbers.push(random::get_random_u64());
            let kept = izna::memory::store::get("diary").map(|value| value.is_some());
            diary.results.push(result + u64::from(kept.unwrap_or(true)));
        };
        note(0);
        for _ in 0..calls {
            // If these were others after a move, it would not make the same call, or would not have
            // sent what comes back.
            let seen = random::get_random_u64() ^ monotonic_clock::now();
            assert_eq!(painter::spin(seen, 0), seen | 1);
            note(0);
        }
        diary
    }

    fn trap() {
        painter::trap();
    }
}

export!(Album);
