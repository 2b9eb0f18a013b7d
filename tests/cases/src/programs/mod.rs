//! Cases that are programs: what waits, floods, is killed or runs twice. Each gives what is wrong.

mod cluster;
mod memory;
mod tools;
mod waiting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use izna_bench::{Cluster, Options};

use crate::script::{deploy, judge};

/// What is wrong; none if it is right.
pub(crate) type Wrong = Result<Option<String>>;

/// Run the program of that name, of the case in that folder.
pub(crate) fn run(name: &str, folder: &Path) -> Wrong {
    match name {
        "body-max" => memory::body_max(),
        "call-name" => cluster::call_name(),
        "dev-loop" => tools::dev_loop(folder),
        "drain" => cluster::drain(),
        "encode-bomb" => tools::encode_bomb(),
        "files" => memory::files(),
        "flood" => memory::flood(),
        "fresh-deploy" => cluster::fresh_deploy(),
        "nobody" => waiting::nobody(),
        "pipeline" => memory::pipeline(),
        "reborn" => cluster::reborn(),
        "tiny-chunks" => memory::tiny_chunks(),
        "trailers" => waiting::trailers(),
        "twin" => cluster::twin(),
        "waiting" => waiting::waiting(),
        _ => bail!("no program {name}"),
    }
}

/// A node with an app of `tests/cases/apps`, with these arguments and after this command.
fn node(app: &str, arguments: &[&str], wrapper: &[&str]) -> Result<Cluster> {
    let mut options = Options::nodes(&["a"]).arguments(arguments);
    options.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
    let cluster = Cluster::start(options)?;
    deploy(&cluster, app)?;
    Ok(cluster)
}

/// A connection with a request's first bytes on it.
fn sent(address: SocketAddr, bytes: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    // Whoever refuses early may close before all is written: what it answers tells.
    let _ = stream.write_all(bytes);
    Ok(stream)
}

/// All that comes until the connection ends, or nothing comes for seconds.
fn read(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A count that shall be within a bound.
fn at_most(what: &str, count: u64, most: u64) -> Wrong {
    Ok((count > most).then(|| format!("wrong: {what}: got {count}, expected at most {most}")))
}

/// The first that is wrong.
fn first(wrongs: impl IntoIterator<Item = Wrong>) -> Wrong {
    wrongs.into_iter().find(|wrong| !matches!(wrong, Ok(None))).unwrap_or(Ok(None))
}

/// What a small request of another client gets, while something else goes on.
fn honest(cluster: &Cluster, path: &str, right: &str) -> Wrong {
    let got = match cluster.node("a").and_then(|node| node.get(path)) {
        Ok(response) => format!("{} {}", response.status, response.text()),
        Err(error) => format!("{error:#}"),
    };
    judge("another client", &got, right)
}
