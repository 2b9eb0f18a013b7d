//! The shape of the host's crates: no import circles, a short core with private state, no struct of
//! everything. What is not so yet is granted as a number in a file, which only falls.

mod circles;
mod structs;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context;
use toml::{Table, Value};

use crate::tidy::{self, File};

const PATH: &str = "tests/xtask/shape.toml";
/// The crates whose modules lie on no circle.
const CRATES: [&str; 3] = ["core", "node", "gateway"];
/// The crates whose structs are small.
const NARROW: [&str; 2] = ["core", "node"];
const CORE: &str = "host/core/src/core.rs";
/// `core.rs` has fewer lines than this.
const CORE_LINES: usize = 250;

/// One count: its name in the file of what is granted, how much there is, and each of them.
#[derive(Debug)]
struct Count {
    name: String,
    found: usize,
    details: Vec<String>,
}

/// Print what is wrong; whether it is just what is granted.
pub(crate) fn run(root: &Path) -> anyhow::Result<bool> {
    let files = tidy::files(root)?;
    let granted = granted(&files)?;
    let mut passed = true;
    for count in counts(&files, &exempt(&granted))? {
        count.details.iter().for_each(|line| println!("{}: {line}", count.name));
        let (verdict, ok) = tidy::judge(count.found, allowance(&granted, &count.name));
        println!("{}: {verdict}", count.name);
        passed &= ok;
    }
    Ok(passed)
}

/// Lower what is granted to what there is.
pub(crate) fn bless(root: &Path) -> anyhow::Result<()> {
    let files = tidy::files(root)?;
    let granted = granted(&files)?;
    let mut text = fs::read_to_string(root.join(PATH))?;
    for count in counts(&files, &exempt(&granted))? {
        let old = allowance(&granted, &count.name);
        let new = format!("{} = {}\n", count.name, old.min(count.found));
        text = text.replace(&format!("{} = {old}\n", count.name), &new);
    }
    fs::write(root.join(PATH), text).with_context(|| format!("writing {PATH}"))
}

fn granted(files: &[File]) -> anyhow::Result<Table> {
    let file = files.iter().find(|file| file.path == PATH).context(PATH)?;
    file.text.parse().with_context(|| format!("reading {PATH}"))
}

fn allowance(granted: &Table, name: &str) -> usize {
    let number = granted.get("allowance").and_then(|table| table.get(name));
    number.and_then(Value::as_integer).and_then(|n| n.try_into().ok()).unwrap_or(0)
}

fn exempt(granted: &Table) -> BTreeSet<String> {
    let names = granted.get("wide").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn counts(files: &[File], exempt: &BTreeSet<String>) -> anyhow::Result<Vec<Count>> {
    let mut counts = Vec::new();
    for name in CRATES {
        let (found, details) = circles::check(&sources(files, name)?);
        counts.push(Count { name: format!("circles-{name}"), found, details });
    }
    let core = files.iter().find(|file| file.path == CORE).context(CORE)?;
    let lines = core.text.lines().count();
    let found = (lines + 1).saturating_sub(CORE_LINES);
    let text = || format!("{CORE} has {lines} lines, and shall have fewer than {CORE_LINES}");
    let details = (found > 0).then(text).into_iter().collect();
    counts.push(Count { name: "core-lines-over".into(), found, details });
    let details = structs::visible_fields(&syntax(core)?, "Core");
    counts.push(Count { name: "core-visible-fields".into(), found: details.len(), details });
    let mut details = Vec::new();
    for source in NARROW.map(|name| sources(files, name)) {
        details.extend(source?.iter().flat_map(|(_, syntax)| structs::wide(syntax, exempt)));
    }
    counts.push(Count { name: "wide-structs".into(), found: details.len(), details });
    Ok(counts)
}

/// The files of a crate, by their paths under `src`.
fn sources(files: &[File], name: &str) -> anyhow::Result<Vec<(String, syn::File)>> {
    let folder = format!("host/{name}/src/");
    let own = files.iter().filter(|file| file.is_rust());
    let own = own.filter_map(|file| Some((file.path.strip_prefix(&folder)?.to_owned(), file)));
    own.map(|(path, file)| Ok((path, syntax(file)?))).collect()
}

fn syntax(file: &File) -> anyhow::Result<syn::File> {
    syn::parse_file(&file.text).with_context(|| format!("reading {}", file.path))
}
