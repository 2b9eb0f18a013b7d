//! Checks an app before it is deployed: everything in it must lead somewhere. One error at a time,
//! each one sentence that names the part at fault.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::http::StatusCode;
use izna_proto::{App, ComponentSpec, Digest, Grants, Limits, Link, METHODS_MAX, Route};
use matchit::{InsertError, Router};

use crate::{api, cluster::Cluster, node_selector, routes};

pub use crate::names::{
    GRANTS_BYTES_MAX, check_label, check_method, check_name, check_setting, check_typed_name,
};

const PARTS_MAX: usize = 256;
/// The most settings of one sort that a component has, and the longest host, in bytes.
const SETTINGS_MAX: usize = 256;
const HOST_BYTES_MAX: usize = 512;
/// The longest path of a route, in bytes.
const PATH_BYTES_MAX: usize = 2048;
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

fn wrong(text: impl Into<String>) -> Error {
    Error::Wrong(text.into())
}

impl From<node_selector::Error> for Error {
    fn from(error: node_selector::Error) -> Self {
        match error {
            node_selector::Error::Invalid(text) => Self::Wrong(text),
            node_selector::Error::Unmet(text) => Self::Conflict(text),
        }
    }
}

/// Check an app against itself and against what this node knows.
///
/// # Errors
/// With the first thing that is wrong.
pub fn check(app: api::App, cluster: &dyn Cluster) -> Result<App, Error> {
    check_name("app name", &app.name).map_err(wrong)?;
    if app.components.is_empty() {
        return Err(wrong(format!("app `{}` has no component", app.name)));
    }
    for (what, count) in [("components", app.components.len()), ("routes", app.routes.len())] {
        if count > PARTS_MAX {
            return Err(wrong(format!("{count} {what} exceed the limit of {PARTS_MAX}")));
        }
    }
    let mut names = HashSet::new();
    for component in &app.components {
        check_name("component name", &component.name).map_err(wrong)?;
        if !names.insert(component.name.as_str()) {
            return Err(wrong(format!("duplicate component `{}`", component.name)));
        }
    }
    let routes = check_routes(&app, &names, cluster)?;
    let components = app.components.iter().map(|c| check_component(c, &app, cluster));
    let components: Vec<ComponentSpec> = components.collect::<Result<_, _>>()?;
    node_selector::check_local_links(&components, cluster).map_err(Error::Conflict)?;
    let granted: usize = components.iter().map(|component| component.grants.bytes()).sum();
    if granted > GRANTS_BYTES_MAX {
        let text = format!("`env` and `config` of app `{}` have {granted} bytes", app.name);
        return Err(wrong(format!("{text}, which exceeds the limit of {GRANTS_BYTES_MAX}")));
    }
    Ok(App { name: Arc::from(app.name.as_str()), components, routes })
}

fn check_component(
    component: &api::AppComponent,
    app: &api::App,
    cluster: &dyn Cluster,
) -> Result<ComponentSpec, Error> {
    let (name, count) = (&component.name, component.links.len());
    if count > PARTS_MAX {
        let text = format!("component `{name}`: {count} links exceed the limit of {PARTS_MAX}");
        return Err(wrong(text));
    }
    for (link, to) in &component.links {
        check_typed_name("link name", link).map_err(wrong)?;
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
        let digest = component.digest.escape_debug();
        let text = format!("component `{name}`: invalid digest `{digest}`: expected `sha256:` and");
        wrong(format!("{text} 64 hexadecimal digits"))
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
        spread: node_selector::resolve(component, cluster)?,
    })
}

/// Settings are of two sorts, of which only one has rules for names and values.
fn check_grants(component: &api::AppComponent) -> Result<Grants, Error> {
    let name = &component.name;
    for (sort, settings) in [("env", &component.env), ("config", &component.config)] {
        if settings.len() > SETTINGS_MAX {
            let count = settings.len();
            let text = format!("component `{name}`: {count} settings in `{sort}` exceed the limit");
            return Err(wrong(format!("{text} of {SETTINGS_MAX}")));
        }
        for (key, value) in settings {
            check_setting(sort, key, value)
                .map_err(|why| wrong(format!("component `{name}`: {sort} {why}")))?;
        }
    }
    let pairs = |settings: &BTreeMap<String, String>| settings.clone().into_iter().collect();
    let hosts = component.allowed_outbound_hosts.clone();
    if hosts.len() > SETTINGS_MAX || hosts.iter().any(|host| host.len() > HOST_BYTES_MAX) {
        let text = format!("component `{name}`: allowed_outbound_hosts exceed the limit of");
        return Err(wrong(format!("{text} {SETTINGS_MAX} hosts of {HOST_BYTES_MAX} bytes each")));
    }
    Ok(Grants { env: pairs(&component.env), config: pairs(&component.config), hosts })
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
    Err(wrong(format!("component `{name}`: invalid {what} {value}: expected {min} to {max}")))
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
            let is_own = |path: &str| app.routes.iter().any(|r| routes::is_path(&r.path, path));
            patterns.retain(|path| !is_prefix || !is_own(path));
            patterns.iter().try_for_each(|path| claim(&mut router, path, &own))?;
            Ok(Route {
                path: route.path.clone(),
                component: Arc::from(route.component.as_str()),
                function: Arc::from(route.function.as_str()),
                deadline_ms: route.deadline_ms,
                idempotent: route.idempotent,
                methods: route.methods.iter().map(|method| Arc::from(method.as_str())).collect(),
            })
        })
        .collect()
}

fn check_route(route: &api::AppRoute, names: &HashSet<&str>) -> Result<(), Error> {
    let path = &route.path;
    if !route.function.is_empty() {
        check_typed_name("function name", &route.function).map_err(wrong)?;
    }
    if !names.contains(route.component.as_str()) {
        let component = route.component.escape_debug();
        let text = format!("route `{path}` leads to `{component}`, which is not in the app");
        return Err(wrong(text));
    }
    let (min, max) = DEADLINE_MS;
    if !(min..=max).contains(&route.deadline_ms) {
        let deadline = route.deadline_ms;
        let text =
            format!("route `{path}`: invalid deadline_ms {deadline}: expected {min} to {max}");
        return Err(wrong(text));
    }
    if route.methods.len() > METHODS_MAX {
        let count = route.methods.len();
        let text = format!("route `{path}`: {count} methods exceed the limit of {METHODS_MAX}");
        return Err(wrong(text));
    }
    for method in &route.methods {
        check_method(method).map_err(|why| wrong(format!("route `{path}`: {why}")))?;
    }
    check_path(path)
}

/// Check a route's path for itself.
///
/// # Errors
/// When no request could take it.
pub fn check_path(path: &str) -> Result<(), Error> {
    let shown = path.escape_debug();
    if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
        let rule = format!("expected a path of at most {PATH_BYTES_MAX} bytes, such as `/api`");
        return Err(wrong(format!("invalid route `{shown:.64}`: {rule}")));
    }
    if !path.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b)) {
        let text = format!("invalid route `{shown}`: it has a character that no path can contain");
        return Err(wrong(format!("{text}; percent-encode it")));
    }
    if path.split('/').any(|segment| [".", ".."].contains(&segment)) {
        let text = format!("invalid route `{shown}`: no request has `.` or `..` in its path");
        return Err(wrong(text));
    }
    let mut router = Router::new();
    let inserted = routes::patterns(path).into_iter().try_for_each(|path| router.insert(path, ()));
    let why = match inserted {
        Ok(()) => return Ok(()),
        Err(InsertError::InvalidCatchAll) => "`{*name}` must be at its end",
        Err(InsertError::InvalidParamSegment) => "a segment has more than one `{name}`",
        Err(_) => "`{` and `}` must enclose a name",
    };
    Err(wrong(format!("invalid route `{shown}`: {why}")))
}

fn claim(router: &mut Router<Arc<str>>, path: &str, app: &Arc<str>) -> Result<(), Error> {
    let Err(error) = router.insert(path, Arc::clone(app)) else { return Ok(()) };
    let InsertError::Conflict { with } = error else {
        return Err(wrong(format!("invalid route `{path}`: {error}")));
    };
    let holder = router.at(&with).map(|found| Arc::clone(found.value)).ok();
    match holder {
        Some(other) if other != *app => {
            let text = format!("route `{path}` is already claimed by app `{other}`, as `{with}`");
            Err(Error::Conflict(text))
        }
        _ if with == path => Err(wrong(format!("duplicate route `{path}`"))),
        _ => Err(wrong(format!("route `{path}` and route `{with}` match the same paths"))),
    }
}
