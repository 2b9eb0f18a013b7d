//! From a path to a function: the routes of all apps in one router, made anew with every change of
//! the app table.

use std::sync::Arc;

use izna_proto::{Route, TableEntry};
use matchit::Router;

use crate::url::{canonical, canonical_pattern};

/// Paths less alike than this are not offered as what may have been meant.
const LIKENESS_MIN: f64 = 0.5;
const OFFERED_MAX: usize = 3;

/// The name of what is under a prefix.
const UNDER: &str = "{*under}";

/// The router's paths for a route's, in their canonical spelling: three for a prefix, as
/// `/api/...`, else the path itself.
pub(crate) fn patterns(path: &str) -> Vec<String> {
    match path.strip_suffix("/...") {
        Some("") => vec!["/".to_owned(), format!("/{UNDER}")],
        Some(prefix) => {
            let prefix = canonical_pattern(prefix);
            vec![prefix.clone(), format!("{prefix}/"), format!("{prefix}/{UNDER}")]
        }
        None => vec![canonical_pattern(path)],
    }
}

/// Whether a route's path is the router's `path`.
pub(crate) fn is_path(route: &str, path: &str) -> bool {
    canonical_pattern(route) == path
}

/// The routes of all apps.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    router: Router<Arc<Target>>,
    paths: Vec<String>,
}

/// Where a route leads.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) app: Arc<str>,
    pub(crate) route: Route,
}

impl Routes {
    /// The routes of a table. Where two apps claim a path, which a deploy refuses but two deploys
    /// at once can bring about, the first by name has it on every node.
    pub(crate) fn new(table: &[TableEntry]) -> Self {
        let mut apps: Vec<_> = table.iter().filter_map(|entry| entry.app.as_ref()).collect();
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        let mut routes = Self::default();
        for app in apps {
            for route in &app.routes {
                let target = Target { app: Arc::clone(&app.name), route: route.clone() };
                let target = Arc::new(target);
                let patterns = patterns(&route.path);
                let is_prefix = patterns.len() > 1;
                for path in patterns {
                    // What a prefix itself stands for may be another route's.
                    if is_prefix && app.routes.iter().any(|other| is_path(&other.path, &path)) {
                        continue;
                    }
                    routes.insert(path, &target);
                }
            }
        }
        routes
    }

    fn insert(&mut self, path: String, target: &Arc<Target>) {
        match self.router.insert(&path, Arc::clone(target)) {
            Ok(()) => self.paths.push(path),
            Err(error) => {
                let app = &target.app;
                tracing::warn!(%app, path, %error, "route ignored: its paths are taken");
            }
        }
    }

    /// Where `path` leads, and what its parameters matched.
    pub(crate) fn find(&self, path: &str) -> Option<(&Target, Vec<(String, String)>)> {
        let path = canonical(path);
        let found = self.router.at(&path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some((found.value.as_ref(), params.collect()))
    }

    /// The routes most like `path`, best first.
    pub(crate) fn nearest(&self, path: &str) -> Vec<&str> {
        let likeness = |route: &str| strsim::normalized_damerau_levenshtein(path, route);
        let mut scored: Vec<(f64, &str)> = self
            .paths
            .iter()
            .map(|route| (likeness(route), route.as_str()))
            .filter(|(score, _)| *score >= LIKENESS_MIN)
            .collect();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored.into_iter().take(OFFERED_MAX).map(|(_, route)| route).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use izna_proto::App;

    /// If this failed, a prefix would not lead to its component, or hide a route beside it.
    #[test]
    fn a_prefix_takes_itself_and_what_is_under_it() {
        assert_eq!(patterns("/..."), ["/", "/{*under}"]);
        assert_eq!(patterns("/api/..."), ["/api", "/api/", "/api/{*under}"]);
        assert_eq!(patterns("/api/{name}"), ["/api/{name}"]);
        let route = |path: &str| Route {
            path: path.to_owned(),
            component: Arc::from(path),
            function: Arc::from("f"),
            deadline_ms: 1,
            idempotent: false,
            methods: Vec::new(),
        };
        let routes = ["/...", "/", "/api/...", "/api/own"].map(route);
        let app = App { name: Arc::from("app"), components: Vec::new(), routes: routes.into() };
        let entry = TableEntry { name: Arc::clone(&app.name), revision: 1, app: Some(app) };
        let routes = Routes::new(&[entry]);
        let found = |path: &str| routes.find(path).map(|found| found.0.route.path.clone()).unwrap();
        for (path, expected) in [
            ("/", "/"),
            ("/other", "/..."),
            ("/api", "/api/..."),
            ("/api/", "/api/..."),
            ("/api/a/b", "/api/..."),
            ("/api/own", "/api/own"),
            ("/apis", "/..."),
            ("/%61pi/%6fwn", "/api/own"),
            ("/api/x/../own", "/api/own"),
            ("/api%2Fown", "/..."),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }
}
