//! Formulas over HTTP: from cluster memory, or from the component `renderer` and then into cluster
//! memory.
//!
//! `GET /tex?f=FORMULA`, and optionally `format=png` and `size=40`. What is asked for travels in
//! the continuation while the renderer works, so the node that finishes need not be the one that
//! began.

use izna_sdk::http::{Request, Response};
use izna_sdk::{Failure, Outcome, Result, Step, Value, call, done, memory};
use serde::{Deserialize, Serialize};

izna_sdk::component! { render => rendered }

const FORMULA_CHARS_MAX: usize = 2000;
const SIZE: u16 = 32;
const SIZE_MIN: u16 = 8;
const SIZE_MAX: u16 = 160;

/// What to draw. The continuation, while the renderer draws it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wanted {
    formula: String,
    format: Format,
    size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Format {
    Svg,
    Png,
}

fn render(request: Request) -> Result<Step<Wanted>> {
    let wanted = match wanted(&request) {
        Ok(wanted) => wanted,
        Err(refusal) => return done(refusal),
    };
    // Memory is a cache: without it the formula is drawn.
    if let Ok(Some(image)) = memory::get(&wanted.key()) {
        return done(wanted.response(image, "hit"));
    }
    let arguments = (wanted.formula.as_str(), f64::from(wanted.size));
    call("renderer", wanted.format.name(), arguments).then(wanted)
}

fn rendered(wanted: Wanted, outcome: Outcome<Value>) -> Result<Response> {
    let image = match outcome {
        Ok(Value::Text(text)) => text.into_bytes(),
        Ok(Value::Bytes(bytes)) => bytes,
        Ok(_) => return Err(Failure::Failed("the renderer gave no image".into())),
        // What the renderer itself refuses is the formula's fault; all other failures are the
        // gateway's to tell.
        Err(Failure::Failed(reason)) => return Ok(Response::text(422, reason)),
        Err(failure) => return Err(failure),
    };
    let _ = memory::put(&wanted.key(), &image);
    Ok(wanted.response(image, "miss"))
}

fn wanted(request: &Request) -> Result<Wanted, Response> {
    let parameter = |name| request.query.get(name).map(String::as_str);
    let formula = parameter("f").map_or("", str::trim);
    if formula.is_empty() {
        return Err(Response::text(400, "say which formula: ?f=x^2 (and format=png, size=40)"));
    }
    let length = formula.chars().count();
    if length > FORMULA_CHARS_MAX {
        let text = format!("the formula has {length} characters; at most {FORMULA_CHARS_MAX}");
        return Err(Response::text(413, text));
    }
    let format = match parameter("format") {
        None | Some("svg") => Format::Svg,
        Some("png") => Format::Png,
        Some(other) => {
            return Err(Response::text(400, format!("format {other:?} is neither svg nor png")));
        }
    };
    let size = match parameter("size").map(str::parse) {
        None => SIZE,
        Some(Ok(size)) if (SIZE_MIN..=SIZE_MAX).contains(&size) => size,
        Some(_) => {
            let text = format!("size must be a whole number of {SIZE_MIN} to {SIZE_MAX}");
            return Err(Response::text(400, text));
        }
    };
    Ok(Wanted { formula: formula.to_owned(), format, size })
}

impl Wanted {
    /// The formula itself and not its hash: two formulas never share an image.
    fn key(&self) -> String {
        format!("{}/{}/{}", self.format.name(), self.size, self.formula)
    }

    fn response(&self, image: Vec<u8>, cache: &str) -> Response {
        // Not for the browser to keep: the demo is about where the answer comes from.
        Response::new(200, self.format.content_type(), image)
            .header("cache-control", "no-store")
            .header("x-cache", cache)
    }
}

impl Format {
    /// The renderer's function.
    fn name(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Png => "png",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::Svg => "image/svg+xml",
            Format::Png => "image/png",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use izna_sdk::{Call, cbor};

    fn request(query: &[(&str, &str)]) -> Request {
        let query = query.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Request { method: "GET".into(), query: query.collect(), ..Request::default() }
    }

    fn answer(query: &[(&str, &str)]) -> Response {
        render(request(query)).unwrap().result().expect("finished").unwrap()
    }

    fn miss(query: &[(&str, &str)]) -> (Call, Wanted) {
        match render(request(query)).unwrap() {
            Step::Suspend(call, wanted) => (call, wanted),
            other => panic!("not a miss: {other:?}"),
        }
    }

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The second of two equal requests would be drawn again, or the first would not be drawn at
    /// all.
    #[test]
    fn first_a_miss_then_a_hit() {
        let query = [("f", "x^2"), ("size", "40")];
        let (call, wanted) = miss(&query);
        assert_eq!((call.component(), call.function()), ("renderer", "svg"));
        assert_eq!(call.arguments::<(String, f64)>(), Ok(("x^2".into(), 40.0)));

        let wanted = cbor::decode(&cbor::encode(&wanted).unwrap()).unwrap();
        let first = rendered(wanted, Ok(Value::Text("<svg/>".into()))).unwrap();
        assert_eq!(header(&first, "x-cache"), Some("miss"));
        assert_eq!(header(&first, "content-type"), Some("image/svg+xml"));

        let second = answer(&query);
        assert_eq!(header(&second, "x-cache"), Some("hit"));
        assert_eq!((second.status, second.body), (200, b"<svg/>".to_vec()));
    }

    /// Formats or sizes would be given in place of one another.
    #[test]
    fn format_and_size_are_kept_apart() {
        let (_, svg) = miss(&[("f", "y")]);
        rendered(svg, Ok(Value::Text("<svg/>".into()))).unwrap();
        let (call, png) = miss(&[("f", "y"), ("format", "png")]);
        assert_eq!(call.function(), "png");
        let image = rendered(png, Ok(Value::Bytes(vec![1]))).unwrap();
        assert_eq!(header(&image, "content-type"), Some("image/png"));
        let _ = miss(&[("f", "y"), ("size", "33")]);
    }

    /// A person would not learn what is wrong with a request.
    #[test]
    fn bad_requests_are_refused() {
        let long = "x".repeat(FORMULA_CHARS_MAX + 1);
        let cases: [(&[(&str, &str)], u16); 6] = [
            (&[], 400),
            (&[("f", "  ")], 400),
            (&[("f", &long)], 413),
            (&[("f", "x"), ("format", "gif")], 400),
            (&[("f", "x"), ("size", "big")], 400),
            (&[("f", "x"), ("size", "161")], 400),
        ];
        for (query, status) in cases {
            assert_eq!(answer(query).status, status, "{query:?}");
        }
    }

    /// Bad TeX would look like a broken cluster, or a broken cluster like bad TeX.
    #[test]
    fn only_the_renderer_s_own_failures_are_the_formula_s() {
        let (_, wanted) = miss(&[("f", r"\nosuch")]);
        let reason = Failure::Failed("position 1: no".into());
        let refusal = rendered(wanted.clone(), Err(reason)).unwrap();
        assert_eq!((refusal.status, refusal.body), (422, b"position 1: no".to_vec()));
        assert_eq!(rendered(wanted, Err(Failure::Deadline)), Err(Failure::Deadline));
    }
}
