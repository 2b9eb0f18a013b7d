//! The manifest `izna.toml`: an app as its author writes it, checked before anything is sent. Each
//! error names the line.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use izna_gateway::deploy::{self, CPU_MS, DEADLINE_MS, MEMORY_BYTES};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    document::Document,
    link::Link,
    quantity::Size,
    trouble::{Exit, Trouble, nearest},
};

/// What a manifest is called.
pub(crate) const NAME: &str = "izna.toml";
const DEADLINE_MS_DEFAULT: u32 = 10_000;
const COMPONENTS_MAX: usize = 256;

/// A manifest that was checked.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The folder that its paths are relative to.
    pub(crate) folder: PathBuf,
    /// The app's name.
    pub(crate) app: String,
    /// Its components, by name.
    pub(crate) components: Vec<Component>,
    /// Its routes.
    pub(crate) routes: Vec<Route>,
}

/// A component of a manifest.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) name: String,
    /// Its file.
    pub(crate) source: PathBuf,
    /// Where the manifest names the file.
    pub(crate) at: String,
    /// What builds it, for the shell.
    pub(crate) build: Option<String>,
    pub(crate) links: BTreeMap<String, Link>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) allowed_outbound_hosts: Vec<String>,
    pub(crate) memory: Size,
    pub(crate) cpu_ms: u32,
    pub(crate) nodes: Option<Vec<String>>,
    pub(crate) zone: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) adopt: bool,
}

/// A route of a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) component: String,
    pub(crate) function: String,
    pub(crate) deadline_ms: u32,
    pub(crate) idempotent: bool,
    pub(crate) methods: Vec<String>,
}

/// An app for Izna.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "izna.toml")]
pub(crate) struct Text {
    /// Settings of the app as a whole.
    app: AppText,
    /// Its components, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ComponentText>")]
    component: BTreeMap<String, Spanned<ComponentText>>,
    /// The HTTP paths that call its functions.
    #[serde(default)]
    route: Vec<RouteText>,
}

/// Settings of the app as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AppText {
    /// Its name: letters, digits, `-`, `_` or `.`.
    #[schemars(with = "String")]
    name: Spanned<String>,
}

/// A component.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ComponentText {
    /// The WebAssembly file, relative to the manifest.
    #[schemars(with = "String")]
    source: Spanned<String>,
    /// The shell command that builds the file; run by `izna build`, `izna dev` and `izna deploy`.
    build: Option<String>,
    /// The components that it may call: the name that it uses, and the component of the app behind
    /// it. For a direct component the name is an interface that it imports, and needed only where
    /// several components export that interface.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Link>")]
    links: BTreeMap<String, Spanned<Link>>,
    /// Its environment variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    env: BTreeMap<String, Spanned<String>>,
    /// Its settings in `wasi:config`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    config: BTreeMap<String, Spanned<String>>,
    /// The hosts that it may send requests to, each as `[http://|https://]HOST[:PORT|:*]`, where
    /// HOST is a name, `*.` and a name, `*`, an address, or a network. Addresses that are not public
    /// must be listed explicitly.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    allowed_outbound_hosts: Vec<Spanned<String>>,
    /// The limits of one step.
    #[serde(default)]
    limits: LimitsText,
    /// The nodes that hold it; default: all. While these are at capacity, idle nodes adopt it too.
    #[schemars(with = "Option<Vec<String>>")]
    nodes: Option<Spanned<Vec<String>>>,
    /// The zone that its holders must be in.
    #[schemars(with = "Option<String>")]
    zone: Option<Spanned<String>>,
    /// Labels that its holders must have, such as `gpu`; a node gets them with `--label`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    labels: Vec<Spanned<String>>,
    /// Whether idle nodes adopt it while all its holders are at capacity; default: true.
    adopt: Option<bool>,
}

/// The limits of one step.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    /// Linear memory, 1MiB to 1GiB; default: 64MiB.
    #[schemars(with = "Option<Size>")]
    memory: Option<Spanned<Size>>,
    /// CPU time in milliseconds, 1 to 600000; default: 1000.
    #[schemars(with = "Option<u32>")]
    cpu_ms: Option<Spanned<u32>>,
}

/// An HTTP path that calls a function.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RouteText {
    /// The path; `{name}` matches one segment, `{*name}` the rest; `/...` at its end matches the
    /// path before it and everything below.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// The component.
    #[schemars(with = "String")]
    component: Spanned<String>,
    /// Its function, which gets the HTTP request. For a direct component `interface.function`, which
    /// gets the values that the request has under the names of its parameters. Omitted for a
    /// component that exports `wasi:http/incoming-handler`.
    #[schemars(with = "Option<String>")]
    function: Option<Spanned<String>>,
    /// The deadline of a request in milliseconds, 1 to 3600000; default: 10000.
    #[schemars(with = "Option<u32>")]
    deadline_ms: Option<Spanned<u32>>,
    /// Whether any request may run again when its process is lost; default: only requests with an
    /// idempotent method.
    #[serde(default)]
    idempotent: bool,
    /// The methods that it takes, such as `["GET", "PUT"]`; others are answered with 405. `HEAD`
    /// comes with `GET`, and `OPTIONS` is answered. When absent, `GET` and `POST` for a function of
    /// a direct component, and any for the others.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    methods: Vec<Spanned<String>>,
}

/// The manifest at `path`: the file, or a folder that has it or is inside one that has.
pub(crate) fn find(path: &Path) -> Result<PathBuf, Trouble> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    if !path.exists() {
        let text = format!("no such file or directory: {}", path.display());
        return Err(Trouble::new(Exit::NoInput, text));
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let found = whole.ancestors().map(|folder| folder.join(NAME)).find(|file| file.is_file());
    let found = found.map(|file| if path.join(NAME).is_file() { path.join(NAME) } else { file });
    found.ok_or_else(|| {
        let what = format!("no `{NAME}` in {} or its parent directories", path.display());
        Trouble::new(Exit::NoInput, what).fix("create an app with `izna new NAME`")
    })
}

/// Read and check the manifest in the file `path`.
pub(crate) fn read(path: &Path) -> Result<Manifest, Trouble> {
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    check(&Document::read(path)?, folder)
}

fn check(document: &Document, folder: PathBuf) -> Result<Manifest, Trouble> {
    let text: Text = document.parse(Exit::Data)?;
    let checker = Checker { document, names: text.component.keys().cloned().collect() };
    checker.name("app name", text.app.name.as_ref(), &text.app.name.span())?;
    if text.component.is_empty() {
        let trouble = checker.wrong("the app has no component", &text.app.name.span());
        return Err(trouble.fix("add one: [component.NAME] with source = \"FILE.wasm\""));
    }
    if text.component.len() > COMPONENTS_MAX || text.route.len() > COMPONENTS_MAX {
        let what = format!("more than {COMPONENTS_MAX} components or routes");
        return Err(Trouble::new(Exit::Data, what));
    }
    let components = text
        .component
        .into_iter()
        .map(|(name, component)| checker.component(&folder, name, component))
        .collect::<Result<_, _>>()?;
    let routes = checker.routes(&text.route)?;
    Ok(Manifest { folder, app: text.app.name.into_inner(), components, routes })
}

struct Checker<'a> {
    document: &'a Document,
    names: BTreeSet<String>,
}

impl Checker<'_> {
    fn wrong(&self, what: impl Into<String>, span: &Range<usize>) -> Trouble {
        Trouble::new(Exit::Data, what).at(self.document.line(span))
    }

    fn name(&self, what: &str, name: &str, span: &Range<usize>) -> Result<(), Trouble> {
        deploy::check_name(what, name).map_err(|error| self.wrong(error, span))
    }

    fn typed_name(&self, what: &str, name: &str, span: &Range<usize>) -> Result<(), Trouble> {
        deploy::check_typed_name(what, name).map_err(|error| self.wrong(error, span))
    }

    fn component(
        &self,
        folder: &Path,
        name: String,
        text: Spanned<ComponentText>,
    ) -> Result<Component, Trouble> {
        self.name("component name", &name, &text.span())?;
        let text = text.into_inner();
        for (link, target) in &text.links {
            self.typed_name("link name", link, &target.span())?;
            let (to, span) = (&target.as_ref().component, target.span());
            self.known(&format!("component `{name}` links to"), to, &span)?;
        }
        if let Some(nodes) = text.nodes.as_ref().filter(|nodes| nodes.as_ref().is_empty()) {
            let what = format!("component `{name}` has an empty list of nodes");
            let trouble = self.wrong(what, &nodes.span());
            return Err(trouble.fix("remove `nodes` to place it on all nodes"));
        }
        let words = text.labels.iter().map(|label| ("label", label));
        for (what, word) in words.chain(text.zone.iter().map(|zone| ("zone name", zone))) {
            deploy::check_label(what, word.as_ref())
                .map_err(|error| self.wrong(error, &word.span()))?;
        }
        let limits = izna_proto::Limits::default();
        let memory = self.memory(text.limits.memory.as_ref())?;
        let cpu_ms = self.number("cpu_ms", text.limits.cpu_ms.as_ref(), CPU_MS)?;
        Ok(Component {
            name,
            at: self.document.line(&text.source.span()),
            source: folder.join(text.source.as_ref()),
            build: text.build,
            env: self.settings("env", text.env)?,
            config: self.settings("config", text.config)?,
            allowed_outbound_hosts: self.hosts(text.allowed_outbound_hosts)?,
            links: text.links.into_iter().map(|(own, to)| (own, to.into_inner())).collect(),
            memory: memory.unwrap_or(Size(limits.memory_bytes_max)),
            cpu_ms: cpu_ms.unwrap_or(limits.cpu_ms_max),
            nodes: text.nodes.map(Spanned::into_inner),
            zone: text.zone.map(Spanned::into_inner),
            labels: text.labels.into_iter().map(Spanned::into_inner).collect(),
            adopt: text.adopt.unwrap_or(true),
        })
    }

    fn settings(
        &self,
        sort: &str,
        settings: BTreeMap<String, Spanned<String>>,
    ) -> Result<BTreeMap<String, String>, Trouble> {
        for (key, value) in &settings {
            deploy::check_setting(sort, key, value.as_ref())
                .map_err(|why| self.wrong(format!("{sort} {why}"), &value.span()))?;
        }
        Ok(settings.into_iter().map(|(key, value)| (key, value.into_inner())).collect())
    }

    fn hosts(&self, hosts: Vec<Spanned<String>>) -> Result<Vec<String>, Trouble> {
        let check = |host: Spanned<String>| {
            izna_node::check_host(host.as_ref()).map_err(|why| {
                let what = format!("allowed_outbound_hosts `{}`: {why}", host.as_ref());
                self.wrong(what, &host.span())
            })?;
            Ok(host.into_inner())
        };
        hosts.into_iter().map(check).collect()
    }

    fn memory(&self, memory: Option<&Spanned<Size>>) -> Result<Option<Size>, Trouble> {
        let Some(memory) = memory else { return Ok(None) };
        let (min, max) = MEMORY_BYTES;
        let size = *memory.as_ref();
        if !(min..=max).contains(&size.0) {
            let what = format!("invalid memory {size}: expected {} to {}", Size(min), Size(max));
            return Err(self.wrong(what, &memory.span()));
        }
        Ok(Some(size))
    }

    fn number(
        &self,
        what: &str,
        number: Option<&Spanned<u32>>,
        (min, max): (u32, u32),
    ) -> Result<Option<u32>, Trouble> {
        let Some(number) = number else { return Ok(None) };
        let value = *number.as_ref();
        if !(min..=max).contains(&value) {
            let what = format!("invalid {what} {value}: expected {min} to {max}");
            return Err(self.wrong(what, &number.span()));
        }
        Ok(Some(value))
    }

    /// Check that `name` is a component of the app.
    fn known(&self, who: &str, name: &str, span: &Range<usize>) -> Result<(), Trouble> {
        if self.names.contains(name) {
            return Ok(());
        }
        let what = format!("{who} `{name}`, which is not a component of this app");
        let trouble = self.wrong(what, span);
        Err(match nearest(name, self.names.iter().map(String::as_str)) {
            Some(meant) => trouble.fix(format!("did you mean `{meant}`?")),
            None => {
                let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
                trouble.why(format!("the components of the app: {}", names.join(", ")))
            }
        })
    }

    fn methods(&self, methods: &[Spanned<String>]) -> Result<Vec<String>, Trouble> {
        let check = |method: &Spanned<String>| {
            deploy::check_method(method.as_ref()).map_err(|why| self.wrong(why, &method.span()))?;
            Ok(method.as_ref().clone())
        };
        methods.iter().map(check).collect()
    }

    fn routes(&self, texts: &[RouteText]) -> Result<Vec<Route>, Trouble> {
        let mut routes = Vec::new();
        let mut claimed: BTreeMap<&str, Range<usize>> = BTreeMap::new();
        for text in texts {
            let (path, span) = (text.path.as_ref(), text.path.span());
            deploy::check_path(path).map_err(|error| self.wrong(error.to_string(), &span))?;
            if let Some(first) = claimed.insert(path, span.clone()) {
                let what = format!("duplicate route `{path}`");
                let lines = self.document.lines(&first, &span);
                return Err(Trouble::new(Exit::Data, what).at(lines));
            }
            let (to, at) = (text.component.as_ref(), text.component.span());
            self.known(&format!("route `{path}` leads to"), to, &at)?;
            if let Some(function) = &text.function {
                self.typed_name("function name", function.as_ref(), &function.span())?;
            }
            let deadline = self.number("deadline_ms", text.deadline_ms.as_ref(), DEADLINE_MS)?;
            routes.push(Route {
                path: path.clone(),
                component: text.component.as_ref().clone(),
                function: text.function.as_ref().map(|f| f.as_ref().clone()).unwrap_or_default(),
                deadline_ms: deadline.unwrap_or(DEADLINE_MS_DEFAULT),
                idempotent: text.idempotent,
                methods: self.methods(&text.methods)?,
            });
        }
        Ok(routes)
    }
}

/// The JSON schema of a manifest, for editors.
pub(crate) fn schema() -> String {
    let schema = schemars::schema_for!(Text);
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match check(&Document::made(text), PathBuf::from("app")) {
            Ok(manifest) => format!("{manifest:?}"),
            Err(trouble) => trouble.to_string(),
        }
    }

    const GOOD: &str = r#"
[app]
name = "tex"

[component.cache]
source = "cache.wasm"
links = { renderer = "renderer" }

[component.renderer]
source = "renderer.wasm"
limits = { memory = "64MiB", cpu_ms = 2000 }

[[route]]
path = "/tex"
component = "cache"
function = "render"
"#;

    /// If this fails, the manifest of the guide does not mean what the guide says.
    #[test]
    fn the_manifest_of_the_guide_is_read() {
        let manifest = check(&Document::made(GOOD), PathBuf::from("app")).unwrap();
        assert_eq!(manifest.app, "tex");
        let renderer = &manifest.components[1];
        assert_eq!(renderer.source, Path::new("app/renderer.wasm"));
        assert_eq!((renderer.memory, renderer.cpu_ms), (Size(64 << 20), 2000));
        assert_eq!(manifest.routes[0].deadline_ms, DEADLINE_MS_DEFAULT);
    }

    /// If this fails, a mistake is told without its line, or not at all.
    #[test]
    fn mistakes_are_told_with_their_line() {
        let cases = [
            ("memory", "memmory", "unknown key `memmory`\n  at: izna.toml:11: limits"),
            ("memory", "memmory", "fix: did you mean `memory`?"),
            (
                "\"64MiB\"",
                "\"64\"",
                "invalid size `64`: expected a number with a unit, such as `64MiB`\n  at: ",
            ),
            ("\"64MiB\"", "64", "invalid size `64`: expected a number with a unit"),
            ("\"64MiB\"", "\"8GiB\"", "invalid memory 8GiB: expected 1MiB to 1GiB"),
            ("limits = ", "zone = \"a b\"\nlimits = ", "invalid zone name `a b`"),
            ("limits = ", "labels = [\"\"]\nlimits = ", "invalid label ``"),
            ("2000", "0", "invalid cpu_ms 0: expected 1 to 600000"),
            ("\"renderer\" }", "\"rendrer\" }", "links to `rendrer`, which is not a component of"),
            (
                "\"renderer\" }",
                "{ component = \"rendrer\", local = true } }",
                "links to `rendrer`, which is not a component of",
            ),
            ("\"renderer\" }", "{ lokal = true } }", "unknown key `lokal`"),
            ("\"renderer\" }", "7 }", "expected the name of a component, or { component = "),
            ("\"renderer\" }", "\"rendrer\" }", "izna.toml:7: links = { renderer = \"rendrer\" }"),
            (
                "component = \"cache\"",
                "component = \"x\"",
                "the components of the app: cache, renderer",
            ),
            ("\"tex\"", "\"a b\"", "invalid app name `a b`"),
            ("\"/tex\"", "\"tex\"", "such as `/api`"),
            ("name = \"tex\"", "name =", "izna.toml:3"),
            ("source = \"cache.wasm\"", "", "missing field `source`"),
        ];
        for (from, to, expected) in cases {
            let said = said(&GOOD.replacen(from, to, 1));
            assert!(said.contains(expected), "{to}: {said}");
        }
        let route = GOOD.split_once("[[route]]").unwrap().1;
        let twice = said(&format!("{GOOD}[[route]]{route}"));
        let both = "error: duplicate route `/tex`\n  \
                    at: izna.toml:14: path = \"/tex\"\n       \
                    izna.toml:18: path = \"/tex\"";
        assert_eq!(twice, both);
    }

    /// If this fails, editors check manifests by other rules than `izna deploy`.
    #[test]
    fn the_published_schema_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/izna.schema.json");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == schema(), "run `BLESS=1 cargo test -p izna schema`");
    }
}
