//! Why a node cannot start, or cannot do what it was asked to.

use izna_proto::Digest;

use crate::{identity, sockets, tls};

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
    Net(#[from] sockets::Error),
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
    #[error("invalid route `{route}`")]
    Route {
        /// Its path.
        route: String,
        /// Why.
        source: izna_runtime::Unnamed,
    },
    /// A deploy of what was not admitted here.
    #[error(
        "component \"{component}\" of app \"{app}\" has not been uploaded to this node: {digest}"
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
    #[error("app \"{app}\" is not deployed")]
    NotDeployed {
        /// The app.
        app: String,
    },
    /// The app table does not take it.
    #[error("cannot change app \"{app}\"")]
    NotTaken {
        /// The app.
        app: String,
        /// Why.
        source: izna_core::TableError,
    },
    /// A seed that is not an address.
    #[error("invalid seed \"{seed}\": expected HOST:PORT")]
    Seed {
        /// As it was given.
        seed: String,
    },
    /// Work on a thread of its own panicked: a defect of izna.
    #[error("internal error: the task \"{task}\" panicked; see the node's log")]
    Panicked {
        /// Which work.
        task: &'static str,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}
