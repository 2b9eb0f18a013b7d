//! The names of functions of direct components: `package:name/interface@version.function`, and
//! shorter ones that mean the same.
//!
//! The whole name is the interface as the component names it, a point, and the function. Of the
//! interface the version may be left out, and the package; of a function with a name of its own the
//! interface as well. A version fits another by the rules of semver: `1.2.0` is found under `1.5.3`.
//! A function that the world itself exports is `$root.function`, and one of an interface without a
//! package, which stands in the world itself, may be `$root.interface.function`.

use std::fmt;

use crate::offer;

/// What stands for the interface of a function that has none.
pub(crate) const ROOT: &str = "$root";

/// A function and its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionName<'a> {
    pub(crate) interface: Option<&'a str>,
    pub(crate) function: &'a str,
}

/// Why a name leads to no function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// No function has it.
    #[error("no function `{name}`; available: {}", told(known))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// More than one has.
    #[error("`{name}` is ambiguous: it can mean {}", told(meant))]
    Ambiguous {
        /// The name.
        name: String,
        /// Whom it may mean.
        meant: Vec<String>,
    },
}

/// The most names that a message lists.
const NAMES_TOLD_MAX: usize = 12;

fn told(names: &[String]) -> String {
    let mut text: Vec<String> =
        names.iter().take(NAMES_TOLD_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMES_TOLD_MAX {
        text.push(format!("{} more", names.len() - NAMES_TOLD_MAX));
    }
    if text.is_empty() { "none".into() } else { text.join(", ") }
}

impl<'a> FunctionName<'a> {
    /// The parts of a name. Only versions have points in them, so that the last one divides.
    pub(crate) fn parse(name: &'a str) -> Self {
        match name.rsplit_once('.') {
            Some((interface, function)) => Self { interface: Some(interface), function },
            None => Self { interface: None, function: name },
        }
    }

    /// Whether this name, which may be short, means the whole one.
    fn means(&self, whole: &FunctionName<'_>) -> bool {
        let whole_interface = whole.interface.unwrap_or(ROOT);
        self.function == whole.function
            && self.interface.is_none_or(|own| is_interface(own, whole_interface))
    }
}

impl fmt::Display for FunctionName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.interface.unwrap_or(ROOT), self.function)
    }
}

/// The function's own name, of a name with an interface that has a package; another name is left as
/// it is.
pub(crate) fn plain(name: &str) -> &str {
    let parsed = FunctionName::parse(name);
    let typed = |interface: &str| interface.contains(':') || interface == ROOT;
    if parsed.interface.is_some_and(typed) { parsed.function } else { name }
}

/// A whole name as it stands in a route: it tells by itself that it is one of a typed function, so
/// that an interface without a package gets the mark of the world that it stands in.
pub(crate) fn in_a_route(name: &str) -> String {
    match name.contains(':') || name.starts_with(ROOT) {
        true => name.to_owned(),
        false => format!("{ROOT}.{name}"),
    }
}

/// Whether a function is one that a language's tool called while it built the component, and left
/// in it: the one by which componentize-qjs, or componentize-py, begins its interpreter. Nobody is
/// to call it again.
pub(crate) fn is_tools<'a>(function: &str, mut params: impl Iterator<Item = &'a str>) -> bool {
    let begins = (params.next(), params.next());
    function == "init"
        && [(Some("shim"), Some("script")), (Some("app-name"), Some("symbols"))].contains(&begins)
}

/// Whether `name`, which may lack version and package, means the interface `whole`.
pub(crate) fn is_interface(name: &str, whole: &str) -> bool {
    let path = whole.split('@').next().unwrap_or(whole);
    let own = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_prefix("$root.").filter(|_| path == own).unwrap_or(name);
    name == path || name == own || offer::compatible(name, whole)
}

/// The whole name that `name` means among those that are known.
pub(crate) fn find<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<&'a str, Unnamed> {
    let short = FunctionName::parse(name);
    let mut meant = known.clone().filter(|whole| short.means(&FunctionName::parse(whole)));
    let shown = || name.chars().take(128).collect();
    match (meant.next(), meant.next()) {
        (Some(whole), None) => Ok(whole),
        (None, _) => {
            Err(Unnamed::Unknown { name: shown(), known: known.map(str::to_owned).collect() })
        }
        (Some(one), Some(two)) => {
            let meant = [one, two].into_iter().chain(meant).map(str::to_owned).collect();
            Err(Unnamed::Ambiguous { name: shown(), meant })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = [
        "demo:tex/render@1.2.0.svg",
        "demo:tex/render@1.2.0.png",
        "demo:tex/other.svg",
        "$root.run",
        "inline.add",
    ];

    fn found(name: &str) -> String {
        find(name, KNOWN.into_iter()).map_or_else(|why| why.to_string(), str::to_owned)
    }

    /// If this failed, callers could start an interpreter anew with a program of theirs, or a
    /// component's own `init` could not be called.
    #[test]
    fn what_tools_leave_behind_is_known() {
        assert!(is_tools("init", ["shim", "script", "entry-path", "disable-gc"].into_iter()));
        assert!(is_tools("init", ["app-name", "symbols", "stub-wasi"].into_iter()));
        assert!(!is_tools("init", ["app-name"].into_iter()));
        assert!(!is_tools("begin", ["shim", "script"].into_iter()));
    }

    /// If this failed, a function would be called by its name and not be found, or another would.
    #[test]
    fn short_names_mean_whole_ones() {
        for name in [
            "png",
            "render.png",
            "demo:tex/render.png",
            "demo:tex/render@1.0.0.png",
            "demo:tex/render@1.9.9.png",
        ] {
            assert_eq!(found(name), "demo:tex/render@1.2.0.png", "{name}");
        }
        assert_eq!(found("run"), "$root.run");
        for name in ["add", "inline.add", "$root.inline.add"] {
            assert_eq!(found(name), "inline.add", "{name}");
        }
        assert!(found("$root.render.png").starts_with("no function `"));
        assert_eq!(found("other.svg"), "demo:tex/other.svg");
        assert_eq!(
            found("svg"),
            "`svg` is ambiguous: it can mean `demo:tex/render@1.2.0.svg`, `demo:tex/other.svg`"
        );
        for name in ["demo:tex/render@2.0.0.png", "tex/render.png", "gif", "", "render."] {
            assert!(found(name).starts_with("no function `"), "{name}: {}", found(name));
        }
    }
}
