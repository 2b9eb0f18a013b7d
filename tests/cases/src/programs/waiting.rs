//! Work and replies that take their time.

use std::time::Duration;

use izna_bench::{usage, wait};

use super::{Wrong, first, honest, node, read, sent};
use crate::script::{deploy, judge};

/// More steps that wait for an hour than a node has places.
pub(super) fn waiting() -> Wrong {
    let cluster = node("web", &[], &[])?;
    deploy(&cluster, "shapes")?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let ask = b"GET /web/sleep?3600000 HTTP/1.1\r\nhost: x\r\n\r\n";
    let clients: Vec<_> = (0..100).filter_map(|_| sent(gateway, ask).ok()).collect();
    let wrong = first((0..20).map(|_| honest(&cluster, "/greet?name=x", "200 hello x")));
    drop(clients);
    wrong
}

/// Long work whose clients go away at once.
pub(super) fn nobody() -> Wrong {
    let cluster = node("shapes", &[], &[])?;
    let node = cluster.node("a")?;
    let gateway = node.addresses()?.gateway;
    let ask = b"GET /spin?n=1000000 HTTP/1.1\r\nhost: x\r\n\r\n";
    drop((0..8).map(|_| sent(gateway, ask)).collect::<Vec<_>>());
    let idle = || {
        let before = usage::cpu(node.pid().ok()?).ok()?;
        std::thread::sleep(Duration::from_millis(300));
        let used = usage::cpu(node.pid().ok()?).ok()?.saturating_sub(before);
        (used < Duration::from_millis(60)).then_some(())
    };
    let ended = wait::within(Duration::from_secs(3), "the node to be idle", idle).is_ok();
    let got = if ended { "idle" } else { "busy" };
    judge("3 s after all clients have gone", got, "idle")
}

/// Trailers come, or are not announced.
pub(super) fn trailers() -> Wrong {
    let cluster = node("web", &[], &[])?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let ask = "GET /web/trailers HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close\r\n\r\n";
    let got = read(sent(gateway, ask.as_bytes())?).to_lowercase();
    let word = |found, word| if found { word } else { "" };
    let announced = word(got.contains("\r\ntrailer: x-end"), "announced ");
    let came = word(got.contains("\r\nx-end: 1\r\n"), "came");
    judge("the trailer", &format!("{announced}{came}"), "(announced came)?")
}
