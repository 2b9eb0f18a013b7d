//! Components that no compiler makes: from text, or from generated interfaces.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Copy the manifest of a case into a folder, and make `c.wasm` there of the text beside it. A line
/// `;; repeat N: TEXT` is TEXT N times, with `#` as the number.
pub(crate) fn app(case: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(case.join("izna.toml"), folder.join("izna.toml")).context("a case without an app")?;
    let text = fs::read_to_string(case.join("c.wat"));
    if let Ok(text) = text {
        fs::write(folder.join("c.wasm"), wat::parse_str(expanded(&text))?)?;
    }
    Ok(())
}

fn expanded(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let repeated =
            line.trim().strip_prefix(";; repeat ").and_then(|rest| rest.split_once(": "));
        match repeated.and_then(|(count, text)| Some((count.parse::<usize>().ok()?, text))) {
            Some((count, text)) => {
                lines.extend((0..count).map(|number| text.replace('#', &number.to_string())));
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// A core module of a world whose types are used through `depth` interfaces, `names` at a time:
/// small, and naively it takes `names` to the power of `depth` steps to make a component of it.
pub(crate) fn chain(names: usize, depth: usize) -> Result<Vec<u8>> {
    let list = |text: &dyn Fn(usize) -> String| (0..names).map(text).collect::<String>();
    let types = list(&|number| format!("type n{number} = u8; "));
    let mut wit = format!("package demo:chain;\ninterface a0 {{ {types} }}\n");
    let used = list(&|number| format!("n{number}, "));
    for level in 1..depth {
        wit += &format!("interface a{level} {{ use a{}.{{{used}}}; }}\n", level - 1);
    }
    wit += &format!("world w {{ export a{}; }}\n", depth - 1);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("chain.wit", &wit)?;
    let world = resolve.select_world(&[package], Some("w"))?;
    // Types need no code.
    let mut module = wat::parse_str("(module)")?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::{chain, expanded};

    /// If this fails, a component of many parts has not as many as its case says.
    #[test]
    fn a_line_is_repeated_with_its_number() {
        assert_eq!(expanded("a\n  ;; repeat 2: (b $i#)\n;; c"), "a\n(b $i0)\n(b $i1)\n;; c");
    }

    /// If this fails, the module of a chain of interfaces is not small, or is none.
    #[test]
    fn a_chain_is_small() {
        let module = chain(10, 12).unwrap();
        assert!(module.starts_with(b"\0asm") && module.len() < 4096, "{} bytes", module.len());
    }
}
