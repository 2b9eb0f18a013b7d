//! Why a node cannot start, or cannot do what it was asked to.

use izna_proto::Digest;

use crate::{identity, net, tls};

/// Why a node cannot start, or cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its identity.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Its identity, for TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Its sockets.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Its data directory.
    #[error(transparent)]
    Store(#[from] izna_store::Error),
    /// The engine, or a component that it does not take.
    #[error(transparent)]
    Runtime(#[from] izna_runtime::Error),
    /// Components of an app that do not fit together.
    #[error(transparent)]
    Link(#[from] izna_runtime::link::Error),
    /// A host that a component may be granted requests to, but that is none.
    #[error("component `{component}`: allowed_outbound_hosts `{host}`: {why}")]
    Host {
        /// The component.
        component: String,
        /// As it was given.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A route to a function that is not there.
    #[error("route `{route}` leads nowhere")]
    Route {
        /// Its path.
        route: String,
        /// Why.
        source: izna_runtime::Unnamed,
    },
    /// A deploy of what was not admitted here.
    #[error(
        "the component \"{component}\" of \"{app}\" is not here: nobody gave this node {digest}"
    )]
    NotAdmitted {
        /// The app.
        app: String,
        /// The component's name in it.
        component: String,
        /// Its code.
        digest: Digest,
    },
    /// An app that is not deployed.
    #[error("no app \"{app}\" is deployed")]
    NotDeployed {
        /// The app.
        app: String,
    },
    /// The app table does not take it.
    #[error("\"{app}\" does not fit")]
    NotTaken {
        /// The app.
        app: String,
        /// Why.
        source: izna_core::TableError,
    },
    /// A seed that is not an address.
    #[error("\"{seed}\" is no address of a node: it must be HOST:PORT")]
    Seed {
        /// As it was given.
        seed: String,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}
