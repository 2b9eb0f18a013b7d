//! The cache in Rust: has each line drawn once, wherever the renderer runs.

wit_bindgen::generate!({ world: "cache-service", path: "../../wit" });

use std::collections::BTreeMap;

use demo::pages::renderer::render;
use exports::demo::pages::cache::{Guest, Page};

struct Cache;

impl Guest for Cache {
    fn show(lines: Vec<String>) -> Result<Page, String> {
        if lines.is_empty() {
            return Err("there are no lines".into());
        }
        let mut pictures = BTreeMap::new();
        for line in &lines {
            // A call of another component: its node may be another one, and so may ours be
            // afterwards.
            pictures.entry(line).or_insert_with(|| render(line));
        }
        let svg = lines.iter().flat_map(|line| &pictures[line]).copied().collect();
        let drawn = pictures.len() as u32;
        Ok(Page { svg, drawn, kept: lines.len() as u32 - drawn })
    }
}

export!(Cache);
