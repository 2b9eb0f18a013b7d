//! Checks an app before it is deployed: everything in it must lead somewhere. One error at a time,
//! each one sentence that names the part at fault.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::http::StatusCode;
use izna_proto::{App, ComponentSpec, Digest, Grants, Limits, Link, Route};
use matchit::{InsertError, Router};

use crate::{Cluster, api, routes, spread};

pub(crate) const PARTS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 64;
const TYPED_NAME_BYTES_MAX: usize = 256;
/// The most settings of one sort that a component has, and the longest name of one, in bytes.
const SETTINGS_MAX: usize = 256;
const SETTING_NAME_BYTES_MAX: usize = 256;
const HOST_BYTES_MAX: usize = 512;
/// All that is granted to all components of an app, in bytes: it is on every node, in memory.
pub const GRANTS_BYTES_MAX: usize = 64 << 10;
/// The least and the most linear memory of a step, in bytes.
pub const MEMORY_BYTES: (u64, u64) = (1 << 20, 1 << 30);
/// The least and the most CPU time of a step, in milliseconds.
pub const CPU_MS: (u32, u32) = (1, 600_000);
/// The least and the most time that a request may take, in milliseconds.
pub const DEADLINE_MS: (u32, u32) = (1, 3_600_000);

/// Why an app is not deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with it whatever else is there.
    #[error("{0}")]
    Wrong(String),
    /// Something in it is missing here, or taken.
    #[error("{0}")]
    Conflict(String),
}

impl Error {
    /// The status that says it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict(_) => StatusCode::CONFLICT,
        }
    }
}

pub(crate) fn wrong(text: impl Into<String>) -> Error {
    Error::Wrong(text.into())
}

/// Check an app against itself and against what this node knows.
///
/// # Errors
/// With the first thing that is wrong.
pub fn check(app: api::App, cluster: &dyn Cluster) -> Result<App, Error> {
    check_name("an app", &app.name)?;
    if app.components.is_empty() {
        return Err(wrong(format!("app `{}` has no component", app.name)));
    }
    for (what, count) in [("components", app.components.len()), ("routes", app.routes.len())] {
        if count > PARTS_MAX {
            return Err(wrong(format!("{count} {what} are over the limit of {PARTS_MAX}")));
        }
    }
    let mut names = HashSet::new();
    for component in &app.components {
        check_name("a component", &component.name)?;
        if !names.insert(component.name.as_str()) {
            return Err(wrong(format!("component `{}` stands there twice", component.name)));
        }
    }
    let routes = check_routes(&app, &names, cluster)?;
    let components = app.components.iter().map(|c| check_component(c, &app, cluster));
    let components: Vec<ComponentSpec> = components.collect::<Result<_, _>>()?;
    spread::check_local(&components, cluster)?;
    let granted: usize = components.iter().map(|component| component.grants.bytes()).sum();
    if granted > GRANTS_BYTES_MAX {
        let text = format!("`env` and `config` of all components of app `{}` have", app.name);
        return Err(wrong(format!("{text} {granted} bytes, over the limit of {GRANTS_BYTES_MAX}")));
    }
    Ok(App { name: Arc::from(app.name.as_str()), components, routes })
}

/// Names go into paths, logs and tables: letters, digits and `-_.`.
pub fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
        let rule = format!("1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`");
        return Err(wrong(format!("`{}` is no name of {what}: {rule}", name.escape_debug())));
    }
    Ok(())
}

/// Functions of direct components, and links to their interfaces, have names with a package and a
/// version: `demo:tex/render@1.0.0.svg`.
///
/// # Errors
/// When it is not such a name, or too long.
pub fn check_typed_name(what: &str, name: &str) -> Result<(), Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@$+".contains(&b);
    if name.is_empty() || name.len() > TYPED_NAME_BYTES_MAX || !name.bytes().all(good) {
        let rule = format!("1 to {TYPED_NAME_BYTES_MAX} letters, digits or `-_.:/@$+`");
        return Err(wrong(format!("`{}` is no name of {what}: {rule}", name.escape_debug())));
    }
    Ok(())
}

fn check_component(
    component: &api::AppComponent,
    app: &api::App,
    cluster: &dyn Cluster,
) -> Result<ComponentSpec, Error> {
    let (name, count) = (&component.name, component.links.len());
    if count > PARTS_MAX {
        let text = format!("component `{name}`: {count} links are over the limit of {PARTS_MAX}");
        return Err(wrong(text));
    }
    for (link, to) in &component.links {
        check_typed_name("a link", link)?;
        let target = app.components.iter().find(|other| other.name == to.component);
        let target = target.ok_or_else(|| {
            let target = &to.component;
            wrong(format!("component `{name}` links to `{target}`, which is not in the app"))
        })?;
        if to.local {
            check_local(component, target)?;
        }
    }
    let (bytes, cpu) = (component.memory_bytes_max, component.cpu_ms_max);
    check_range(name, "memory_bytes_max", bytes, MEMORY_BYTES)?;
    check_range(name, "cpu_ms_max", cpu.into(), (CPU_MS.0.into(), CPU_MS.1.into()))?;
    let digest = Digest::parse(&component.digest);
    let digest = digest.ok_or_else(|| {
        wrong(format!("component `{name}`: `{}` is no SHA-256", component.digest.escape_debug()))
    })?;
    let links = component.links.iter().map(|(own, to)| Link {
        name: Arc::from(own.as_str()),
        target: Arc::from(to.component.as_str()),
        local: to.local,
    });
    Ok(ComponentSpec {
        name: Arc::from(name.as_str()),
        digest,
        links: links.collect(),
        limits: Limits { memory_bytes_max: bytes, cpu_ms_max: cpu },
        grants: Arc::new(check_grants(component)?),
        spread: spread::check(component, cluster)?,
    })
}

/// Settings are of two sorts, of which only one has rules for names and values.
fn check_grants(component: &api::AppComponent) -> Result<Grants, Error> {
    let name = &component.name;
    for (sort, settings) in [("env", &component.env), ("config", &component.config)] {
        if settings.len() > SETTINGS_MAX {
            let count = settings.len();
            let text = format!("component `{name}`: {count} settings in `{sort}` are over the");
            return Err(wrong(format!("{text} limit of {SETTINGS_MAX}")));
        }
        for (key, value) in settings {
            check_setting(sort, key, value)
                .map_err(|why| wrong(format!("component `{name}`: {sort} {why}")))?;
        }
    }
    let pairs = |settings: &BTreeMap<String, String>| settings.clone().into_iter().collect();
    let hosts = component.allowed_outbound_hosts.clone();
    if hosts.len() > SETTINGS_MAX || hosts.iter().any(|host| host.len() > HOST_BYTES_MAX) {
        let text =
            format!("component `{name}`: over {SETTINGS_MAX} allowed_outbound_hosts, or one");
        return Err(wrong(format!("{text} over {HOST_BYTES_MAX} bytes")));
    }
    Ok(Grants { env: pairs(&component.env), config: pairs(&component.config), hosts })
}

/// Check a setting for itself; the error goes on after the sort's name.
///
/// # Errors
/// When no component could read it back as it stands there.
pub fn check_setting(sort: &str, key: &str, value: &str) -> Result<(), String> {
    let shown: String = key.chars().take(64).collect::<String>().escape_debug().to_string();
    if key.is_empty() || key.len() > SETTING_NAME_BYTES_MAX {
        return Err(format!("`{shown}`: a name has 1 to {SETTING_NAME_BYTES_MAX} bytes"));
    }
    if sort == "env" && (key.contains(['=', '\0']) || value.contains('\0')) {
        return Err(format!("`{shown}`: environment variables have no `=` or NUL in them"));
    }
    if value.len() > GRANTS_BYTES_MAX {
        let bytes = value.len();
        return Err(format!("`{shown}`: {bytes} bytes are over the limit of {GRANTS_BYTES_MAX}"));
    }
    Ok(())
}

/// A call that stays on its node needs both components there, wherever the caller is.
fn check_local(caller: &api::AppComponent, callee: &api::AppComponent) -> Result<(), Error> {
    let Some(there) = &callee.nodes else { return Ok(()) };
    let lacking = match &caller.nodes {
        None => "some nodes".to_owned(),
        Some(nodes) => match nodes.iter().find(|node| !there.contains(node)) {
            Some(node) => format!("node `{node}`"),
            None => return Ok(()),
        },
    };
    let (caller, callee) = (&caller.name, &callee.name);
    Err(wrong(format!(
        "component `{caller}` has a local link to `{callee}`, which is not on {lacking} that hold \
         `{caller}`; give `{callee}` all the nodes of `{caller}`, or make the link not local"
    )))
}

fn check_range(name: &str, what: &str, value: u64, (min, max): (u64, u64)) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(wrong(format!("component `{name}`: {what} {value} is not within {min} to {max}")))
}

fn check_routes(
    app: &api::App,
    names: &HashSet<&str>,
    cluster: &dyn Cluster,
) -> Result<Vec<Route>, Error> {
    let mut router = Router::new();
    let table = Arc::clone(&cluster.table().borrow());
    let others = table.iter().filter_map(|entry| entry.app.as_ref());
    for other in others.filter(|other| *other.name != *app.name) {
        for route in &other.routes {
            for path in routes::patterns(&route.path) {
                let _ = router.insert(path, Arc::clone(&other.name));
            }
        }
    }
    let own: Arc<str> = Arc::from(app.name.as_str());
    app.routes
        .iter()
        .map(|route| {
            check_route(route, names)?;
            // What a prefix itself stands for may be another route's.
            let mut patterns = routes::patterns(&route.path);
            let is_prefix = patterns.len() > 1;
            patterns.retain(|path| !is_prefix || !app.routes.iter().any(|r| r.path == *path));
            patterns.iter().try_for_each(|path| claim(&mut router, path, &own))?;
            Ok(Route {
                path: route.path.clone(),
                component: Arc::from(route.component.as_str()),
                function: Arc::from(route.function.as_str()),
                deadline_ms: route.deadline_ms,
                idempotent: route.idempotent,
            })
        })
        .collect()
}

fn check_route(route: &api::AppRoute, names: &HashSet<&str>) -> Result<(), Error> {
    let path = &route.path;
    if !route.function.is_empty() {
        check_typed_name("a function", &route.function)?;
    }
    if !names.contains(route.component.as_str()) {
        let component = route.component.escape_debug();
        let text = format!("route `{path}` leads to `{component}`, which is not in the app");
        return Err(wrong(text));
    }
    let (min, max) = DEADLINE_MS;
    if !(min..=max).contains(&route.deadline_ms) {
        let deadline = route.deadline_ms;
        let text = format!("route `{path}`: deadline_ms {deadline} is not within {min} to {max}");
        return Err(wrong(text));
    }
    check_path(path)
}

/// Check a route's path for itself.
///
/// # Errors
/// When no request could take it.
pub fn check_path(path: &str) -> Result<(), Error> {
    let shown = path.escape_debug();
    if !path.starts_with('/') || path.len() > 2048 {
        return Err(wrong(format!("route `{shown}` does not begin with `/`, or is too long")));
    }
    if !path.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b)) {
        let text = format!("route `{shown}` has a character that no path has; percent-encode it");
        return Err(wrong(text));
    }
    let mut router = Router::new();
    let inserted = routes::patterns(path).into_iter().try_for_each(|path| router.insert(path, ()));
    let why = match inserted {
        Ok(()) => return Ok(()),
        Err(InsertError::InvalidCatchAll) => "`{*name}` can only stand at the end",
        Err(InsertError::InvalidParamSegment) => "a segment has more than one `{name}`",
        Err(_) => "`{` and `}` must enclose a name",
    };
    Err(wrong(format!("route `{shown}` is not valid: {why}")))
}

fn claim(router: &mut Router<Arc<str>>, path: &str, app: &Arc<str>) -> Result<(), Error> {
    let Err(error) = router.insert(path, Arc::clone(app)) else { return Ok(()) };
    let InsertError::Conflict { with } = error else {
        return Err(wrong(format!("route `{path}` is not valid: {error}")));
    };
    let holder = router.at(&with).map(|found| Arc::clone(found.value)).ok();
    match holder {
        Some(other) if other != *app => {
            let text = format!("route `{path}` is claimed by app `{other}` already, as `{with}`");
            Err(Error::Conflict(text))
        }
        _ if with == path => Err(wrong(format!("route `{path}` is claimed twice"))),
        _ => Err(wrong(format!("route `{path}` and route `{with}` take the same paths"))),
    }
}
