//! Requests of components to hosts outside: looked up once, connected to what was found and
//! checked, and answered whole. Where they may go `izna_core::outbound` says. No redirect is
//! followed and no proxy asked: the component sees what came and may ask again.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{self, HeaderName},
};
use hyper_util::rt::TokioIo;
use izna_core::outbound::{self, Destination, Grant, Scheme};
use izna_runtime::{Fetch, FetchError, FetchErrorKind as Kind, Whole};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Requests of all components of a node that are on their way.
const REQUESTS_MAX: usize = 256;
/// How long a name may take to be looked up and a host to be connected to.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a response may take to begin, and to go on.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a request may take as a whole.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// The longest head of a response, in bytes, and its most headers.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
/// Headers that belong to one connection, or that the connection itself writes.
const NOT_PASSED: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// What all requests of a node share.
#[derive(Debug)]
pub(crate) struct HttpClient {
    requests: Arc<Semaphore>,
    /// What the machine trusts, read when it is first needed.
    tls: OnceLock<Result<Arc<rustls::ClientConfig>, String>>,
}

type Fetched = Result<Response<Whole>, FetchError>;

fn failed(kind: Kind, message: impl Into<String>) -> FetchError {
    FetchError { kind, message: message.into() }
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        Self { requests: Arc::new(Semaphore::new(REQUESTS_MAX)), tls: OnceLock::new() }
    }

    /// Send a request to a host that is among `hosts`. `bytes_max` bounds the body that comes back.
    pub(crate) async fn fetch(&self, hosts: &[String], fetch: Fetch, bytes_max: u64) -> Fetched {
        let grants: Vec<Grant> = hosts.iter().filter_map(|host| Grant::parse(host).ok()).collect();
        let to = destination(&fetch.request)?;
        if !outbound::permits(&grants, &to) {
            return Err(failed(Kind::Denied, outbound::denial(&to)));
        }
        let _permit = self.requests.try_acquire().map_err(|_| {
            let message = format!("this node has {REQUESTS_MAX} outgoing requests already");
            failed(Kind::Busy, message)
        })?;
        let whole = async {
            let connect = fetch.connect_timeout.unwrap_or(CONNECT_MAX).min(CONNECT_MAX);
            let connected = timeout(connect, connect_to(&grants, &to)).await;
            let late = || failed(Kind::ConnectTimeout, format!("{to} took over {connect:?}"));
            let stream = connected.map_err(|_| late())??;
            match to.scheme() {
                Scheme::Http => exchange(stream, &to, fetch, bytes_max).await,
                Scheme::Https => {
                    let stream = timeout(connect, self.encrypt(stream, &to)).await;
                    exchange(stream.map_err(|_| late())??, &to, fetch, bytes_max).await
                }
            }
        };
        let late = || failed(Kind::ResponseTimeout, format!("{to} took over {WHOLE_MAX:?}"));
        timeout(WHOLE_MAX, whole).await.map_err(|_| late())?
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
        to: &Destination,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, FetchError> {
        let config = self.tls.get_or_init(client_config).clone();
        let config = config.map_err(|why| failed(Kind::Tls, why))?;
        let name = ServerName::try_from(to.host().to_owned());
        let name = name
            .map_err(|_| failed(Kind::Tls, format!("{to} is not a valid name of a TLS server")))?;
        let encrypted = TlsConnector::from(config).connect(name, stream).await;
        encrypted.map_err(|error| failed(Kind::Tls, format!("{to}: {error}")))
    }
}

/// TLS to whom the machine trusts. Unlike links between nodes this has nothing to do with the
/// cluster's own authority.
fn client_config() -> Result<Arc<rustls::ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this machine has no trusted root certificates".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn destination(request: &Request<Whole>) -> Result<Destination, FetchError> {
    let odd = |what: &str| failed(Kind::Uri, format!("the request's URL has {what}"));
    if request.method() == Method::CONNECT {
        return Err(failed(Kind::Denied, "tunnels (CONNECT) are not granted to anyone"));
    }
    let uri = request.uri();
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(odd("neither the scheme http nor https")),
    };
    let authority = uri.authority().ok_or_else(|| odd("no host"))?;
    if authority.as_str().contains('@') {
        return Err(odd("a user name; send credentials in a header"));
    }
    // A port that is none would be taken for the scheme's own.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => None,
        Some(_) => Some(authority.port_u16().ok_or_else(|| odd("an invalid port"))?),
        None => return Err(odd("an invalid host")),
    };
    Destination::new(scheme, authority.host(), port)
        .map_err(|why| failed(Kind::Uri, format!("{}: {why}", authority.host())))
}

/// The addresses of a host, asked for once: what is checked is what is connected to.
async fn connect_to(grants: &[Grant], to: &Destination) -> Result<TcpStream, FetchError> {
    let found: Vec<IpAddr> = if let Some(address) = to.address() {
        vec![address]
    } else if to.is_local() {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        let found = lookup_host((to.host(), to.port())).await;
        let found = found.map_err(|error| failed(Kind::Dns, format!("{}: {error}", to.host())))?;
        found.map(|address| address.ip()).collect()
    };
    let mut last = failed(Kind::Dns, format!("{} has no address", to.host()));
    for address in found {
        if !outbound::permits_address(grants, to, address) {
            last = failed(Kind::AddressDenied, outbound::address_denial(to, address));
            continue;
        }
        match TcpStream::connect(SocketAddr::new(address.to_canonical(), to.port())).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = failed(Kind::Refused, format!("{to} at {address}: {error}")),
        }
    }
    Err(last)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    to: &Destination,
    fetch: Fetch,
    bytes_max: u64,
) -> Fetched {
    let broken = |error: hyper::Error| match error.is_parse() {
        true => failed(Kind::Protocol, format!("{to}: invalid HTTP response: {error}")),
        false => failed(Kind::Terminated, format!("{to}: {error}")),
    };
    let late = |what: &str| failed(Kind::ResponseTimeout, format!("{to} {what}"));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the exchange: nothing of one component's connection is another's.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let first = fetch.first_byte_timeout.unwrap_or(SILENCE_MAX).min(SILENCE_MAX);
    let response = timeout(first, sender.send_request(outgoing(fetch.request, to))).await;
    let response = response.map_err(|_| late("did not answer in time"))?.map_err(broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(failed(Kind::Protocol, format!("{to} switched to another protocol")));
    }
    let silence = fetch.between_bytes_timeout.unwrap_or(SILENCE_MAX).min(SILENCE_MAX);
    let (parts, body) = response.into_parts();
    let body = collect(body, silence, bytes_max).await;
    let body = body.map_err(|broke| match broke {
        Broke::Off(error) => broken(error),
        Broke::Silent => late("stopped in the middle of its response"),
        Broke::TooLong => {
            let message =
                format!("the response of {to} is over the payload limit of {bytes_max} bytes");
            failed(Kind::ResponseTooLong, message)
        }
    })?;
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = passed(parts.headers, &[header::CONTENT_LENGTH]);
    Ok(response)
}

/// The request as it goes over the connection: a path alone, the host as a header, the length as
/// the body has it.
fn outgoing(request: Request<Whole>, to: &Destination) -> Request<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let mut request = Request::new(Full::new(body.data));
    *request.method_mut() = parts.method;
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    *request.uri_mut() = path.and_then(|path| path.parse().ok()).unwrap_or_default();
    let mut headers = passed(parts.headers, &[]);
    headers.remove(header::HOST);
    let host = match (to.host().contains(':'), to.port() == to.scheme().port()) {
        (false, true) => to.host().to_owned(),
        (false, false) => format!("{}:{}", to.host(), to.port()),
        (true, true) => format!("[{}]", to.host()),
        (true, false) => format!("[{}]:{}", to.host(), to.port()),
    };
    if let Ok(host) = host.parse() {
        headers.insert(header::HOST, host);
    }
    *request.headers_mut() = headers;
    request
}

/// The headers that are not of one connection.
fn passed(mut headers: HeaderMap, kept: &[HeaderName]) -> HeaderMap {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in NOT_PASSED.iter().chain(&nominated).filter(|name| !kept.contains(name)) {
        headers.remove(name);
    }
    headers
}

enum Broke {
    Off(hyper::Error),
    Silent,
    TooLong,
}

async fn collect(mut body: Incoming, silence: Duration, max: u64) -> Result<Whole, Broke> {
    if body.size_hint().lower() > max {
        return Err(Broke::TooLong);
    }
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        let frame = timeout_at(Instant::now() + silence, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Broke::Silent)? else { break };
        match frame.map_err(Broke::Off)?.into_data() {
            Ok(piece) if (data.len() + piece.len()) as u64 > max => return Err(Broke::TooLong),
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(Whole { data: data.into(), trailers })
}
