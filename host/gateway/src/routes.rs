//! From a path to a function: the routes of all apps in one router, made anew with every change of
//! the app table.

use std::sync::Arc;

use izna_proto::{Route, TableEntry};
use matchit::Router;

/// Paths less alike than this are not offered as what may have been meant.
const LIKENESS_MIN: f64 = 0.5;
const OFFERED_MAX: usize = 3;

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
                match routes.router.insert(&route.path, Arc::new(target)) {
                    Ok(()) => routes.paths.push(route.path.clone()),
                    Err(error) => {
                        let (app, path) = (&app.name, &route.path);
                        tracing::warn!(%app, path, %error, "a route is left out");
                    }
                }
            }
        }
        routes
    }

    /// Where `path` leads, and what its parameters matched.
    pub(crate) fn find(&self, path: &str) -> Option<(&Target, Vec<(String, String)>)> {
        let found = self.router.at(path).ok()?;
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
