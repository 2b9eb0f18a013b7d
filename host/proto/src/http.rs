//! HTTP messages as values: what a process carries to a component that takes requests as they are,
//! and back. `docs/wasi.md` has the form. Whoever wrote one is trusted in nothing: names, values
//! and the like are texts and bytes here, which their reader checks.

use alloc::{format, vec::Vec};

use bytes::Bytes;
use ciborium_ll::Header;

use crate::cbor::{Input, Misfit, Output, name};

/// The most header fields of a message.
pub const FIELDS_MAX: usize = 1024;

/// Header fields that belong to one connection and not to the message (RFC 9110 section 7.6.1, and
/// those that older intermediaries took for such). A field that `Connection` names is one, too.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header field of this name, in small letters, belongs to one connection.
pub fn is_of_the_connection(name: &str) -> bool {
    OF_THE_CONNECTION.contains(&name)
}

/// A header field: its name and its value.
pub type Field<'a> = (&'a str, &'a [u8]);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, with its query or without.
    pub path: &'a str,
    /// More of its query, or all of it.
    pub query: Query<'a>,
    /// Its scheme.
    pub scheme: &'a str,
    /// Whom it is for.
    pub authority: Option<&'a str>,
    /// Its header fields.
    pub headers: Vec<Field<'a>>,
    /// Its body.
    pub body: &'a [u8],
    /// The fields after the body.
    pub trailers: Vec<Field<'a>>,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query<'a> {
    /// As it stands in a path.
    Text(&'a str),
    /// What it means.
    Pairs(Vec<(&'a str, &'a str)>),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// Its status, which may be any number.
    pub status: u64,
    /// Its header fields.
    pub headers: Vec<Field<'a>>,
    /// Its body.
    pub body: &'a [u8],
    /// The fields after the body.
    pub trailers: Vec<Field<'a>>,
}

impl<'a> Request<'a> {
    /// The same of nobody, with no fields and no body.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            query: Query::Text(""),
            scheme: "http",
            authority: None,
            headers: Vec::new(),
            body: &[],
            trailers: Vec::new(),
        }
    }

    /// The arguments of a call: the request, alone. A query beside the path is left out.
    pub fn to_arguments(&self) -> Bytes {
        let mut output = Output(Vec::with_capacity(self.body.len() + 1024));
        let optional = usize::from(self.authority.is_some()) + count(&self.trailers);
        output.array(1);
        output.map(5 + optional);
        // The deterministic order: shorter keys first.
        output.text("body");
        output.bytes(self.body);
        output.text("path");
        output.text(self.path);
        output.text("method");
        output.text(self.method);
        output.text("scheme");
        output.text(self.scheme);
        write_fields(&mut output, "headers", &self.headers);
        if !self.trailers.is_empty() {
            write_fields(&mut output, "trailers", &self.trailers);
        }
        if let Some(authority) = self.authority {
            output.text("authority");
            output.text(authority);
        }
        output.0.into()
    }

    /// The request that the arguments of a call are. Only its path must be there.
    ///
    /// # Errors
    /// With the first part that is not of its type.
    pub fn of_arguments(bytes: &'a [u8]) -> Result<Self, Misfit> {
        let mut input = Input::new(bytes);
        let whole = match input.head()? {
            Header::Array(length) => input.enter(length, 1)?,
            other => return Err(Misfit::wanted("an array of one request", name(other))),
        };
        if whole.length != 1 {
            let found = format!("{} values", whole.length);
            return Err(Misfit::wanted("an array of one request", found));
        }
        let parts = Parts::read(&mut input)?;
        input.leave(whole)?;
        input.end()?;
        Ok(Self {
            method: parts.method.unwrap_or("GET"),
            path: parts.path.ok_or_else(|| Misfit::new("it is missing").within("path"))?,
            query: parts.query.unwrap_or(Query::Text("")),
            scheme: parts.scheme.unwrap_or("http"),
            authority: parts.authority,
            headers: parts.headers,
            body: parts.body,
            trailers: parts.trailers,
        })
    }
}

impl<'a> Response<'a> {
    /// The result of a call.
    pub fn to_result(&self) -> Bytes {
        let mut output = Output(Vec::with_capacity(self.body.len() + 512));
        output.map(3 + count(&self.trailers));
        output.text("body");
        output.bytes(self.body);
        output.text("status");
        output.unsigned(self.status);
        write_fields(&mut output, "headers", &self.headers);
        if !self.trailers.is_empty() {
            write_fields(&mut output, "trailers", &self.trailers);
        }
        output.0.into()
    }

    /// The response that the result of a call is. Only its status must be there.
    ///
    /// # Errors
    /// With the first part that is not of its type.
    pub fn of_result(bytes: &'a [u8]) -> Result<Self, Misfit> {
        let mut input = Input::new(bytes);
        let parts = Parts::read(&mut input)?;
        input.end()?;
        let status = parts.status.ok_or_else(|| Misfit::new("it is missing").within("status"))?;
        Ok(Self { status, headers: parts.headers, body: parts.body, trailers: parts.trailers })
    }
}

fn count(trailers: &[Field<'_>]) -> usize {
    usize::from(!trailers.is_empty())
}

fn write_fields(output: &mut Output, key: &str, fields: &[Field<'_>]) {
    output.text(key);
    output.array(fields.len());
    for (name, value) in fields {
        output.array(2);
        output.text(name);
        output.bytes(value);
    }
}

/// The parts of a message that its map has.
#[derive(Default)]
struct Parts<'a> {
    body: &'a [u8],
    path: Option<&'a str>,
    query: Option<Query<'a>>,
    method: Option<&'a str>,
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    status: Option<u64>,
    headers: Vec<Field<'a>>,
    trailers: Vec<Field<'a>>,
}

impl<'a> Parts<'a> {
    fn read(input: &mut Input<'a>) -> Result<Self, Misfit> {
        let map = match input.head()? {
            Header::Map(length) => input.enter(length, 2)?,
            other => return Err(Misfit::wanted("a map", name(other))),
        };
        let mut parts = Self::default();
        for _ in 0..map.length {
            let key = input.text("a text as key")?;
            parts.read_part(input, key).map_err(|misfit| misfit.within(key))?;
        }
        input.leave(map)?;
        Ok(parts)
    }

    /// Keys that mean nothing here are skipped: others may have a use for them.
    fn read_part(&mut self, input: &mut Input<'a>, key: &str) -> Result<(), Misfit> {
        match key {
            "body" => self.body = string(input)?,
            "path" => self.path = Some(input.text("a text")?),
            "query" => self.query = Some(query(input)?),
            "method" => self.method = Some(input.text("a text")?),
            "scheme" => self.scheme = Some(input.text("a text")?),
            "authority" => self.authority = Some(input.text("a text")?),
            "status" => match input.head()? {
                Header::Positive(status) => self.status = Some(status),
                other => return Err(Misfit::wanted("a status", name(other))),
            },
            "headers" => self.headers = fields(input)?,
            "trailers" => self.trailers = fields(input)?,
            _ => drop(input.any()?),
        }
        Ok(())
    }
}

/// The bytes of a byte string or a text.
fn string<'a>(input: &mut Input<'a>) -> Result<&'a [u8], Misfit> {
    match input.head()? {
        Header::Bytes(Some(length)) | Header::Text(Some(length)) => input.string(length),
        other => Err(Misfit::wanted("a byte string or a text", name(other))),
    }
}

fn query<'a>(input: &mut Input<'a>) -> Result<Query<'a>, Misfit> {
    let map = match input.head()? {
        Header::Text(Some(length)) => return Ok(Query::Text(input.text_of(length)?)),
        Header::Map(length) => input.enter(length, 2)?,
        other => return Err(Misfit::wanted("a text or a map", name(other))),
    };
    let pair = |_| Ok((input.text("a text")?, input.text("a text")?));
    let pairs = (0..map.length).map(pair).collect::<Result<_, Misfit>>()?;
    input.leave(map)?;
    Ok(Query::Pairs(pairs))
}

fn fields<'a>(input: &mut Input<'a>) -> Result<Vec<Field<'a>>, Misfit> {
    let list = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Misfit::wanted("an array of pairs", name(other))),
    };
    if list.length > FIELDS_MAX {
        let count = list.length;
        return Err(Misfit::new(format!("{count} headers are over the limit of {FIELDS_MAX}")));
    }
    let mut fields = Vec::with_capacity(list.length);
    for _ in 0..list.length {
        let pair = match input.head()? {
            Header::Array(length) => input.enter(length, 1)?,
            other => return Err(Misfit::wanted("a pair", name(other))),
        };
        if pair.length != 2 {
            return Err(Misfit::wanted("a pair", format!("{} values", pair.length)));
        }
        let key = core::str::from_utf8(string(input)?);
        let key = key.map_err(|_| Misfit::new("a name is not valid"))?;
        fields.push((key, string(input)?));
        input.leave(pair)?;
    }
    input.leave(list)?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;
    use crate::cbor::{Form, Limits, check};

    fn request() -> Request<'static> {
        Request {
            authority: Some("shop.example:8080"),
            headers: vec![("accept", b"a"), ("accept", b"\xe9")],
            body: b"body",
            trailers: vec![("x-sum", b"9")],
            ..Request::new("PUT", "/a%2Fb?c=%20&c")
        }
    }

    /// If this failed, a component would get another request than was made, or a client another
    /// response.
    #[test]
    fn messages_come_back_as_they_went() {
        let bytes = request().to_arguments();
        check(&bytes, Form::Deterministic, &Limits::default()).unwrap();
        assert_eq!(Request::of_arguments(&bytes), Ok(request()));
        let Request { headers, body, trailers, .. } = request();
        let response = Response { status: 418, headers, body, trailers };
        let bytes = response.to_result();
        check(&bytes, Form::Deterministic, &Limits::default()).unwrap();
        assert_eq!(Response::of_result(&bytes), Ok(response));
    }

    /// If this failed, bytes that are cut or changed would be taken for another message, or end
    /// their reader.
    #[test]
    fn broken_messages_are_told() {
        let bytes = request().to_arguments();
        for end in 0..bytes.len() {
            assert!(Request::of_arguments(&bytes[..end]).is_err(), "{end}");
        }
        let said = |bytes: &[u8]| Response::of_result(bytes).unwrap_err().to_string();
        assert_eq!(said(&[0xa0]), "status: it is missing");
        assert_eq!(said(&[0xf6]), "the value: expected a map, found null");
        assert_eq!(said(&[0xa0, 0]), "the value: 1 trailing bytes");
        assert!(said(&[0xff]).contains("expected a map, found a break"));
    }

    /// If this failed, a field of the connection to one side would be sent to the other.
    #[test]
    fn fields_of_the_connection_are_known() {
        assert!(is_of_the_connection("te") && is_of_the_connection("proxy-connection"));
        assert!(!is_of_the_connection("etag") && !is_of_the_connection("host"));
    }
}
