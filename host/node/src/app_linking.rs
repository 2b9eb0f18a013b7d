//! Who calls whom in an app that is to be deployed: found out from its components once, so that no
//! step has to.

use std::sync::Arc;

use izna_core::outbound;
use izna_proto::App;
use izna_runtime::{Description, Runtime, link::Part};
use izna_store::Store;

use crate::Error;

/// Check a host as a manifest grants it.
///
/// # Errors
/// With a sentence on what is wrong with it.
pub fn check_host(host: &str) -> Result<(), String> {
    outbound::Grant::parse(host).map(|_| ())
}

/// The app with a link for each import of its direct components, and with the whole names of the
/// functions that its routes lead to. Reads and describes components: not for a thread with
/// sockets.
pub(crate) fn link(mut app: App, store: &Store, runtime: &Runtime) -> Result<App, Error> {
    for component in &app.components {
        for host in &component.grants.hosts {
            check_host(host).map_err(|why| {
                let component = component.name.to_string();
                Error::Host { component, host: host.clone(), why }
            })?;
        }
    }
    let describe = |component: &izna_proto::ComponentSpec| {
        let bytes = store.artifact(component.digest)?.ok_or_else(|| Error::NotAdmitted {
            app: app.name.to_string(),
            component: component.name.to_string(),
            digest: component.digest,
        })?;
        Ok(runtime.describe(&bytes)?)
    };
    let descriptions = app.components.iter().map(describe);
    let descriptions: Vec<Description> = descriptions.collect::<Result<_, Error>>()?;
    let parts = app.components.iter().zip(&descriptions).map(|(component, description)| Part {
        name: &component.name,
        links: &component.links,
        description,
    });
    let parts: Vec<Part<'_>> = parts.collect();
    let links = izna_runtime::link::resolve(&parts)?;
    for route in &mut app.routes {
        let part = parts.iter().find(|part| *part.name == *route.component);
        if let Some(part) = part {
            let function = part.description.function(&route.function);
            let function =
                function.map_err(|source| Error::Route { route: route.path.clone(), source })?;
            route.function = Arc::from(function);
        }
    }
    drop(parts);
    app.components.iter_mut().zip(links).for_each(|(component, links)| component.links = links);
    Ok(app)
}
