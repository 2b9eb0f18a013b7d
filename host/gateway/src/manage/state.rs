//! What the handlers of the management API share, and what they look up in it.

use std::sync::Arc;

use axum::http::StatusCode;
use izna_proto::{App, ComponentSpec};
use serde::de::DeserializeOwned;

use crate::{
    cluster::Cluster,
    metrics::Metrics,
    refusal::{Refusal, listed},
};

/// Names that differ in more letters are not offered as what may have been meant.
const DISTANCE_MAX: usize = 2;
const OFFERED_MAX: usize = 3;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) metrics: Arc<Metrics>,
    /// Where the public listener is.
    pub(super) url: Arc<str>,
}

impl Shared {
    /// The app of that name.
    pub(super) fn app(&self, name: &str) -> Result<App, Refusal> {
        let table = Arc::clone(&self.cluster.table().borrow());
        let known = table.iter().filter_map(|entry| entry.app.as_ref());
        let app = known.into_iter().find(|known| *known.name == *name);
        app.cloned().ok_or_else(|| self.no_app(name))
    }

    /// That there is no app of that name, and which may have been meant.
    pub(super) fn no_app(&self, name: &str) -> Refusal {
        let table = Arc::clone(&self.cluster.table().borrow());
        let known = table.iter().filter(|entry| entry.app.is_some()).map(|entry| &*entry.name);
        let is_near = |known: &&str| strsim::damerau_levenshtein(known, name) <= DISTANCE_MAX;
        let near: Vec<&str> = known.filter(is_near).take(OFFERED_MAX).collect();
        let hint = match near.as_slice() {
            [] => String::new(),
            near => format!("; did you mean {}?", listed(near)),
        };
        let message = format!("app `{}` is not deployed{hint}", name.escape_debug());
        Refusal::other(StatusCode::NOT_FOUND, "no-app", message)
    }
}

/// The component of that name.
pub(super) fn component<'a>(app: &'a App, name: &str) -> Result<&'a ComponentSpec, Refusal> {
    app.component(name).ok_or_else(|| {
        let known: Vec<&str> = app.components.iter().map(|component| &*component.name).collect();
        let (name, known) = (name.escape_debug(), listed(&known));
        let message = format!("app `{}` has no component `{name}`, only {known}", app.name);
        Refusal::other(StatusCode::NOT_FOUND, "no-component", message)
    })
}

/// What a body says.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("invalid request body: {error}");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-json", message)
    })
}
