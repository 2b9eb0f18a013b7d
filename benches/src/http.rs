//! HTTP/1.1 as a client that must cost next to nothing: it shares the cores with what it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const HEADERS_MAX: usize = 32;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The names of the nodes that the process visited, one for each step.
    pub fn nodes(&self) -> Vec<String> {
        self.header("x-izna-nodes").map(split_nodes).unwrap_or_default()
    }
}

/// The value of `x-izna-nodes` as names.
pub(crate) fn split_nodes(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Send `bytes` on a connection of their own and wait for the response.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut buffer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        if let Some(whole) = whole(&buffer)? {
            return owned(&buffer, &whole);
        }
        let count = stream.read(&mut piece).context("the response does not come")?;
        if count == 0 {
            bail!("the connection ended after {} bytes of a response", buffer.len());
        }
        buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

/// A GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    exchange(address, &request("GET", path, &[("connection", "close")], &[]))
}

/// A POST on a connection of its own.
pub fn post(address: SocketAddr, path: &str, kind: &str, body: &[u8]) -> Result<Response> {
    let headers = [("connection", "close"), ("content-type", kind)];
    exchange(address, &request("POST", path, &headers, body))
}

/// Where the parts of one whole response are in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    /// Whether the server closes the connection after it.
    pub(crate) closes: bool,
    head_bytes: usize,
    body: Body,
    /// How many bytes of the buffer it takes.
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length,
    Chunks,
}

/// The response at the start of the buffer, if all of it is there.
pub(crate) fn whole(buffer: &[u8]) -> Result<Option<Whole>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(buffer)? else { return Ok(None) };
    let mut length = 0;
    let mut body = Body::Length;
    let mut closes = false;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)?.trim().parse()?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunks;
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let rest = buffer.get(head_bytes..).unwrap_or_default();
    let body_bytes = match body {
        Body::Length => (rest.len() >= length).then_some(length),
        Body::Chunks => chunks(rest, |_| {})?,
    };
    let status = response.code.unwrap_or(0);
    let whole = |body_bytes| {
        let bytes = head_bytes + body_bytes;
        Whole { status, closes, head_bytes, body, bytes }
    };
    Ok(body_bytes.map(whole))
}

/// The nodes that the response at the start of the buffer names, and its process.
pub(crate) fn journey(buffer: &[u8]) -> Result<(Vec<String>, Option<&[u8]>)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(buffer)?;
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    let nodes = value("x-izna-nodes").and_then(|value| std::str::from_utf8(value).ok());
    Ok((nodes.map(split_nodes).unwrap_or_default(), value("x-izna-process")))
}

/// Give each chunk to `take`; how many bytes they are with their frames, if all are there.
fn chunks(buffer: &[u8], mut take: impl FnMut(&[u8])) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = buffer.get(at..).unwrap_or_default();
        let size = httparse::parse_chunk_size(rest).map_err(|_| anyhow::anyhow!("bad chunk"))?;
        let httparse::Status::Complete((line, length)) = size else { return Ok(None) };
        let length = usize::try_from(length)?;
        let Some(chunk) = rest.get(line..line + length) else { return Ok(None) };
        if rest.len() < line + length + 2 {
            return Ok(None);
        }
        take(chunk);
        at += line + length + 2;
        if length == 0 {
            return Ok(Some(at));
        }
    }
}

/// A copy of the whole response at the start of the buffer.
pub(crate) fn owned(buffer: &[u8], whole: &Whole) -> Result<Response> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(buffer)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pair = |h: &httparse::Header| (h.name.to_ascii_lowercase(), text(h.value));
    let headers = response.headers.iter().map(pair).collect();
    let rest = buffer.get(whole.head_bytes..whole.bytes).unwrap_or_default();
    let mut body = Vec::new();
    match whole.body {
        Body::Length => body.extend_from_slice(rest),
        Body::Chunks => {
            chunks(rest, |chunk| body.extend_from_slice(chunk))?;
        }
    }
    Ok(Response { status: whole.status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, the load generator reads one response's bytes as the next one's.
    #[test]
    fn a_response_ends_where_it_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Izna-Nodes: a, b\r\n\r\nokHTTP";
        for end in 0..bytes.len() - 4 {
            assert_eq!(whole(&bytes[..end]).unwrap(), None, "{end}");
        }
        let found = whole(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.bytes, found.closes), (200, bytes.len() - 4, false));
        let response = owned(bytes, &found).unwrap();
        assert_eq!(
            (response.text().as_str(), response.nodes()),
            ("ok", vec!["a".into(), "b".into()])
        );
    }

    /// If this fails, a server that sends chunks cannot be measured beside ours.
    #[test]
    fn chunks_are_put_together() {
        let bytes =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(whole(&bytes[..end]).unwrap(), None, "{end}");
        }
        let found = whole(bytes).unwrap().unwrap();
        assert_eq!(owned(bytes, &found).unwrap().text(), "ok!");
    }
}
