//! What strangers can make a node take: memory, files.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use izna_bench::{Cluster, http, usage, wait};

use super::{Wrong, at_most, first, honest, node, read, sent};
use crate::script::judge;

const MIB: u64 = 1 << 20;
/// How long a node may take to read what was sent.
const READING: Duration = Duration::from_secs(3);

/// Whether the node stays within so many MiB more than before, while and after `act` is done; and
/// what that gives.
fn grows<T>(
    cluster: &Cluster,
    what: &str,
    most: u64,
    act: impl FnOnce() -> Result<T>,
) -> Result<(Option<String>, T)> {
    let pid = cluster.node("a")?.pid()?;
    let before = usage::resident(pid)?;
    let kept = act()?;
    let grown = || Some(usage::resident(pid).ok()?.saturating_sub(before) / MIB);
    let over = wait::within(READING, what, || grown().filter(|mib| *mib > most));
    Ok((at_most(what, over.unwrap_or(0), most)?, kept))
}

/// A body above the payload limit, within what the node was told to take.
pub(super) fn body_max() -> Wrong {
    let Ok(cluster) = node("shapes", &["--body-max", "40MiB"], &[]) else {
        // It says so at the start.
        return Ok(None);
    };
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let body = vec![b'x'; 5_000_000];
    let response = http::post(gateway, "/length", "application/octet-stream", &body)?;
    let got = format!("{} {}", response.status, response.text());
    judge("5 MB of at most 40 MiB", &got, "200 5000000|413 .*")
}

/// Clients that announce 4 MB, send nearly all and wait.
pub(super) fn flood() -> Wrong {
    let cluster = node("shapes", &[], &[])?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n";
    let body = vec![b'x'; 3_900_000];
    let send = || (0..200).map(|_| sent(gateway, &[head.as_bytes(), &body].concat())).collect();
    let (wrong, clients): (_, Vec<_>) = grows(&cluster, "MiB for 200 bodies", 256, send)?;
    let wrong = first([Ok(wrong), honest(&cluster, "/greet?name=x", "200 hello x")]);
    drop(clients);
    wrong
}

/// A body of one byte a chunk.
pub(super) fn tiny_chunks() -> Wrong {
    let cluster = node("shapes", &[], &[])?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let bytes = [head.as_bytes(), &"1\r\nx\r\n".repeat(20_000).into_bytes()].concat();
    let (wrong, client) = grows(&cluster, "MiB for a body of 20 KB", 16, || sent(gateway, &bytes))?;
    drop(client);
    Ok(wrong)
}

/// Requests one after the other on a connection, whose answers nobody reads.
pub(super) fn pipeline() -> Wrong {
    let cluster = node("web", &[], &[])?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let bytes = "GET /web/big?1000000 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(300).into_bytes();
    let (wrong, client) =
        grows(&cluster, "MiB of answers that nobody reads", 64, || sent(gateway, &bytes))?;
    drop(client);
    Ok(wrong)
}

/// Idle clients, more than the node may have files by its soft limit.
pub(super) fn files() -> Wrong {
    let cluster = node("shapes", &[], &["prlimit", "--nofile=256:20000"])?;
    let gateway = cluster.node("a")?.addresses()?.gateway;
    let ask = b"GET /greet?name=x HTTP/1.1\r\nhost: x\r\n\r\n";
    let clients: Vec<TcpStream> = (0..300).filter_map(|_| sent(gateway, ask).ok()).collect();
    let manage = cluster.node("a")?.addresses()?.manage;
    let ready = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let got = sent(manage, ready).map(read).unwrap_or_default();
    let wrong = judge("management beside 300 idle clients", &got, "HTTP/1.1 200 .*");
    drop(clients);
    wrong
}
