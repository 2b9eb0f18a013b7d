//! What a component may import, and what to say about the rest.

use crate::{RefusedImport, granted};

/// The interface that every explicit component exports.
pub(crate) const HANDLER: &str = "izna:process/handler@0.1.0";

/// The interfaces on offer: package, names, version. Those of WASI are what `wasmtime-wasi` links;
/// files and network among them are empty and closed, because standard libraries import them
/// whether they are used or not.
const OFFERED: [(&str, &[&str], &str); 8] = [
    ("izna:memory", &["store"], "0.1.0"),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
        WASI,
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"], WASI),
    ("wasi:filesystem", &["preopens", "types"], WASI),
    ("wasi:http", &["outgoing-handler", "types"], WASI),
    ("wasi:io", &["error", "poll", "streams"], WASI),
    ("wasi:random", &["insecure", "insecure-seed", "random"], WASI),
    (
        "wasi:sockets",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
        WASI,
    ),
];

const WASI: &str = "0.2.12";

/// Every interface on offer, as `package/name@version`.
pub(crate) fn interfaces() -> impl Iterator<Item = String> {
    let numbered = OFFERED.iter().flat_map(|(package, names, version)| {
        names.iter().map(move |name| format!("{package}/{name}@{version}"))
    });
    numbered.chain(granted::CONFIG.iter().chain(&granted::LOGGING).map(|name| (*name).to_owned()))
}

/// The packages on offer, for a message.
pub(crate) fn packages() -> String {
    let numbered = OFFERED.iter().map(|(package, _, version)| format!("{package}@{version}"));
    let others = ["wasi:config", "wasi:logging"].map(String::from);
    numbered.chain(others).collect::<Vec<_>>().join(", ")
}

/// The offered interface that an import of `name` gets.
pub(crate) fn grant(name: &str) -> Option<String> {
    interfaces().find(|offered| compatible(offered, name))
}

/// What an import of `name` is given, where that is not all that its interface can do.
pub(crate) fn extent(name: &str) -> Option<&'static str> {
    let (path, _) = split(name);
    Some(match path {
        "wasi:cli/environment" => "`env` of the manifest",
        "wasi:cli/stdin" => "empty",
        "wasi:cli/stdout" | "wasi:cli/stderr" | "wasi:logging/logging" => "the component's log",
        "wasi:config/store" | "wasi:config/runtime" => "`config` of the manifest",
        "wasi:http/outgoing-handler" => "to `allowed_outbound_hosts` and `links` of the manifest",
        _ if path.starts_with("wasi:cli/terminal-") => "no terminal",
        _ if path.starts_with("wasi:filesystem/") => "no files",
        _ if path.starts_with("wasi:sockets/") => "no network",
        _ => return None,
    })
}

/// Whether two names with versions mean the same interface in compatible versions.
pub(crate) fn compatible(one: &str, other: &str) -> bool {
    let ((one, one_version), (other, other_version)) = (split(one), split(other));
    let is_draft = one_version.contains('-') || other_version.contains('-');
    let fits = match is_draft {
        // Drafts promise nothing to each other.
        true => one_version == other_version,
        false => line(one_version) == line(other_version),
    };
    one == other && fits
}

/// `name`, which nobody grants, with what to do about it.
pub(crate) fn refuse(name: &str) -> RefusedImport {
    RefusedImport { name: name.into(), hint: hint(name) }
}

fn hint(name: &str) -> Option<String> {
    let (path, _) = split(name);
    let package = path.split('/').next().unwrap_or(path);
    if let Some(offered) = interfaces().find(|offered| split(offered).0 == path) {
        return Some(format!("unsupported version: rebuild with {offered}"));
    }
    let known = match package {
        "wasi:http" => Some("of this package, `types` and `outgoing-handler` are supported"),
        "wasi:keyvalue" => Some("use izna:memory/store for a shared key-value store"),
        "wasi_snapshot_preview1" | "wasi_unstable" => {
            Some("WASI 0.1: build for wasm32-wasip2, or use `wasm-tools component new --adapt`")
        }
        _ => None,
    };
    known.map(String::from).or_else(|| nearest(path).map(|near| format!("did you mean {near}?")))
}

/// The offered name that differs in the fewest letters, if it is less than a third of them.
fn nearest(path: &str) -> Option<String> {
    interfaces()
        .map(|offered| (distance(path, split(&offered).0), offered))
        .min()
        .filter(|(distance, offered)| distance * 3 < offered.len())
        .map(|(_, offered)| offered)
}

/// The name that differs in the fewest letters, if it is less than a third of them.
pub(crate) fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|known| (distance(name, known), known));
    let nearest = distances.min().filter(|(distance, known)| distance * 3 < known.len());
    nearest.map(|(_, known)| known)
}

/// How many letters two names differ in, by their first letters alone: a name may be of any length.
fn distance(one: &str, other: &str) -> usize {
    let first = |name: &str| name.chars().take(200).collect::<String>();
    strsim::levenshtein(&first(one), &first(other))
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// The part of a version within which versions are compatible: `1` of 1.2.3, `0.2` of 0.2.3.
fn line(version: &str) -> Vec<&str> {
    let plain = version.split('+').next().unwrap_or(version);
    let numbers: Vec<&str> = plain.split('.').collect();
    let leading_zeros = numbers.iter().take_while(|number| **number == "0").count();
    numbers.into_iter().take(leading_zeros + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a component built against a patch release would be refused, or one for
    /// another version taken.
    #[test]
    fn versions_are_compatible_within_their_line() {
        assert!(compatible("wasi:io/poll@0.2.0", "wasi:io/poll@0.2.12"));
        assert!(!compatible("wasi:io/poll@0.3.0", "wasi:io/poll@0.2.12"));
        assert!(!compatible("wasi:io/poll", "wasi:io/poll@0.2.12"));
        assert!(compatible("a:b/c@1.2.0", "a:b/c@1.9.3"));
        assert!(!compatible("a:b/c@0.0.1", "a:b/c@0.0.2"));
        assert!(!compatible("a:b/c@0.2.0-draft", "a:b/c@0.2.0"));
        assert!(!compatible("a:b/c@0.2.0-draft", "a:b/c@0.2.0-rc.1"));
        assert!(compatible("a:b/c@0.2.0-draft", "a:b/c@0.2.0-draft"));
    }

    /// If this failed, someone with a typing error would have to find it alone.
    #[test]
    fn a_refusal_says_what_to_do() {
        let hint = |name: &str| refuse(name).hint.unwrap_or_default();
        assert_eq!(hint("izna:memory/stor@0.1.0"), "did you mean izna:memory/store@0.1.0?");
        assert_eq!(
            hint("wasi:io/poll@0.3.0"),
            "unsupported version: rebuild with wasi:io/poll@0.2.12"
        );
        assert_eq!(
            hint("wasi:http/handler@0.3.0"),
            "of this package, `types` and `outgoing-handler` are supported"
        );
        assert_eq!(hint("bank:ledger/accounts@7.0.0"), "");
    }

    /// If this failed, a component would be admitted that cannot be linked, or refused though it
    /// could be.
    #[test]
    fn what_is_on_offer_is_what_is_linked() {
        const FUNCTIONS: [&str; 36] = [
            "get",
            "get-environment",
            "exit",
            "get-stderr",
            "get-stdin",
            "get-stdout",
            "[resource-drop]terminal-input",
            "[resource-drop]terminal-output",
            "get-terminal-stderr",
            "get-terminal-stdin",
            "get-terminal-stdout",
            "now",
            "now",
            "get-directories",
            "filesystem-error-code",
            "handle",
            "[method]fields.get",
            "[method]error.to-debug-string",
            "poll",
            "[method]input-stream.read",
            "get-insecure-random-bytes",
            "insecure-seed",
            "get-random-bytes",
            "instance-network",
            "resolve-addresses",
            "[resource-drop]network",
            "[method]tcp-socket.shutdown",
            "create-tcp-socket",
            "[method]udp-socket.stream",
            "create-udp-socket",
            "get",
            "get",
            "get",
            "get",
            "log",
            "log",
        ];
        let engine = wasmtime::Engine::default();
        let mut linker = wasmtime::component::Linker::new(&engine);
        crate::state::State::link(&mut linker).unwrap();
        assert_eq!(interfaces().count(), FUNCTIONS.len());
        for (interface, function) in interfaces().zip(FUNCTIONS) {
            // A resource without a function of its own is known only by its type.
            let (resource, function) = match function.strip_prefix("[resource-drop]") {
                Some(resource) => (true, resource),
                None => (false, function),
            };
            let mut instance = linker.instance(&interface).unwrap();
            let again = if resource {
                let ty = wasmtime::component::ResourceType::host::<()>();
                instance.resource(function, ty, |_, _| Ok(())).is_err()
            } else {
                instance.func_wrap(function, |_, (): ()| Ok(())).is_err()
            };
            assert!(again, "{interface}#{function} was not linked");
        }
    }
}
