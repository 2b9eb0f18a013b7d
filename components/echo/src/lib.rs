//! Gives back what it gets, in every way that a step can end. For measurements and tests, and an
//! example of each way.

use izna_sdk::http::{Request, Response};
use izna_sdk::{Bytes, Failure, Outcome, Result, Step, Value, call, done, forward};

izna_sdk::component! {
    echo,
    value,
    "call": call_value => called,
    "forward": forward_value,
    hops => hopped,
    nest => nested,
    walk,
}

/// An HTTP request's body.
fn echo(request: Request) -> Result<Response> {
    let content_type =
        request.header("content-type").unwrap_or("application/octet-stream").to_owned();
    Ok(Response::new(200, &content_type, request.body))
}

/// The argument.
fn value(argument: Value) -> Result<Value> {
    Ok(argument)
}

/// The argument, by a call of [`value`].
fn call_value(argument: Value) -> Result<Step<()>> {
    call("echo", "value", (argument,)).then(())
}

fn called(_: (), outcome: Outcome<Value>) -> Result<Value> {
    outcome
}

/// The argument, by a tail call of [`value`].
fn forward_value(argument: Value) -> Result<Step> {
    forward("echo", "value", (argument,))
}

/// `count`, after as many calls of [`value`], one after another: two steps each, at a depth of one.
/// The process carries `bytes` with it all the way.
fn hops(count: u64, bytes: Option<usize>) -> Result<Step<Hops>> {
    hop(Hops { count, made: 0, carried: Bytes::from(vec![7; bytes.unwrap_or(0)]) })
}

fn hopped(hops: Hops, made: Outcome<u64>) -> Result<Step<Hops>> {
    let made = made?;
    if made != hops.made + 1 {
        return Err(Failure::Failed(format!("call {} came back as {made}", hops.made + 1)));
    }
    hop(Hops { made, ..hops })
}

fn hop(hops: Hops) -> Result<Step<Hops>> {
    if hops.made == hops.count {
        return done(hops.made);
    }
    call("echo", "value", (hops.made + 1,)).then(hops)
}

/// How far [`hops`] has come.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Hops {
    count: u64,
    made: u64,
    carried: Bytes,
}

/// `depth`, by as many calls of itself, one inside another.
fn nest(depth: u64) -> Result<Step<()>> {
    match depth.checked_sub(1) {
        None => done(0),
        Some(below) => call("echo", "nest", (below,)).then(()),
    }
}

fn nested(_: (), below: Outcome<u64>) -> Result<u64> {
    Ok(below? + 1)
}

/// [`hops`] by HTTP: as many as the query parameter `n` says.
fn walk(request: Request) -> Result<Step> {
    match request.query.get("n").map(|count| count.parse::<u64>()) {
        Some(Ok(count)) => forward("echo", "hops", (count,)),
        _ => done(Response::text(400, "say how many calls: ?n=20")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster test that counts hops would count something else.
    #[test]
    fn hops_makes_as_many_calls() {
        let mut step = hops(3, None).unwrap();
        let mut calls = 0;
        while let Step::Suspend(call, continuation) = step {
            let (argument,) = call.arguments::<(u64,)>().unwrap();
            calls += 1;
            step = hopped(continuation, Ok(argument)).unwrap();
        }
        assert_eq!((calls, step.result::<u64>()), (3, Some(Ok(3))));
    }

    /// A lost or repeated result would go unseen.
    #[test]
    fn hops_checks_what_comes_back() {
        assert!(hopped(Hops { count: 3, made: 1, carried: Bytes::default() }, Ok(1)).is_err());
    }
}
