//! Paths and queries: what is equal in them, and what they mean.

use std::borrow::Cow;

use axum::http::StatusCode;
use percent_encoding::{
    AsciiSet, CONTROLS, percent_decode_str, percent_encode, percent_encode_byte,
};

use crate::refusal::Refusal;

/// What a segment of a path cannot have as it is (RFC 3986 section 3.3), and what is an escape.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The one spelling of all paths that mean the same (RFC 3986 section 6.2.2): with no escape of what
/// can stand as it is, capitals in those that are left, and no `.` and `..`.
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte == b'/' || is_plain(byte);
    if path.bytes().all(is_plain) && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    Cow::Owned(without_dots(&encoded(path)))
}

/// The same of a route's path, whose parameters are left as they are.
pub(crate) fn canonical_pattern(path: &str) -> String {
    let (mut pattern, mut rest) = (String::new(), path);
    while let Some((before, after)) = rest.split_once('{') {
        pattern += &encoded(before);
        pattern.push('{');
        let Some((name, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        pattern += name;
        pattern.push('}');
        rest = after;
    }
    pattern + &encoded(rest)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii() && percent_encode(&[byte], ESCAPED).next().is_some_and(|text| text.len() == 1)
}

fn encoded(path: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped =
            after.first_chunk::<2>().filter(|_| *first == b'%').and_then(|[high, low]| {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
            });
        if escaped.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
        match escaped.unwrap_or(*first) {
            b'/' if escaped.is_none() => text.push('/'),
            byte if is_plain(byte) => text.push(byte.into()),
            byte => text += percent_encode_byte(byte),
        }
    }
    text
}

fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut all = path.split('/').skip(1).peekable();
    while let Some(segment) = all.next() {
        let is_last = all.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The decoded pairs of a query, in order.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let plain = |text: &str| {
            let spaced = text.replace('+', " ");
            decode(&spaced, "query").map(Cow::into_owned)
        };
        Ok((plain(name)?, plain(value)?))
    };
    parts.map(pair).collect()
}

/// Undo percent-encoding. What is no escape stays as it is; what is no UTF-8 is refused.
pub(crate) fn decode<'a>(text: &'a str, what: &'static str) -> Result<Cow<'a, str>, Refusal> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        let message = format!("invalid {what}: expected percent-encoded UTF-8");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-request", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a path would lead to its function in one spelling and nowhere in another.
    #[test]
    fn equal_paths_are_equal() {
        for (path, expected) in [
            ("/hello", "/hello"),
            ("/%68ell%6F", "/hello"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%7euser/%2Dx", "/~user/-x"),
            ("/a%3Ab%40c%2c%21", "/a:b@c,!"),
            ("/a|b", "/a%7Cb"),
            ("/a%7cb", "/a%7Cb"),
            ("/100%", "/100%25"),
            ("/%zz", "/%25zz"),
            ("/a/./b/../c", "/a/c"),
            ("/%2e%2E/x", "/x"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/.hidden", "/.hidden"),
            ("/...", "/..."),
            ("//a//", "//a//"),
        ] {
            assert_eq!(canonical(path), expected, "{path}");
            assert_eq!(canonical(expected), expected, "twice {path}");
        }
        assert_eq!(canonical_pattern("/%68/{name}/x,y|/{*rest}"), "/h/{name}/x,y%7C/{*rest}");
    }

    /// If this failed, a path parameter would change with the spelling of the path.
    #[test]
    fn what_a_path_means_stays() {
        for path in ["/%2525", "/a%2Fb", "/100%", "/%zz", "/a+b", "/%E2%82%AC"] {
            assert_eq!(decode(&canonical(path), "path").unwrap(), decode(path, "path").unwrap());
        }
        assert_eq!(
            decode("/%ff", "path").unwrap_err().to_string(),
            "invalid path: expected percent-encoded UTF-8"
        );
    }
}
