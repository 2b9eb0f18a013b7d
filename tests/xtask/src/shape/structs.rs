//! Structs that are too wide, and fields that another file can write.

use std::collections::BTreeSet;

use syn::{Item, ItemStruct, Visibility};

use crate::syntax::is_for_tests;

/// The most fields of a struct.
const FIELDS_MAX: usize = 20;

/// The fields of the struct of that name that are not its file's own.
pub(super) fn visible_fields(file: &syn::File, name: &str) -> Vec<String> {
    let own = structs(&file.items).into_iter().filter(|item| item.ident == name);
    let fields = own.flat_map(|item| &item.fields);
    let visible = fields.filter(|field| !matches!(field.vis, Visibility::Inherited));
    let names = visible.filter_map(|field| field.ident.as_ref());
    names.map(|field| format!("{name}::{field} can be written by other files")).collect()
}

/// The structs of a file with too many fields that are not exempt.
pub(super) fn wide(file: &syn::File, exempt: &BTreeSet<String>) -> Vec<String> {
    let all = structs(&file.items).into_iter();
    let wide = all.filter(|item| item.fields.len() > FIELDS_MAX);
    let wide = wide.filter(|item| !exempt.contains(&item.ident.to_string()));
    let text = |item: &ItemStruct| {
        format!("{} has {} fields, over the limit of {FIELDS_MAX}", item.ident, item.fields.len())
    };
    wide.map(text).collect()
}

fn structs(items: &[Item]) -> Vec<&ItemStruct> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Struct(item) if !is_for_tests(&item.attrs) => found.push(item),
            Item::Mod(module) if !is_for_tests(&module.attrs) => {
                found.extend(module.content.iter().flat_map(|(_, items)| structs(items)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{visible_fields, wide};

    fn parsed(text: &str) -> syn::File {
        syn::parse_str(text).expect("good Rust")
    }

    /// If this fails, the state of core can be written from everywhere again.
    #[test]
    fn fields_that_others_can_write_are_found() {
        let file =
            parsed("struct Core { a: u8, pub(crate) b: u8, pub c: u8 } struct B { pub d: u8 }");
        let found = visible_fields(&file, "Core");
        let expected = ["b", "c"].map(|name| format!("Core::{name} can be written by other files"));
        assert_eq!(found, expected);
    }

    /// If this fails, a struct of everything grows unseen.
    #[test]
    fn wide_structs_are_found() {
        let with = |count: usize, around: &str| {
            let fields: String = (0..count).map(|number| format!("f{number}: u8,")).collect();
            parsed(&around.replace("FIELDS", &fields))
        };
        let none = [].into();
        assert_eq!(wide(&with(20, "struct A { FIELDS }"), &none), [""; 0]);
        let found = wide(&with(21, "mod a { struct A { FIELDS } }"), &none);
        assert_eq!(found, ["A has 21 fields, over the limit of 20"]);
        assert_eq!(wide(&with(21, "struct A { FIELDS }"), &["A".to_owned()].into()), [""; 0]);
        assert_eq!(wide(&with(21, "#[cfg(test)] struct A { FIELDS }"), &none), [""; 0]);
    }
}
