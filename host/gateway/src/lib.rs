//! The edge of a node: HTTP into processes, outcomes into replies, and the management API.
//!
//! [`Gateway::bind`] opens the two listeners, so that a port in use is told before anything starts;
//! [`Bound::serve`] serves them with a [`Cluster`], which is the node as the gateway sees it.
//!
//! **Invariant.** The gateway knows nothing of what runs a process, and no input, be it a client's
//! or a guest's, makes it panic or keep what is over a [`Limits`].
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod api;
mod body;
mod cluster;
pub mod deploy;
mod exchange;
mod framing;
mod guard;
mod headers;
mod http;
pub mod json;
mod limits;
mod manage;
mod memory;
mod methods;
mod metrics;
mod names;
mod node_selector;
mod public;
mod refusal;
mod routes;
mod server;
mod trace;
mod typed;
mod url;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use cluster::{BoxFuture, Cluster, Metric, MetricKind, Reply, Request, Table, Timing};
pub use limits::{Limits, PAYLOAD_BYTES_MAX};
pub use refusal::Refusal;

/// What a gateway is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients come in. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the node is managed: a loopback address.
    pub manage: SocketAddr,
    /// What the public listener takes.
    pub limits: Limits,
    /// What the management listener takes.
    pub manage_limits: Limits,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A listener could not be opened.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Which listener.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The management listener would be open to others.
    #[error("invalid management address {0}: expected a loopback address, such as 127.0.0.1")]
    Open(SocketAddr),
}

/// Two listeners that nothing serves yet.
#[derive(Debug)]
pub struct Bound {
    public: StdListener,
    manage: StdListener,
    addresses: (SocketAddr, SocketAddr),
    config: Config,
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    addresses: (SocketAddr, SocketAddr),
    stop_public: watch::Sender<bool>,
    stop_manage: watch::Sender<bool>,
    public: JoinHandle<()>,
    manage: JoinHandle<()>,
    follow: JoinHandle<()>,
}

/// How long connections have to end once a gateway stops.
const GRACE: Duration = Duration::from_secs(30);

impl Gateway {
    /// Open both listeners. Connections wait until [`Bound::serve`].
    ///
    /// # Errors
    /// When an address is taken, is not this machine's, or the management one is not loopback.
    pub fn bind(config: Config) -> Result<Bound, Error> {
        if !config.manage.ip().is_loopback() {
            return Err(Error::Open(config.manage));
        }
        let public = listen(config.listen, "HTTP")?;
        let manage = listen(config.manage, "management")?;
        Ok(Bound { addresses: (public.1, manage.1), public: public.0, manage: manage.0, config })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.addresses.0
    }

    /// Where the node is managed.
    pub fn manage_address(&self) -> SocketAddr {
        self.addresses.1
    }

    /// Take no new connections from clients and finish the requests in work. The management
    /// listener goes on.
    pub async fn finish(&mut self) {
        self.stop_public.send_replace(true);
        let _ = (&mut self.public).await;
    }

    /// Stop all that [`Gateway::finish`] left.
    pub async fn stop(self) {
        self.stop_public.send_replace(true);
        self.stop_manage.send_replace(true);
        self.follow.abort();
        let _ = self.manage.await;
    }
}

fn listen(address: SocketAddr, what: &'static str) -> Result<(StdListener, SocketAddr), Error> {
    let open = || {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    open().map_err(|source| Error::Listen { address, what, source })
}

impl Bound {
    /// Where clients will come in.
    pub fn address(&self) -> SocketAddr {
        self.addresses.0
    }

    /// Where the node will be managed.
    pub fn manage_address(&self) -> SocketAddr {
        self.addresses.1
    }

    /// Serve both listeners on the current tokio runtime.
    ///
    /// # Errors
    /// When the runtime does not take the sockets.
    pub fn serve(self, cluster: Arc<dyn Cluster>) -> Result<Gateway, Error> {
        let Config { limits, manage_limits, .. } = self.config;
        let take = |listener, address, what| {
            TcpListener::from_std(listener).map_err(|source| Error::Listen {
                address,
                what,
                source,
            })
        };
        let (address, manage_address) = self.addresses;
        let public = take(self.public, address, "HTTP")?;
        let manage = take(self.manage, manage_address, "management")?;
        let metrics = Arc::new(metrics::Metrics::new(Arc::clone(&cluster)));
        let url = Arc::from(format!("http://{address}"));
        let handler = Arc::new(public::Public::new(
            Arc::clone(&cluster),
            limits.clone(),
            Arc::clone(&metrics),
        ));
        let manager =
            manage::Manage::new(cluster, metrics, manage_limits.clone(), manage_address, url);
        let (stop_public, stopped) = watch::channel(false);
        let (stop_manage, manage_stopped) = watch::channel(false);
        let follower = Arc::clone(&handler);
        let second = Duration::from_secs(1);
        Ok(Gateway {
            addresses: self.addresses,
            stop_public,
            stop_manage,
            follow: tokio::spawn(async move { follower.follow().await }),
            public: tokio::spawn(server::serve(public, limits, handler, stopped, GRACE)),
            manage: tokio::spawn(server::serve(
                manage,
                manage_limits,
                Arc::new(manager),
                manage_stopped,
                second,
            )),
        })
    }
}
