//! The words of texts that people see: string literals of the host, what `--help` says, and the
//! documents. A file lists patterns of words that are not the field's, and how often each may still
//! be found; these numbers only fall.

use std::{fs, path::Path};

use anyhow::Context;
use proc_macro2::{Span, TokenStream, TokenTree};
use regex::{Regex, RegexBuilder};
use syn::visit::{self, Visit};
use toml::{Table, Value};

use crate::{
    syntax::{attributes, is_for_tests},
    tidy::{self, File},
};

const PATH: &str = "tests/xtask/terms.toml";
/// Documents beside those directly in `docs`.
const DOCUMENTS: [&str; 2] = ["README.md", "CHANGELOG.md"];
/// What makes the comments of a type the text of `--help`.
const COMMANDS: [&str; 4] = ["Parser", "Args", "Subcommand", "ValueEnum"];

/// A pattern, what is written instead, and how often it may be found.
#[derive(Debug)]
struct Term {
    pattern: Regex,
    instead: String,
    allowance: usize,
}

/// A text and the line where it begins.
#[derive(Debug)]
struct Seen {
    path: String,
    line: usize,
    text: String,
}

/// Print what is found of each pattern, and where if it is not what is granted; whether all is as
/// granted. With `all`, every place is printed.
pub(crate) fn run(root: &Path, all: bool) -> anyhow::Result<bool> {
    let files = tidy::files(root)?;
    let seen = seen(&files)?;
    let mut passed = true;
    for term in terms(&files)? {
        let places = places(&term.pattern, &seen);
        let (verdict, ok) = tidy::judge(places.len(), term.allowance);
        if all || !ok {
            places.iter().for_each(|place| println!("{place}"));
        }
        println!("`{}` ({}): {verdict}", term.pattern, term.instead);
        passed &= ok;
    }
    Ok(passed)
}

/// Lower what is granted to what there is.
pub(crate) fn bless(root: &Path) -> anyhow::Result<()> {
    let files = tidy::files(root)?;
    let seen = seen(&files)?;
    let counts = terms(&files)?;
    let counts = counts.iter().map(|term| places(&term.pattern, &seen).len().min(term.allowance));
    let counts: Vec<usize> = counts.collect();
    let path = root.join(PATH);
    let text = lowered(&fs::read_to_string(&path)?, &counts);
    fs::write(&path, text).with_context(|| format!("writing {PATH}"))
}

/// The file with these allowances, in order.
fn lowered(text: &str, counts: &[usize]) -> String {
    let mut counts = counts.iter();
    let line = |line: &str| match line.strip_prefix("allowance = ").and_then(|_| counts.next()) {
        Some(count) => format!("allowance = {count}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn terms(files: &[File]) -> anyhow::Result<Vec<Term>> {
    let file = files.iter().find(|file| file.path == PATH).context(PATH)?;
    let table: Table = file.text.parse().with_context(|| format!("reading {PATH}"))?;
    let entries = table.get("term").and_then(Value::as_array).context("no [[term]]")?;
    entries.iter().map(term).collect()
}

fn term(entry: &Value) -> anyhow::Result<Term> {
    let word = |key: &str| entry.get(key).with_context(|| format!("a term without {key}: {entry}"));
    let allowance = word("allowance")?.as_integer().and_then(|n| n.try_into().ok());
    // A blank may be where a line ends.
    let pattern = word("pattern")?.as_str().unwrap_or_default().replace(' ', r"\s+");
    Ok(Term {
        pattern: RegexBuilder::new(&pattern).case_insensitive(true).build()?,
        instead: word("instead")?.as_str().unwrap_or_default().to_owned(),
        allowance: allowance.context("an allowance that is no count")?,
    })
}

fn places(pattern: &Regex, seen: &[Seen]) -> Vec<String> {
    let of_one = |seen: &Seen| {
        let places = pattern.find_iter(&seen.text).map(|found| {
            let before = seen.text.get(..found.start()).unwrap_or_default();
            let line = seen.line + before.matches('\n').count();
            format!("{}:{line}: {}", seen.path, found.as_str().trim())
        });
        places.collect::<Vec<String>>()
    };
    seen.iter().flat_map(of_one).collect()
}

/// All that people see.
fn seen(files: &[File]) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for file in files {
        let in_docs = file.path.strip_prefix("docs/").filter(|name| !name.contains('/'));
        if DOCUMENTS.contains(&&*file.path) || in_docs.is_some_and(|name| name.ends_with(".md")) {
            seen.push(Seen { path: file.path.clone(), line: 1, text: file.text.clone() });
        }
        let mut folders = file.path.split('/');
        if folders.next() == Some("host") && folders.nth(1) == Some("src") && file.is_rust() {
            let parsed = syn::parse_file(&file.text);
            let parsed = parsed.with_context(|| format!("reading {}", file.path))?;
            let mut literals = Literals { path: &file.path, seen: Vec::new(), in_command: false };
            if !file.path.ends_with("/tests.rs") {
                literals.items(&parsed.items);
            }
            seen.extend(literals.seen);
        }
    }
    Ok(seen)
}

/// Collects the string literals of a file.
struct Literals<'a> {
    path: &'a str,
    seen: Vec<Seen>,
    /// Whether comments are the text of `--help`.
    in_command: bool,
}

impl Literals<'_> {
    fn items(&mut self, items: &[syn::Item]) {
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            let derived = attributes(item).iter().filter(|one| one.path().is_ident("derive"));
            let derived = derived.filter_map(|one| one.meta.require_list().ok());
            let derived: String = derived.map(|list| list.tokens.to_string()).collect();
            self.in_command = COMMANDS.iter().any(|name| derived.contains(name));
            self.visit_item(item);
            self.in_command = false;
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.text(text.value(), literal.span());
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn text(&mut self, text: String, span: Span) {
        self.seen.push(Seen { path: self.path.to_owned(), line: span.start().line, text });
    }
}

impl Visit<'_> for Literals<'_> {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        module.content.iter().for_each(|(_, items)| self.items(items));
    }

    fn visit_impl_item(&mut self, item: &syn::ImplItem) {
        if !matches!(item, syn::ImplItem::Fn(function) if is_for_tests(&function.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_lit_str(&mut self, literal: &syn::LitStr) {
        self.text(literal.value(), literal.span());
    }

    fn visit_attribute(&mut self, attribute: &syn::Attribute) {
        let path = attribute.path();
        if path.is_ident("doc") && !self.in_command {
            return;
        }
        // Why a lint is silenced is for who reads the code.
        if !["allow", "expect", "cfg", "cfg_attr"].iter().any(|name| path.is_ident(name)) {
            visit::visit_attribute(self, attribute);
            if let syn::Meta::List(list) = &attribute.meta {
                self.tokens(list.tokens.clone());
            }
        }
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::{lowered, places, seen};
    use crate::tidy::file;

    fn found(path: &str, text: &str) -> Vec<String> {
        let seen = seen(&[file(path, text)]).expect("good Rust");
        places(&Regex::new(r"\btwins?\b").expect("a good pattern"), &seen)
    }

    /// If this fails, a text that people see is not looked at.
    #[test]
    fn every_text_is_seen() {
        let cases = [
            "fn f() {\n    g(\"a twin\") }",
            "fn f() {\n    bail!(\"a twin {}\", 1) }",
            "#[derive(Debug, Parser)]\n/// A twin.\nstruct A;",
            "#[derive(clap::Args)] struct A {\n/// A twin.\na: u8 }",
            "enum E {\n#[error(\"a twin\")] A }",
            "mod a {\n const A: &str = \"twin\"; }",
        ];
        for text in cases {
            assert_eq!(found("host/a/src/b.rs", text), ["host/a/src/b.rs:2: twin"], "{text}");
        }
        assert_eq!(found("docs/a.md", "one\ntwo twins\n"), ["docs/a.md:2: twins"]);
        assert_eq!(found("README.md", "twin").len(), 1);
    }

    /// If this fails, what nobody sees must be rewritten.
    #[test]
    fn only_texts_that_people_see() {
        let cases = [
            ("host/a/src/b.rs", "/// A twin.\nfn twin() { twin() } // twin"),
            ("host/a/src/b.rs", "#[cfg(test)] mod tests { const A: &str = \"twin\"; }"),
            ("host/a/src/b.rs", "#[allow(dead_code, reason = \"a twin\")] fn f() {}"),
            ("host/a/src/b/tests.rs", "const A: &str = \"twin\";"),
            ("host/a/tests/b.rs", "const A: &str = \"twin\";"),
            ("docs/decisions/0001.md", "twin"),
            ("tests/a.rs", "const A: &str = \"twin\";"),
        ];
        for (path, text) in cases {
            assert_eq!(found(path, text), [""; 0], "{path}: {text}");
        }
    }

    /// If this fails, a pattern is not found where a line ends within it, or blessing changes more
    /// than numbers.
    #[test]
    fn lines_end_anywhere_and_numbers_fall() {
        let seen = seen(&[file("docs/a.md", "it cannot be\nhad")]).expect("a document");
        let pattern = Regex::new(r"cannot\s+be\s+had").expect("a good pattern");
        assert_eq!(places(&pattern, &seen), ["docs/a.md:1: cannot be\nhad"]);
        let text = "[[term]]\npattern = 'a'\nallowance = 3\n\n[[term]]\nallowance = 1\n";
        let low = text.replace("= 3", "= 2").replace("= 1", "= 0");
        assert_eq!(lowered(text, &[2, 0]), low);
    }
}
