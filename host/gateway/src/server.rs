//! A listener: takes connections up to its limit and serves HTTP/1.1 on each, until told to stop.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{
    guard::{Guard, Requests},
    limits::Limits,
    refusal::Refusal,
};

/// What answers the requests of a listener.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answer a request of the client at an address.
    fn handle(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response> + Send;
}

/// Serve until `stop` says true, then finish what is in work for at most `grace`.
pub(crate) async fn serve<H: Handler>(
    listener: TcpListener,
    limits: Limits,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let max = limits.connections_max;
    let limits = Arc::new(limits);
    let connections = Arc::new(Semaphore::new(max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, client) = match accepted {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors, mostly: some come back.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&connections).try_acquire_owned() {
            Ok(permit) => {
                let (limits, handler) = (Arc::clone(&limits), Arc::clone(&handler));
                tokio::spawn(connection((stream, client), limits, handler, stop.clone(), permit));
            }
            Err(_) => turn_away(stream, max),
        }
    }
    drop(listener);
    let all = connections.acquire_many(u32::try_from(max).unwrap_or(u32::MAX));
    if timeout(grace, all).await.is_err() {
        tracing::warn!("connections closed at the end of the grace period");
    }
}

/// Refuse a connection without spending anything on it.
fn turn_away(stream: TcpStream, max: usize) {
    let refusal = Refusal::Full { what: "connections", max };
    if let Ok(mut stream) = stream.into_std() {
        // A new socket's buffer is empty: this takes it all or the client is gone.
        let _ = std::io::Write::write(&mut stream, &refusal.to_http());
    }
}

/// RFC 9112 section 3.2.2: where the target has a host, it counts and not the header.
fn take_host_of_target(request: &mut Request<Incoming>) {
    let authority = request.uri().authority();
    let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

async fn connection<H: Handler>(
    (stream, client): (TcpStream, IpAddr),
    limits: Arc<Limits>,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let requests = Arc::new(Requests::default());
    let guard = Guard::new(stream, Arc::clone(&limits), Arc::clone(&requests));
    let service = service_fn(move |mut request| {
        let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
        Box::pin(async move {
            take_host_of_target(&mut request);
            let response = handler.handle(request, client).await;
            requests.answered();
            Ok::<_, Infallible>(response)
        })
    });
    // The guard has checked the head's size; these only must not be smaller.
    let buffer = limits.header_bytes_max + limits.uri_bytes_max + (16 << 10);
    let mut connection = http1::Builder::new()
        .max_headers(limits.headers_max + 1)
        .max_buf_size(buffer)
        .serve_connection(TokioIo::new(guard), service);
    let mut stopping = Box::pin(stop.wait_for(|stop| *stop));
    let mut told = false;
    let ended = poll_fn(|cx| {
        if !told && stopping.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match connection.poll_without_shutdown(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => Poll::Pending,
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection ended early");
    }
    connection.into_parts().io.into_inner().close().await;
    drop(permit);
}
