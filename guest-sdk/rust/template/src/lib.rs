//! {{name}}: an Izna component.

use izna_sdk::Result;
use izna_sdk::http::{Request, Response};

izna_sdk::component! { hello }

/// The route in izna.toml leads here: `/{{name}}?name=you`.
fn hello(request: Request) -> Result<Response> {
    let name = request.query.get("name").map_or("world", String::as_str);
    izna_sdk::log!("greeting {name}");
    Ok(Response::text(200, format!("Hello, {name}!\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_by_name() {
        let mut request = Request::default();
        request.query.insert("name".into(), "Ada".into());
        assert_eq!(hello(request).unwrap().body, b"Hello, Ada!\n");
    }
}
