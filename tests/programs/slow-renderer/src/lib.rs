//! Renders for as long as one wants: `SEED MILLIONS` gives the decimal digits of a number that takes
//! so many millions of steps to compute.

wit_bindgen::generate!({
    world: "renderer-service",
    path: "../../../components/languages/wit",
});

use exports::demo::pages::renderer::Guest;

struct Renderer;

impl Guest for Renderer {
    fn render(text: String) -> Vec<u8> {
        let mut words = text.split(' ').filter_map(|word| word.parse::<u64>().ok());
        let (seed, millions) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        let mut state = seed | 1;
        for _ in 0..millions * 1_000_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        format!("{state};").into_bytes()
    }
}

export!(Renderer);
