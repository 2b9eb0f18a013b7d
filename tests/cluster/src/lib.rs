//! What the tests in `tests` share: apps to deploy, calls to make.

use anyhow::{Context, Result};
use izna_bench::{Node, Response, http};
use serde_json::{Value, json};

/// The manifest of an app `echo` whose component is held by these nodes only, or by all.
pub fn echo(nodes: &[&str]) -> String {
    let nodes = match nodes {
        [] => String::new(),
        nodes => format!("nodes = {}\n", json!(nodes)),
    };
    let routes = ["echo", "value", "call", "forward", "walk"].map(|function| {
        format!(
            "[[route]]\npath = \"/{function}\"\ncomponent = \"echo\"\nfunction = \"{function}\"\n"
        )
    });
    format!(
        "[app]\nname = \"echo\"\n\n[component.echo]\nsource = \"GUESTS/echo.wasm\"\n\
         links = {{ echo = \"echo\" }}\n{nodes}\n{}",
        routes.join("\n")
    )
}

/// The manifest of the app whose functions misbehave, each in its own way.
pub const MISBEHAVE: &str = r#"
[app]
name = "misbehave"

[component.misbehave]
source = "GUESTS/misbehave.wasm"
links = { misbehave = "misbehave" }
limits = { cpu_ms = 200 }
"#;

/// Call a function by the management API of `node`.
pub fn call(node: &Node, component: &str, function: &str, args: Value) -> Result<Response> {
    // The apps of the tests have one component, of the app's own name.
    let call = json!({
        "app": component,
        "component": component,
        "function": function,
        "args": args,
        "deadline_ms": 10_000,
    });
    let address = node.addresses()?.manage;
    http::post(address, "/v1/call", "application/json", call.to_string().as_bytes())
}

/// The `code` and the `message` of an error's body.
pub fn error(response: &Response) -> Result<(String, String)> {
    let body = response.json()?;
    let word = |key: &str| {
        let value = body.pointer(&format!("/error/{key}")).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("no error in {body}"))
    };
    Ok((word("code")?, word("message")?))
}
