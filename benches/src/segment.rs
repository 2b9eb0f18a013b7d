//! A network of namespaces on one bridge: each node has an address and a loopback of its own. The
//! bridge is in a namespace too, so nothing of the machine's own network is touched, and nothing
//! can leave. Needs root and `ip`.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::quota::unique;
use crate::undo::Undo;

const PREFIX: &str = "izna-bench-";
/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/run/netns";
/// The last address is the bridge's own: clients come from there.
const PLACES_MAX: u8 = 250;
const CLIENTS: u8 = 254;

/// The bridge. Dropping it removes it.
#[derive(Debug)]
pub struct Segment {
    bridge: Place,
    places: AtomicU8,
}

/// A network namespace on the bridge. Dropping the last one of its copies removes it.
#[derive(Debug, Clone)]
pub struct Place {
    name: String,
    address: Ipv4Addr,
    _undo: Arc<Undo>,
}

impl Segment {
    /// A bridge without nodes; an error that says why there can be none.
    pub fn new() -> Result<Self> {
        sweep();
        let bridge = Place::new("bridge", CLIENTS)?;
        let ns = bridge.name.as_str();
        let kind = ["type", "bridge", "mcast_snooping", "0", "stp_state", "0"];
        let add = [&["-n", ns, "link", "add", "br0"][..], &kind, &["forward_delay", "0"]];
        ip(&add.concat())?;
        bridge.up("br0")?;
        Ok(Self { bridge, places: AtomicU8::new(0) })
    }

    /// One place more.
    pub fn place(&self) -> Result<Place> {
        let number = self.places.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if number > PLACES_MAX {
            bail!("a segment has room for {PLACES_MAX} nodes");
        }
        let place = Place::new(&number.to_string(), number)?;
        let (bridge, port) = (self.bridge.name.as_str(), format!("port{number}"));
        let peer = ["type", "veth", "peer", "name", &port, "netns", bridge];
        ip(&[&["link", "add", "eth0", "netns", &place.name][..], &peer].concat())?;
        ip(&["-n", bridge, "link", "set", &port, "master", "br0", "up"])?;
        place.up("eth0")?;
        Ok(place)
    }

    /// Where clients are: on the bridge, beside all nodes.
    pub fn clients(&self) -> &Place {
        &self.bridge
    }
}

impl Place {
    fn new(what: &str, host: u8) -> Result<Self> {
        let name = format!("{PREFIX}{}-{}-{what}", process::id(), unique());
        ip(&["netns", "add", &name])?;
        let undo = Undo::new({
            let name = name.clone();
            move || drop(ip(&["netns", "del", &name]))
        });
        let address = Ipv4Addr::new(10, 73, 0, host);
        Ok(Self { name, address, _undo: Arc::new(undo) })
    }

    fn up(&self, device: &str) -> Result<()> {
        let address = format!("{}/24", self.address);
        ip(&["-n", &self.name, "address", "add", &address, "dev", device])?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &self.name, "link", "set", device, "up"])
    }

    /// Its address on the segment.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Move the calling thread here for good. Sockets that it opens and processes that it starts
    /// from now on are here.
    pub fn enter(&self) -> Result<()> {
        let path = Path::new(NAMESPACES).join(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        enter(&file).with_context(|| format!("cannot enter {}", self.name))
    }

    /// What `act` gives on a thread that is here.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                act()
            });
            thread.join().map_err(|_| anyhow!("a thread in {} panicked", self.name))?
        })
    }
}

/// `act` in this place, or right here if there is none.
pub fn within<T: Send>(place: Option<&Place>, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    match place {
        Some(place) => place.within(act),
        None => act(),
    }
}

/// Move the calling thread into the network namespace that `file` is.
fn enter(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as the call takes, and no memory is passed.
    #[expect(unsafe_code, reason = "no crate that is here anyway has this call")]
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.context("cannot run `ip`: network namespaces need iproute2")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), why.trim());
    }
    Ok(())
}

/// Remove what runs that were killed have left.
fn sweep() {
    let names = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in names.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    /// If this fails, nodes of a segment do not reach each other, or it is left behind.
    #[test]
    fn places_reach_each_other_and_are_removed() {
        let segment = crate::skipped::without("network namespaces", Segment::new());
        let Some(segment) = segment else { return };
        let (one, two) = (segment.place().unwrap(), segment.place().unwrap());
        let listener = one.within(|| Ok(TcpListener::bind((one.address(), 0))?)).unwrap();
        let address = listener.local_addr().unwrap();
        for place in [&two, segment.clients()] {
            let mut near = place.within(|| Ok(TcpStream::connect(address)?)).unwrap();
            let (mut far, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), place.address());
            near.write_all(b"x").unwrap();
            let mut byte = [0];
            far.read_exact(&mut byte).unwrap();
        }
        let path = Path::new(NAMESPACES).join(&one.name);
        assert!(path.exists());
        drop((one, two, segment));
        assert!(!path.exists());
    }
}
