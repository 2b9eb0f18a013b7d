//! Which crate may use which: arrows point down only. Tests may use what they like.

use anyhow::Context;
use toml::{Table, Value};

use super::{File, Finding};

/// The crates without the standard library.
pub(crate) const NO_STD_PACKAGES: [&str; 2] = ["izna-core", "izna-proto"];

/// The crates of the host, and which others each may use.
const ARROWS: [(&str, &[&str]); 7] = [
    ("izna-proto", &[]),
    ("izna-core", &["izna-proto"]),
    ("izna-runtime", &["izna-proto"]),
    ("izna-store", &["izna-proto"]),
    ("izna-gateway", &["izna-proto"]),
    ("izna-node", &["izna-core", "izna-proto", "izna-runtime", "izna-store"]),
    (
        "izna",
        &["izna-core", "izna-gateway", "izna-node", "izna-proto", "izna-runtime", "izna-store"],
    ),
];

/// What is built for Wasm: guests share WIT with the host, never Rust.
const GUESTS: [&str; 3] = ["components/", "guest-sdk/", "tests/programs/"];

/// All arrows that point the wrong way, and crates that have lost their `no_std`.
pub(super) fn check(files: &[File]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        // The manifest of a template has blanks, which are nothing to a parser.
        let text = file.text.replace("{{", "'").replace("}}", "'");
        let parsed = text.parse().with_context(|| format!("reading {}", file.path));
        let manifest: Table = parsed?;
        if GUESTS.iter().any(|guests| file.path.starts_with(guests)) {
            findings.extend(forbidden(file, &manifest, &[]));
        } else if file.path.starts_with("host/") {
            findings.extend(host(file, &manifest, files));
        }
    }
    Ok(findings)
}

fn host(file: &File, manifest: &Table, files: &[File]) -> Vec<Finding> {
    let name = manifest.get("package").and_then(|package| package.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        return vec![file.finding_as_a_whole(format!("{name} has no place among the arrows"))];
    };
    let mut findings = forbidden(file, manifest, allowed);
    if NO_STD_PACKAGES.contains(&name) {
        let folder = file.path.trim_end_matches("Cargo.toml");
        let sources = files.iter().filter(|file| file.path.starts_with(&format!("{folder}src/")));
        findings.extend(sources.flat_map(|source| no_std(source, &format!("{folder}src/lib.rs"))));
    }
    findings
}

/// Uses of host crates that are not among the allowed ones.
fn forbidden(file: &File, manifest: &Table, allowed: &[&str]) -> Vec<Finding> {
    let hosts = ARROWS.iter().map(|(name, _)| *name);
    let used = hosts.filter(|name| dependencies(manifest).iter().any(|used| used == name));
    let wrong = used.filter(|name| !allowed.contains(name));
    wrong.map(|name| file.finding_as_a_whole(format!("may not use {name}"))).collect()
}

/// The packages that a manifest's crate is built with, on any target.
fn dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest).chain(targets);
    let sections = tables.flat_map(|table| {
        ["dependencies", "build-dependencies"].into_iter().filter_map(|name| table.get(name))
    });
    let entries = sections.filter_map(Value::as_table).flatten();
    entries
        .map(|(key, value)| {
            // A renamed dependency says its package's name.
            let package = value.get("package").and_then(Value::as_str);
            package.unwrap_or(key).to_owned()
        })
        .collect()
}

fn no_std(source: &File, root: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    if source.path == root && !lines.contains(&"#![no_std]") {
        findings.push(source.finding(0, "has no #![no_std]"));
    }
    for (index, line) in lines.iter().enumerate() {
        let for_tests = index > 0 && lines.get(index - 1) == Some(&"#[cfg(test)]");
        if line.starts_with("extern crate std") && !for_tests {
            findings.push(source.finding(index, "std, in a crate that does without"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::check;

    fn found(path: &str, manifest: &str, lib: &str) -> Vec<String> {
        let source = path.replace("Cargo.toml", "src/lib.rs");
        texts(&check(&[file(path, manifest), file(&source, lib)]).expect("good manifests"))
    }

    /// If this fails, an arrow that the design has is refused.
    #[test]
    fn arrows_down_are_fine() {
        let node = "package.name = 'izna-node'\n[dependencies]\nizna-core.workspace = true\n\
                    izna-proto = { path = '../proto' }\n[dev-dependencies]\nizna-gateway = '1'\n";
        assert_eq!(found("host/node/Cargo.toml", node, ""), Vec::<String>::new());
    }

    /// If this fails, crates that should not know each other do.
    #[test]
    fn arrows_up_and_across_are_found() {
        let cases = [
            ("izna-runtime", "dependencies", "izna-core"),
            ("izna-gateway", "build-dependencies", "izna-node"),
            ("izna-store", "target.'cfg(unix)'.dependencies", "izna-runtime"),
        ];
        for (name, section, used) in cases {
            let manifest = format!("package.name = '{name}'\n[{section}]\n{used}.workspace = true");
            let found = found("host/a/Cargo.toml", &manifest, "");
            assert_eq!(found, [format!("host/a/Cargo.toml: may not use {used}")]);
        }
        let renamed = "package.name = 'izna-store'\n[dependencies]\na.package = 'izna-node'";
        assert_eq!(found("host/a/Cargo.toml", renamed, "").len(), 1);
    }

    /// If this fails, a new host crate has no place in the design, or a guest is made of host code.
    #[test]
    fn strangers_and_guests_are_found() {
        let stranger = found("host/a/Cargo.toml", "package.name = 'izna-a'", "");
        assert_eq!(stranger, ["host/a/Cargo.toml: izna-a has no place among the arrows"]);
        let guest = "package.name = 'echo'\n[dependencies]\nizna-proto = '1'\nizna-sdk = '1'";
        let guest = found("components/echo/Cargo.toml", guest, "");
        assert_eq!(guest, ["components/echo/Cargo.toml: may not use izna-proto"]);
    }

    /// If this fails, a clock or a socket can come into a decision.
    #[test]
    fn core_and_proto_do_without_std() {
        let found = |lib: &str| found("host/core/Cargo.toml", "package.name = 'izna-core'", lib);
        assert_eq!(found("//! A.\n#![no_std]\n#[cfg(test)]\nextern crate std;\n"), [""; 0]);
        assert_eq!(found("//! A.\n"), ["host/core/src/lib.rs:1: has no #![no_std]"]);
        assert_eq!(found("#![no_std]\nextern crate std;\n").len(), 1);
    }
}
