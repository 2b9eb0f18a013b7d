//! Paints for others. Plain `wit-bindgen`: nothing of Izna is in it.

wit_bindgen::generate!({ world: "painters", path: "wit" });

use exports::demo::paint::painter::{Error, Guest, Picture, Size};

struct Painter;

const PIXELS_MAX: u32 = 1 << 20;

impl Guest for Painter {
    fn draw(title: String, size: Size, color: u8) -> Result<Picture, Error> {
        match size.width.saturating_mul(size.height) {
            0 => Err(Error::Empty),
            pixels if pixels > PIXELS_MAX => Err(Error::TooLarge(PIXELS_MAX)),
            pixels => Ok(Picture { title, size, pixels: vec![color; pixels as usize] }),
        }
    }

    fn spin(seed: u64, millions: u32) -> u64 {
        let mut state = seed | 1;
        for _ in 0..u64::from(millions) * 1_000_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state
    }

    fn trap() {
        core::arch::wasm32::unreachable()
    }

    fn echo(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

export!(Painter);
