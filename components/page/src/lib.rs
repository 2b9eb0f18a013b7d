//! The page of the tex demo: one document with nothing outside it.

use izna_sdk::Result;
use izna_sdk::http::{Request, Response};

izna_sdk::component! { index }

fn index(_: Request) -> Result<Response> {
    Ok(Response::html(include_str!("index.html")).header("cache-control", "no-cache"))
}
