//! Where HTTP/1 requests begin and end in a stream of bytes. Knows no socket and no clock.
//!
//! It stands before hyper's parser and is stricter: what two parsers could read in two ways (both
//! lengths, a length twice, a bare line feed, a folded line) is refused, never repaired.

use axum::http::{
    Uri,
    uri::{Authority, PathAndQuery},
};

use crate::{limits::Limits, refusal::Refusal};

/// The longest line that begins a chunk, in bytes.
const CHUNK_LINE_MAX: usize = 256;
/// The longest trailer section, in bytes.
const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Follows one connection's bytes from request to request.
#[derive(Debug)]
pub(crate) struct Framer {
    state: State,
    /// Whether an empty line was skipped before the head that comes.
    skipped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a request's head; how much of it was searched for its end.
    Head { searched: usize },
    /// In a body; how many bytes of it are to come.
    Body { left: u64 },
    /// At the line that begins a chunk.
    ChunkLine,
    /// In a chunk's data, the line end after it included.
    Chunk { left: u64 },
    /// In the lines after the last chunk.
    Trailer { taken: usize },
}

/// What [`Framer::advance`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes more may be passed on; call again with what follows.
    Pass(usize),
    /// So many bytes, a request's head, may be passed on; call again with what follows.
    Head(usize),
    /// So many bytes mean nothing and are dropped; call again with what follows.
    Skip(usize),
    /// More bytes are needed.
    More,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self { state: State::Head { searched: 0 }, skipped: false }
    }

    /// Whether the next byte would be the first of a request.
    pub(crate) fn at_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Look at the bytes that follow those passed on. `bytes` begins where the last `Pass` or
    /// `Head` ended, and has all that was there before and more after a `More`.
    pub(crate) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        if bytes.is_empty() {
            return Ok(Progress::More);
        }
        match self.state {
            State::Head { searched } => self.head(bytes, searched, limits),
            State::Body { left } => Ok(self.body(bytes, left)),
            State::ChunkLine => self.chunk_line(bytes),
            State::Chunk { left } => self.chunk(bytes, left),
            State::Trailer { taken } => self.trailer(bytes, taken),
        }
    }

    fn head(&mut self, bytes: &[u8], from: usize, limits: &Limits) -> Result<Progress, Refusal> {
        // RFC 9112 section 2.2: one empty line before a request is somebody's habit.
        match bytes {
            [b'\r'] if !self.skipped => return Ok(Progress::More),
            [b'\r', b'\n', ..] if !self.skipped => {
                self.skipped = true;
                return Ok(Progress::Skip(2));
            }
            _ => {}
        }
        if bytes.first().is_some_and(|first| !is_token(*first)) {
            return Err(Refusal::bad("expected an HTTP/1.1 request"));
        }
        let first = from.saturating_sub(3);
        let tail = bytes.get(first..).unwrap_or_default();
        let end = tail.windows(4).position(|four| four == b"\r\n\r\n").map(|at| first + at + 4);
        let Some(end) = end else {
            self.state = State::Head { searched: bytes.len() };
            check_unfinished(bytes, limits)?;
            return Ok(Progress::More);
        };
        let head = bytes.get(..end - 2).unwrap_or_default();
        self.state = match parse_head(head, limits)? {
            Length::None => State::Head { searched: 0 },
            Length::Bytes(left) => State::Body { left },
            Length::Chunked => State::ChunkLine,
        };
        self.skipped = false;
        Ok(Progress::Head(end))
    }

    fn body(&mut self, bytes: &[u8], left: u64) -> Progress {
        let take = left.min(bytes.len() as u64);
        self.state = match left - take {
            0 => State::Head { searched: 0 },
            left => State::Body { left },
        };
        Progress::Pass(usize::try_from(take).unwrap_or(bytes.len()))
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let Some(line) = line(bytes, CHUNK_LINE_MAX, "chunk size line")? else {
            return Ok(Progress::More);
        };
        let digits = line.split(|b| *b == b';').next().unwrap_or_default();
        let text = std::str::from_utf8(digits).unwrap_or_default();
        let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(text, 16).ok().filter(|size| hex && *size < 1 << 48);
        let size = size.ok_or(Refusal::bad("invalid chunk size: expected hexadecimal digits"))?;
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return Err(Refusal::bad("control character in a chunk size line"));
        }
        self.state = match size {
            0 => State::Trailer { taken: 0 },
            size => State::Chunk { left: size + 2 },
        };
        Ok(Progress::Pass(line.len() + 2))
    }

    fn chunk(&mut self, bytes: &[u8], left: u64) -> Result<Progress, Refusal> {
        let take = left.min(bytes.len() as u64);
        let count = usize::try_from(take).unwrap_or(bytes.len());
        // The last two bytes are the line end.
        for (at, expected) in [(left.checked_sub(2), b'\r'), (left.checked_sub(1), b'\n')] {
            let at = at.and_then(|at| usize::try_from(at).ok());
            let byte = at.and_then(|at| bytes.get(at));
            if byte.is_some_and(|byte| *byte != expected) {
                return Err(Refusal::bad("chunk data exceeds its size"));
            }
        }
        self.state = match left - take {
            0 => State::ChunkLine,
            left => State::Chunk { left },
        };
        Ok(Progress::Pass(count))
    }

    fn trailer(&mut self, bytes: &[u8], taken: usize) -> Result<Progress, Refusal> {
        let left = TRAILER_BYTES_MAX.saturating_sub(taken);
        let Some(line) = line(bytes, left, "trailer section")? else {
            return Ok(Progress::More);
        };
        let length = line.len() + 2;
        if line.is_empty() {
            self.state = State::Head { searched: 0 };
        } else {
            field(line)?;
            self.state = State::Trailer { taken: taken + length };
        }
        Ok(Progress::Pass(length))
    }
}

/// The first line of `bytes` without its end, if it is there.
fn line<'a>(bytes: &'a [u8], max: usize, what: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
    match bytes.iter().position(|b| *b == b'\n') {
        Some(at) if at <= max => {
            let line = bytes.get(..at).and_then(|line| line.strip_suffix(b"\r"));
            line.map(Some).ok_or(Refusal::bad("line feed without a carriage return"))
        }
        None if bytes.len() <= max => Ok(None),
        _ => Err(Refusal::TooLong { what, max }),
    }
}

/// Refuse a head that is already too long before its end has come.
fn check_unfinished(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let first_line = bytes.iter().position(|b| *b == b'\n');
    // A method, two spaces and the version stand beside the target.
    let line_max = limits.uri_bytes_max + 64;
    if first_line.unwrap_or(bytes.len()) > line_max {
        return Err(Refusal::UriTooLong { max: limits.uri_bytes_max });
    }
    if bytes.len() - first_line.unwrap_or(0) > limits.header_bytes_max + line_max {
        return Err(Refusal::HeadersTooLong { max: limits.header_bytes_max });
    }
    Ok(())
}

/// How long the body after a head is.
enum Length {
    None,
    Bytes(u64),
    Chunked,
}

/// Check a head: `head` is its lines with their ends, the empty line left out.
fn parse_head(head: &[u8], limits: &Limits) -> Result<Length, Refusal> {
    let mut rest = head;
    let first = take_line(&mut rest)?;
    let http11 = request_line(first, limits)?;
    if rest.len() > limits.header_bytes_max {
        return Err(Refusal::HeadersTooLong { max: limits.header_bytes_max });
    }
    let (mut count, mut hosts) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    while !rest.is_empty() {
        let (name, value) = field(take_line(&mut rest)?)?;
        count += 1;
        if name.eq_ignore_ascii_case(b"host") {
            check_host(value)?;
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Refusal::bad("duplicate Content-Length"));
            }
            length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !http11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::bad("unsupported Transfer-Encoding: expected `chunked`"));
            }
            chunked = true;
        }
    }
    if count > limits.headers_max {
        return Err(Refusal::TooManyHeaders { max: limits.headers_max });
    }
    if hosts > 1 || (http11 && hosts == 0) {
        return Err(Refusal::bad("expected exactly one Host"));
    }
    match (length, chunked) {
        (Some(_), true) => Err(Refusal::bad("Content-Length together with Transfer-Encoding")),
        (None, true) => Ok(Length::Chunked),
        (Some(0) | None, false) => Ok(Length::None),
        (Some(length), false) => Ok(Length::Bytes(length)),
    }
}

/// Check the request line; whether it is of HTTP/1.1.
fn request_line(line: &[u8], limits: &Limits) -> Result<bool, Refusal> {
    let mut parts = line.split(|b| *b == b' ');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = parts else {
        return Err(Refusal::bad("invalid request line: expected `METHOD target HTTP/1.1`"));
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Refusal::bad("invalid method: expected a token, such as `GET`"));
    }
    if target.len() > limits.uri_bytes_max {
        return Err(Refusal::UriTooLong { max: limits.uri_bytes_max });
    }
    let asterisk = target == b"*" && method == b"OPTIONS";
    if !asterisk && !is_path(target) && !is_absolute(target) {
        return Err(Refusal::bad("invalid target: expected an ASCII path, such as `/`"));
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Refusal::bad("unsupported version: expected HTTP/1.1 or HTTP/1.0")),
    }
}

fn is_path(target: &[u8]) -> bool {
    target.starts_with(b"/") && !target.contains(&b'#') && PathAndQuery::try_from(target).is_ok()
}

/// Whether a target is of the absolute form (RFC 9112 section 3.2.2).
fn is_absolute(target: &[u8]) -> bool {
    let Ok(uri) = Uri::try_from(target) else { return false };
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    is_http && !target.contains(&b'#') && uri.authority().is_some_and(names_a_host)
}

/// No user stands before it: only deceivers write one here.
fn names_a_host(authority: &Authority) -> bool {
    !authority.host().is_empty() && !authority.as_str().contains('@')
}

/// A request for nobody in particular has an empty host.
fn check_host(value: &[u8]) -> Result<(), Refusal> {
    if value.is_empty() || Authority::try_from(value).is_ok_and(|host| names_a_host(&host)) {
        return Ok(());
    }
    Err(Refusal::bad("invalid Host: expected a name or an address"))
}

/// Take one line; a line feed alone does not end one.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let at = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    let (line, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
    *rest = after.get(1..).unwrap_or_default();
    line.strip_suffix(b"\r").ok_or(Refusal::bad("line feed without a carriage return"))
}

/// Split a header line into its name and value.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let at = line.iter().position(|b| *b == b':');
    let (name, value) = at.and_then(|at| line.split_at_checked(at)).unwrap_or_default();
    // A folded line begins with a space, which is no token either.
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Refusal::bad("invalid header name, or a folded header"));
    }
    let value = value.get(1..).unwrap_or_default();
    if value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(Refusal::bad("control character in a header"));
    }
    Ok((name, value.trim_ascii()))
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse().ok().filter(|length: &u64| digits && *length < 1 << 48);
    length.ok_or(Refusal::bad("invalid Content-Length: expected a number"))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Feed `bytes` in pieces of `size`; what comes of each request, in one line each.
    fn run(bytes: &[u8], size: usize) -> String {
        let limits = Limits { uri_bytes_max: 40, headers_max: 3, ..Limits::default() };
        let limits = Limits { header_bytes_max: 100, ..limits };
        let (mut framer, mut said, mut at) = (Framer::new(), String::new(), 0);
        let mut end = 0;
        while end < bytes.len() {
            end = (end + size).min(bytes.len());
            loop {
                match framer.advance(&bytes[at..end], &limits) {
                    Ok(Progress::Head(count)) => {
                        said += "head, ";
                        at += count;
                    }
                    Ok(Progress::Pass(count) | Progress::Skip(count)) => at += count,
                    Ok(Progress::More) => break,
                    Err(refusal) => return format!("{said}{refusal}"),
                }
            }
        }
        assert!(at <= bytes.len());
        said + if framer.state == (State::Head { searched: 0 }) { "end" } else { "unfinished" }
    }

    fn check(request: &str, expect: Expect) {
        let whole = run(request.as_bytes(), usize::MAX / 2);
        assert_eq!(whole, run(request.as_bytes(), 1), "in single bytes: {request:?}");
        expect.assert_eq(&whole);
    }

    /// If this fails, good requests are refused, or their ends are not seen.
    #[test]
    fn requests_are_told_apart() {
        check(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
            expect!["head, head, end"],
        );
        check(
            "POST / HTTP/1.1\r\nHost:a\r\ncontent-length: 3\r\n\r\nab\nGET / HTTP/1.0\r\n\r\n",
            expect!["head, head, end"],
        );
        check(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
             3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            expect!["head, head, end"],
        );
        check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", expect!["head, end"]);
        check(r"GET /t?f=\frac{a}{b} HTTP/1.0", expect!["unfinished"]);
    }

    /// If this fails, a request that two servers read in two ways reaches a component.
    #[test]
    fn ambiguous_requests_are_refused() {
        let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\nabc");
        let cases = [
            ("content-length: 3\r\ntransfer-encoding: chunked", "Content-Length together"),
            ("transfer-encoding: chunked\r\ncontent-length: 3", "Content-Length together"),
            ("content-length: 3\r\ncontent-length: 3", "duplicate Content-Length"),
            ("content-length: 3, 3", "invalid Content-Length"),
            ("content-length: +3", "invalid Content-Length"),
            ("content-length: 0x3", "invalid Content-Length"),
            ("content-length:", "invalid Content-Length"),
            ("transfer-encoding: xchunked", "unsupported Transfer-Encoding"),
            ("transfer-encoding: gzip, chunked", "unsupported Transfer-Encoding"),
            (
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
                "unsupported Transfer-Encoding",
            ),
            ("transfer-encoding : chunked", "invalid header name"),
            ("x: a\r\n b", "folded"),
            ("x: a\nb: c", "control"),
            ("x: a\rb", "control"),
            ("x: a\0b", "control"),
            ("host: b", "exactly one Host"),
            ("host: u@a", "invalid Host"),
            ("host: a/b", "invalid Host"),
            ("host: a, b", "invalid Host"),
            ("nothing", "invalid header name"),
        ];
        for (lines, expected) in cases {
            let said = run(post(lines).as_bytes(), usize::MAX / 2);
            let refused = said.contains(expected) || said.contains("carriage return");
            assert!(refused, "{lines:?}: {said}");
        }
    }

    /// If this fails, bytes that are no request are waited on or taken for one.
    #[test]
    fn first_lines_are_checked() {
        check("\r\nGET / HTTP/1.0\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", expect!["head, head, end"]);
        check(
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            expect!["invalid request: expected an HTTP/1.1 request"],
        );
        check("\rGET / HTTP/1.1\r\n\r\n", expect!["invalid request: expected an HTTP/1.1 request"]);
        check("\nGET / HTTP/1.1\r\n\r\n", expect!["invalid request: expected an HTTP/1.1 request"]);
        check("\x16\x03\x01\x02", expect!["invalid request: expected an HTTP/1.1 request"]);
        check(
            "GET  / HTTP/1.1\r\n\r\n",
            expect!["invalid request: invalid request line: expected `METHOD target HTTP/1.1`"],
        );
        check("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", expect!["head, end"]);
        check("GET HTTPS://a:81?x HTTP/1.1\r\nHost:\r\n\r\n", expect!["head, end"]);
        for target in
            ["http:///", "http://u@a/", "ftp://a/", "http:a", "a", "a:80", "/#x", "/<", ""]
        {
            let said = run(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes(), usize::MAX / 2);
            assert!(said.starts_with("invalid request: invalid"), "{target:?}: {said}");
        }
        check(
            "PRI * HTTP/2.0\r\n\r\n",
            expect!["invalid request: invalid target: expected an ASCII path, such as `/`"],
        );
        check(
            "GET / HTTP/3.0\r\n\r\n",
            expect!["invalid request: unsupported version: expected HTTP/1.1 or HTTP/1.0"],
        );
        check("GET / HTTP/1.1\r\n\r\n", expect!["invalid request: expected exactly one Host"]);
    }

    /// If this fails, a client can make the gateway keep a head of any length.
    #[test]
    fn heads_are_bounded() {
        let long = "a".repeat(200);
        check(
            &format!("GET /{long} HTTP/1.0\r\n\r\n"),
            expect!["request target exceeds the limit of 40 bytes"],
        );
        check(
            &format!("GET / HTTP/1.0\r\nx: {long}\r\n\r\n"),
            expect!["request headers exceed the limit of 100 bytes"],
        );
        check(
            "GET / HTTP/1.0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n",
            expect!["request exceeds the limit of 3 headers"],
        );
    }

    /// If this fails, a body could hide a second request.
    #[test]
    fn chunks_are_checked() {
        let chunked = |body: &str| {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            run(format!("{head}{body}").as_bytes(), usize::MAX / 2)
        };
        for bad in ["x\r\n", "\r\n", "3\nabc", "3\r\nabcd\r\n", "-1\r\n", "fffffffffffffffff\r\n"] {
            assert!(chunked(bad).starts_with("head, invalid request"), "{bad:?}: {}", chunked(bad));
        }
        assert!(
            chunked(&"0".repeat(300)).contains("limit of 256"),
            "{}",
            chunked(&"0".repeat(300))
        );
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(2000));
        assert!(chunked(&trailers).contains("limit"), "{}", chunked(&trailers));
    }
}
