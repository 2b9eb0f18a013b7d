//! Rules on each Rust file: how it begins, how wide it is, which words it uses. How long it is, is
//! for [`super::exceptions`].

use super::{File, Finding};

/// The widest line, in columns.
const COLUMNS_MAX: usize = 110;
/// What type names do not end in: such a name says nothing.
const SUFFIXES: [&str; 5] = ["Manager", "Helper", "Util", "Info", "Data"];
/// What is for an issue, not for the code.
const LEFTOVERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// A test that does not run.
const IGNORED: &str = concat!("#[ign", "ore");

/// All findings in a Rust file.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(file.finding(0, "the first line says what the file is, after //!"));
    }
    if file.is_generated() {
        return findings;
    }
    let mut in_trait_impl = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("impl") {
            in_trait_impl = line.contains(" for ");
        }
        let mut find = |text: String| findings.push(file.finding(index, text));
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            find(format!("{columns} columns, over the limit of {COLUMNS_MAX}"));
        }
        for word in words(line).filter(|word| LEFTOVERS.contains(word)) {
            find(format!("{word}: file an issue, or do it"));
        }
        if line.trim_start().starts_with(IGNORED) {
            find("a test that does not run: assert what happens, and say why it is wrong".into());
        }
        if let Some(name) = declared(line, &["struct", "enum", "trait", "type", "union"])
            && let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix))
            // An associated type has its trait's name.
            && !line.starts_with("    type ")
        {
            find(format!("{name} ends in {suffix}, which says nothing"));
        }
        if let Some(name) = declared(line, &["fn"])
            && name.starts_with("get_")
            && !in_trait_impl
        {
            find(format!("{name}: a function that gives something is named for it, without get_"));
        }
    }
    findings.extend(unexplained(file));
    findings
}

/// The words of a line: what identifiers are made of.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name that the line declares after one of the keywords. Comments and strings declare nothing.
fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let mut words = words(line.split("//").next()?).skip_while(|word| {
        matches!(*word, "pub" | "crate" | "super" | "in" | "const" | "async" | "unsafe" | "extern")
    });
    let keyword = words.next()?;
    if keywords.contains(&keyword) { words.next() } else { None }
}

/// Attributes that silence a lint without a word why.
fn unexplained(file: &File) -> Vec<Finding> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        if !start.starts_with("#[allow(") && !start.starts_with("#![allow(") {
            continue;
        }
        let rest = lines.get(index..).unwrap_or_default();
        let end = rest.iter().position(|line| line.trim_end().ends_with(")]")).unwrap_or(0);
        if !rest.iter().take(end + 1).any(|line| line.contains("reason = ")) {
            findings.push(file.finding(index, "allow needs a reason = \"…\""));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::check;

    fn found(text: &str) -> Vec<String> {
        texts(&check(&file("a.rs", text)))
    }

    /// If this fails, good code is complained about.
    #[test]
    fn nothing_in_good_code() {
        let good = "//! A file.\n#[allow(dead_code, reason = \"why\")]\npub struct Database;\n\
                    pub struct DataPoint;\nfn budget_us() {}\nfn getter() {}\n// a getter: get_x\n";
        assert_eq!(found(good), Vec::<String>::new());
    }

    /// If this fails, a rule does not bite.
    #[test]
    fn each_rule_bites() {
        let ignored = concat!("//! A.\n    #[ign", "ore = \"flaky\"]\n");
        let cases = [
            ("use a;\n", "a.rs:1: the first line says"),
            ("//! A.\npub(crate) struct LinkInfo;\n", "a.rs:2: LinkInfo ends in Info"),
            ("//! A.\npub async fn get_x() {}\n", "a.rs:2: get_x: a function"),
            (concat!("//! A.\n// TO", "DO: b\n"), concat!("a.rs:2: TO", "DO: file an issue")),
            (ignored, "a.rs:2: a test that does not run"),
            ("//! A.\n#[allow(\n    dead_code\n)]\nfn a() {}\n", "a.rs:2: allow needs a reason"),
        ];
        for (text, expected) in cases {
            let found = found(text);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
        }
    }

    /// If this fails, the width of a line is not what a person counts.
    #[test]
    fn columns_are_characters() {
        assert_eq!(found(&format!("//! {}\n", "ä".repeat(106))), Vec::<String>::new());
        let wide = format!("//! {}\n", "a".repeat(107));
        assert_eq!(found(&wide), ["a.rs:1: 111 columns, over the limit of 110"]);
    }

    /// If this fails, a method that a foreign trait names must be renamed.
    #[test]
    fn traits_name_their_methods() {
        let text = "//! A.\nimpl Store for Disk {\n    fn get_blob() {}\n}\n";
        assert_eq!(found(text), Vec::<String>::new());
        let own = "//! A.\nimpl Disk {\n    fn get_blob() {}\n}\n";
        assert_eq!(found(own).len(), 1);
    }

    /// If this fails, files that nobody edits fail the checks.
    #[test]
    fn generated_files_only_say_what_they_are() {
        let text = "//! Bindings.\n// Generated by `wit-bindgen`\nstruct AInfo;\n";
        assert_eq!(found(text), Vec::<String>::new());
    }
}
