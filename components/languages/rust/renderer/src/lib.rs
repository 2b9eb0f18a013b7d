//! The renderer in Rust: a line of text as a picture.

wit_bindgen::generate!({ world: "renderer-service", path: "../../wit" });

use exports::demo::pages::renderer::Guest;

struct Renderer;

impl Guest for Renderer {
    fn render(text: String) -> Vec<u8> {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
        let head = r#"<svg xmlns="http://www.w3.org/2000/svg" height="24"><text y="18">"#;
        format!("{head}{escaped}</text></svg>").into_bytes()
    }
}

export!(Renderer);
