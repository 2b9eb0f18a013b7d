//! `bindings c|go WIT --world NAME --out-dir DIR`: what a guest in C or Go needs to speak a WIT world.
//! The same as `wit-bindgen` with these arguments, without the generators for other languages: it is
//! built in a tenth of the time.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};
use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [language, wit, "--world", world, "--out-dir", out] = arguments[..] else {
        bail!("usage: bindings c|go WIT --world NAME --out-dir DIR");
    };
    let mut generator: Box<dyn WorldGenerator> = match language {
        "c" => wit_bindgen_c::Opts::default().build(),
        "go" => wit_bindgen_go::Opts::default().build(),
        other => bail!("no generator for `{other}`; there are c and go"),
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        write_changed(&Path::new(out).join(name), content)?;
    }
    Ok(())
}

/// Unchanged files keep their times, so that what is made of them is not made again.
fn write_changed(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
