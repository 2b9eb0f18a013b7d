//! Import circles among the files of a crate. A file imports another if it names something in it,
//! by `use` or by a longer path, in code or in a macro's arguments; a name that a module hands on
//! (`pub use`) counts for the file that it comes from, and handing on is no import. Tests do not
//! count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Item, UseTree, Visibility,
    visit::{self, Visit},
};

use crate::syntax::{attributes, is_for_tests};

/// A path of names; of a module, from the crate's root.
type Names = Vec<String>;

/// How many times a name is handed on, at the most.
const HANDS_MAX: usize = 8;

/// What one file says.
#[derive(Debug, Default)]
struct Said {
    /// The paths that it uses, as written.
    paths: Vec<Names>,
    /// The names that it brings into its own scope, and what they stand for, as written.
    names: BTreeMap<String, Names>,
}

/// How many modules lie on a circle, and circles that together have all their imports.
pub(super) fn check(files: &[(String, syn::File)]) -> (usize, Vec<String>) {
    let imports = imports(files);
    let mut on_circles = BTreeSet::new();
    let mut circles = BTreeSet::new();
    for (module, targets) in &imports {
        for target in targets {
            let Some(mut back) = way(&imports, target, module) else { continue };
            on_circles.insert(module.clone());
            // The last one is the module itself. Each circle begins with its least name.
            let least = back.iter().min().cloned();
            let start = back.iter().position(|name| Some(name) == least.as_ref());
            back.rotate_left(start.unwrap_or(0));
            back.extend(back.first().cloned());
            circles.insert(back.join(" -> "));
        }
    }
    (on_circles.len(), circles.into_iter().collect())
}

/// The shortest way from one module to another, both included.
fn way(
    imports: &BTreeMap<String, BTreeSet<String>>,
    from: &String,
    to: &String,
) -> Option<Vec<String>> {
    let mut reached: BTreeMap<&String, &String> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(module) = next.pop_front() {
        if module == to {
            let steps = std::iter::successors(Some(module), |at| reached.get(at).copied());
            let mut steps: Vec<String> = steps.cloned().collect();
            steps.reverse();
            return Some(steps);
        }
        for target in imports.get(module).into_iter().flatten() {
            if target != from && !reached.contains_key(target) {
                reached.insert(target, module);
                next.push_back(target);
            }
        }
    }
    None
}

/// Which files import which, by their paths.
fn imports(files: &[(String, syn::File)]) -> BTreeMap<String, BTreeSet<String>> {
    let tests = files.iter().flat_map(|(path, file)| test_modules(&module(path), file));
    let tests: BTreeSet<Names> = tests.collect();
    let mut paths = BTreeMap::new();
    let mut said = BTreeMap::new();
    for (path, file) in files {
        let module = module(path);
        if !tests.iter().any(|test| module.starts_with(test)) {
            let mut reader = Reader { said: Said::default() };
            reader.items(&file.items);
            said.insert(module.clone(), reader.said);
            paths.insert(module, path.clone());
        }
    }
    let mut imports = BTreeMap::new();
    for (module, own) in &said {
        let targets = own.paths.iter().filter_map(|path| target(&said, module, path));
        let targets: BTreeSet<&Names> = targets.filter(|target| *target != module).collect();
        let targets = targets.into_iter().filter_map(|target| paths.get(target).cloned());
        imports.insert(paths.get(module).cloned().unwrap_or_default(), targets.collect());
    }
    imports
}

/// The file where what the path names is, if it is of this crate.
fn target<'a>(said: &'a BTreeMap<Names, Said>, from: &Names, path: &Names) -> Option<&'a Names> {
    let mut from = from.clone();
    let mut path = path.clone();
    for _ in 0..HANDS_MAX {
        let absolute = absolute(said, &from, &path)?;
        let is_module = |names: &[String]| said.contains_key(names);
        let mut lengths = (0..=absolute.len()).rev();
        let length = lengths.find(|length| absolute.get(..*length).is_some_and(is_module))?;
        let (module, rest) = absolute.split_at(length);
        let (module, of_module) = said.get_key_value(module)?;
        let Some((name, further)) = rest.split_first() else { return Some(module) };
        let Some(stands_for) = of_module.names.get(name) else { return Some(module) };
        path = stands_for.iter().chain(further).cloned().collect();
        from = module.clone();
    }
    None
}

/// A path from the crate's root; none of another crate's.
fn absolute(said: &BTreeMap<Names, Said>, from: &Names, path: &Names) -> Option<Names> {
    let mut base = from.clone();
    let mut rest = &path[..];
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            _ if rest.len() < path.len() => break,
            name => {
                let child = [&base[..], &[name.to_owned()]].concat();
                let known = said.get(from).and_then(|own| own.names.get(name));
                if let Some(stands_for) = known.filter(|path| path.first() != Some(first)) {
                    let path = stands_for.iter().chain(after).cloned().collect();
                    return absolute(said, from, &path);
                }
                // A name alone is a variable, or a type of another crate.
                if after.is_empty() || !said.contains_key(&child) {
                    return None;
                }
                break;
            }
        }
        rest = after;
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The module that a file is, by its path under `src`.
fn module(path: &str) -> Names {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let names = path.split('/').filter(|name| *name != "lib" && *name != "main");
    names.map(str::to_owned).collect()
}

/// The modules of their own files that are for tests.
fn test_modules(own: &Names, file: &syn::File) -> Vec<Names> {
    let modules = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if is_for_tests(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.map(|name| [&own[..], &[name]].concat()).collect()
}

/// Reads what a file says. Modules within it are part of it.
struct Reader {
    said: Said,
}

impl Reader {
    fn items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            self.visit_item(item);
        }
    }

    fn tree(&mut self, before: &Names, tree: &UseTree, handed_on: bool) {
        let with = |name: &dyn ToString| [&before[..], &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree, handed_on),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(before, tree, handed_on));
            }
            UseTree::Name(name) if name.ident == "self" => {
                let own = before.last().cloned().unwrap_or_default();
                self.brought(own, before.clone(), handed_on);
            }
            UseTree::Name(name) => {
                self.brought(name.ident.to_string(), with(&name.ident), handed_on);
            }
            UseTree::Rename(name) => {
                self.brought(name.rename.to_string(), with(&name.ident), handed_on);
            }
            UseTree::Glob(_) => self.said.paths.push(with(&'*')),
        }
    }

    fn brought(&mut self, name: String, path: Names, handed_on: bool) {
        if !handed_on {
            self.said.paths.push(path.clone());
        }
        self.said.names.insert(name, path);
    }

    /// Paths in what a macro is given, which is not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.path(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.path(std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                _ => self.path(std::mem::take(&mut path)),
            }
        }
        self.path(path);
    }

    fn path(&mut self, path: Names) {
        if !path.is_empty() {
            self.said.paths.push(path);
        }
    }
}

impl Visit<'_> for Reader {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        module.content.iter().for_each(|(_, items)| self.items(items));
    }

    fn visit_impl_item(&mut self, item: &syn::ImplItem) {
        if !matches!(item, syn::ImplItem::Fn(function) if is_for_tests(&function.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.tree(&Names::new(), &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    /// `pub(crate)` names the crate and brings nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_path(&mut self, path: &syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn circles(files: &[(&str, &str)]) -> (usize, Vec<String>) {
        let parsed = |text: &str| syn::parse_str(text).expect("good Rust");
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), parsed(text)));
        check(&files.collect::<Vec<_>>())
    }

    /// If this fails, a circle is not seen, in one of the ways in which a path can be written.
    #[test]
    fn every_way_to_import_is_seen() {
        let ways = [
            "use crate::b::B;",
            "use crate::{c, b};",
            "use super::b::*;",
            "use crate::b::{self, B as C};",
            "fn f() { crate::b::g() }",
            "fn f() -> super::b::B { todo() }",
            "fn f() { assert!(x(crate::b::g())) }",
            "mod inner { use crate::b::B; }",
            "use crate::B;",
            "use crate as root; fn f() { root::b::g() }",
        ];
        for way in ways {
            let found = circles(&[
                ("lib.rs", "mod a; mod b; mod c; pub use b::B;"),
                ("a.rs", way),
                ("b.rs", "use crate::a::A; pub struct B;"),
                ("c.rs", ""),
            ]);
            assert_eq!(found, (2, vec!["a.rs -> b.rs -> a.rs".to_owned()]), "{way}");
        }
    }

    /// If this fails, good code is taken for a circle.
    #[test]
    fn what_is_no_circle() {
        let cases: [&[(&str, &str)]; 6] = [
            &[("lib.rs", "mod a; use a::A;"), ("a.rs", "pub(crate) struct A;")],
            &[
                ("lib.rs", "mod a; mod b; pub use a::A;"),
                ("a.rs", "use crate::b::B;"),
                ("b.rs", ""),
            ],
            &[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
            ],
            &[
                ("a/mod.rs", "mod b; #[cfg(test)] mod tests; pub use b::B;"),
                ("a/b.rs", "fn f() { other::a::g() }"),
                ("a/tests.rs", "use super::b::B;"),
            ],
            &[("a.rs", "use b::C;"), ("b.rs", "use crate::a::A;")],
            &[("a.rs", "use crate::a::A; struct A;")],
        ];
        for files in cases {
            assert_eq!(circles(files), (0, vec![]), "{files:?}");
        }
    }

    /// If this fails, a longer circle is not seen, or is told without its way.
    #[test]
    fn a_longer_circle_is_told_with_its_way() {
        let found = circles(&[
            ("a/mod.rs", "mod b; use b::B;"),
            ("a/b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::d; fn f() { d::g() }"),
            ("d.rs", "use super::a::A;"),
            ("e.rs", "use crate::a::A;"),
        ]);
        let way = "a/b.rs -> c.rs -> d.rs -> a/mod.rs -> a/b.rs";
        assert_eq!(found, (4, vec![way.to_owned()]));
    }
}
