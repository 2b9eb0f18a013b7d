//! Who calls whom in an app: what each direct component imports, and which component exports it.

use std::sync::Arc;

use izna_proto::Link;

use crate::describe::{Description, Interface, Kind};
use crate::http;
use crate::names::{self, FunctionName, Unnamed};
use crate::offer;

/// A component of an app that is to be deployed.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its name in the app.
    pub name: &'a str,
    /// The links that the app's author named.
    pub links: &'a [Link],
    /// What it is.
    pub description: &'a Description,
}

/// Why components do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody exports what it imports.
    #[error(
        "component `{component}` imports `{interface}`, which no other component of the app \
         exports{hint}"
    )]
    Unsatisfied {
        /// The component.
        component: Box<str>,
        /// What it imports.
        interface: Box<str>,
        /// What may have been meant, or nothing.
        hint: Box<str>,
    },
    /// More than one does.
    #[error(
        "component `{component}` imports `{interface}`, which {} export; choose one: \
         links = {{ \"{interface}\" = \"{}\" }}",
        list(exporters),
        exporters.first().map_or("", String::as_str)
    )]
    Ambiguous {
        /// The component.
        component: Box<str>,
        /// What it imports.
        interface: Box<str>,
        /// Who exports it.
        exporters: Vec<String>,
    },
    /// The component that the author named does not.
    #[error(
        "component `{component}` is linked to `{target}` for `{interface}`, which `{target}` does \
         not export{hint}"
    )]
    Target {
        /// The component.
        component: Box<str>,
        /// What it imports.
        interface: Box<str>,
        /// Who was named.
        target: Box<str>,
        /// What that one exports.
        hint: Box<str>,
    },
    /// The two have another view of a function.
    #[error(
        "component `{component}` calls `{function}` of `{interface}` as `{wanted}`, but \
         `{target}` has {found}"
    )]
    Differs {
        /// Who calls.
        component: Box<str>,
        /// The interface.
        interface: Box<str>,
        /// The function.
        function: Box<str>,
        /// Its type there.
        wanted: Box<str>,
        /// Who is called.
        target: Box<str>,
        /// Its type there.
        found: Box<str>,
    },
    /// A function of it cannot be called from another component.
    #[error(
        "component `{component}` cannot call `{function}` of `{interface}` from `{target}`: {why}"
    )]
    Obstacle {
        /// Who calls.
        component: Box<str>,
        /// The interface.
        interface: Box<str>,
        /// The function.
        function: Box<str>,
        /// Who is called.
        target: Box<str>,
        /// Why not.
        why: Box<str>,
    },
    /// A link that nothing uses.
    #[error("component `{component}` has a link `{link}`, but imports nothing of that name{hint}")]
    Unused {
        /// The component.
        component: Box<str>,
        /// The link.
        link: Box<str>,
        /// What it imports.
        hint: Box<str>,
    },
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
}

impl Description {
    /// What of its imports other components of the app must export.
    pub fn needs(&self) -> impl Iterator<Item = &Interface> {
        let direct = self.kind.is_typed();
        let imports = self.imports.iter().filter(move |_| direct);
        imports.filter(|import| !import.functions.is_empty() && !import.is_granted())
    }

    /// The functions of a direct component that can be called, by their whole names.
    pub fn functions(&self) -> impl Iterator<Item = String> {
        let direct = self.kind.is_typed();
        let exports = self.exports.iter().filter(move |_| direct);
        exports.flat_map(|export| {
            let is_http = offer::compatible(&export.name, http::HANDLER);
            let interface = (!export.alone).then_some(export.name.as_str());
            // Its types are resources, but it is called with what they stand for.
            let callable =
                export.items.iter().filter(move |item| is_http || item.obstacle.is_none());
            callable.map(move |item| FunctionName { interface, function: &item.name }.to_string())
        })
    }

    /// The whole name, as a route has it, of the function that `name` means. Functions of an
    /// explicit component have the names that it gives them.
    ///
    /// # Errors
    /// When no function, or more than one, has that name.
    pub fn function(&self, name: &str) -> Result<String, Unnamed> {
        if !self.kind.is_typed() {
            return Ok(name.into());
        }
        // A route to a component that takes requests as they are need not say more.
        let name = if name.is_empty() && self.kind == Kind::Http { http::HANDLE } else { name };
        let known: Vec<String> = self.functions().collect();
        names::find(name, known.iter().map(String::as_str)).map(names::in_a_route)
    }
}

impl Interface {
    /// Whether the platform provides it.
    pub fn is_granted(&self) -> bool {
        offer::grant(&self.name).is_some()
    }

    /// What the platform gives for it, where that is not all that it can do.
    pub fn extent(&self) -> Option<&'static str> {
        offer::extent(&self.name)
    }
}

/// The links of each part, in the same order: those of explicit components as they were named,
/// those of direct ones one for each import that another component exports.
///
/// # Errors
/// With the first import that leads nowhere, or to more than one component.
pub fn resolve(parts: &[Part<'_>]) -> Result<Vec<Vec<Link>>, Error> {
    parts.iter().map(|part| links(part, parts)).collect()
}

fn links(part: &Part<'_>, parts: &[Part<'_>]) -> Result<Vec<Link>, Error> {
    if !part.description.kind.is_typed() {
        return Ok(part.links.to_vec());
    }
    let is_import =
        |name: &str| part.description.needs().any(|import| names::is_interface(name, &import.name));
    let is_http =
        |name: &str| parts.iter().any(|p| p.name == name && p.description.kind == Kind::Http);
    // What is no import is a link by HTTP, between two that speak it.
    let speaks_http = part.description.kind == Kind::Http;
    let by_http: Vec<Link> =
        part.links.iter().filter(|link| !is_import(&link.name)).cloned().collect();
    let unused = by_http.iter().find(|link| !speaks_http || !is_http(&link.target));
    if let Some(link) = unused {
        let imports: Vec<String> =
            part.description.needs().map(|import| import.name.clone()).collect();
        let hint = match imports.as_slice() {
            [] if speaks_http => "; links by HTTP must lead to components that serve HTTP".into(),
            [] => "; it imports nothing of other components".into(),
            imports => format!("; it imports {}", list(imports)).into(),
        };
        let (component, link) = (part.name.into(), (*link.name).into());
        return Err(Error::Unused { component, link, hint });
    }
    let imports = part.description.needs().map(|import| link(part, import, parts));
    imports.chain(by_http.into_iter().map(Ok)).collect()
}

fn link(part: &Part<'_>, import: &Interface, parts: &[Part<'_>]) -> Result<Link, Error> {
    let own: Arc<str> = import.name.as_str().into();
    let named = part.links.iter().find(|link| names::is_interface(&link.name, &import.name));
    let target = match named {
        Some(link) => parts.iter().find(|other| other.name == &*link.target),
        None => Some(exporter(part, import, parts)?),
    };
    let missing = |target: &str, hint: String| Error::Target {
        component: part.name.into(),
        interface: import.name.as_str().into(),
        target: target.into(),
        hint: hint.into(),
    };
    let Some(target) = target else {
        let target = named.map_or("", |link| &link.target);
        return Err(missing(target, "; no such component".into()));
    };
    if target.description.kind.is_typed() {
        let Some(export) = exported(target, &import.name) else {
            let exports: Vec<String> =
                target.description.exports.iter().map(|export| export.name.clone()).collect();
            return Err(missing(target.name, format!("; it exports {}", list(&exports))));
        };
        agree(part, import, target, export)?;
    }
    let local = named.is_some_and(|link| link.local);
    Ok(Link { name: own, target: target.name.into(), local })
}

/// The one other component that exports what is imported.
fn exporter<'a, 'b>(
    part: &Part<'_>,
    import: &Interface,
    parts: &'b [Part<'a>],
) -> Result<&'b Part<'a>, Error> {
    let others = parts.iter().filter(|other| other.name != part.name);
    let exporters: Vec<&Part<'_>> =
        others.clone().filter(|other| exported(other, &import.name).is_some()).collect();
    let (component, interface) = (part.name.into(), import.name.as_str().into());
    match exporters.as_slice() {
        [one] => Ok(one),
        [] => {
            let exports = others.flat_map(|other| {
                let of = |export: &Interface| (export.name.clone(), other.name);
                other.description.exports.iter().map(of)
            });
            let exports: Vec<(String, &str)> = exports.collect();
            let near =
                offer::nearest_of(&import.name, exports.iter().map(|(name, _)| name.as_str()));
            let found = exports.iter().find(|(name, _)| Some(name.as_str()) == near);
            let hint = found.map(|(name, of)| format!("; the nearest is `{name}` of `{of}`"));
            Err(Error::Unsatisfied { component, interface, hint: hint.unwrap_or_default().into() })
        }
        several => {
            let exporters = several.iter().map(|part| part.name.to_owned()).collect();
            Err(Error::Ambiguous { component, interface, exporters })
        }
    }
}

fn exported<'a>(part: &Part<'a>, interface: &str) -> Option<&'a Interface> {
    let direct = part.description.kind.is_typed();
    let mut exports = part.description.exports.iter().filter(|_| direct);
    exports.find(|export| !export.alone && offer::compatible(&export.name, interface))
}

/// Check that both have the same view of all functions that are imported.
fn agree(
    part: &Part<'_>,
    import: &Interface,
    target: &Part<'_>,
    export: &Interface,
) -> Result<(), Error> {
    for item in &import.items {
        let found = export.items.iter().find(|other| other.name == item.name);
        let obstacle = found.and_then(|found| found.obstacle.clone());
        let (component, interface) = (part.name.into(), import.name.as_str().into());
        let (function, target) = (item.name.as_str().into(), target.name.into());
        if let Some(why) = item.obstacle.clone().or(obstacle) {
            let why = why.into();
            return Err(Error::Obstacle { component, interface, function, target, why });
        }
        let found = match found {
            Some(found) if found.ty == item.ty => continue,
            Some(found) => format!("`{}`", found.ty).into(),
            None => "no such function".into(),
        };
        let wanted = item.ty.as_str().into();
        return Err(Error::Differs { component, interface, function, wanted, target, found });
    }
    Ok(())
}
