//! A relay: what comes to its port goes on to another address after a delay, and what is answered
//! comes back after the same. It stands for the way between two zones, where the kernel has no such
//! thing. TCP and UDP, on one port of both.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often another port is tried when the system chose one that is free for TCP only.
const PORT_TRIES: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;
/// How often a thread looks whether the relay is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Senders of datagrams that are told apart; those beyond are not served.
const SENDERS_MAX: usize = 256;

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Relay from a free port of `ip` to `target`, which need not be there yet. Each way takes
    /// `delay` longer than without. The calling thread's network namespace is where it listens.
    pub fn start(ip: IpAddr, target: SocketAddr, delay: Duration) -> Result<Self> {
        let (links, datagrams) = listen(ip)?;
        let address = links.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        thread::spawn(move || {
            for stream in links.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let _ = carry(stream, target, delay);
            }
        });
        let ended = stop.clone();
        thread::spawn(move || drop(pass(&datagrams, target, delay, &ended)));
        Ok(Self { address, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // So that the listener's thread looks.
        let _ = TcpStream::connect_timeout(&self.address, LOOK_AGAIN);
    }
}

/// A port that is free for TCP and UDP now.
pub fn free_port(ip: IpAddr) -> Result<u16> {
    Ok(listen(ip)?.0.local_addr()?.port())
}

fn listen(ip: IpAddr) -> Result<(TcpListener, UdpSocket)> {
    for _ in 0..PORT_TRIES {
        let links = TcpListener::bind((ip, 0)).context("cannot listen for a relay")?;
        if let Ok(datagrams) = UdpSocket::bind(links.local_addr()?) {
            return Ok((links, datagrams));
        }
    }
    bail!("no port of {ip} is free for TCP and UDP")
}

/// One connection, both ways.
fn carry(near: TcpStream, target: SocketAddr, delay: Duration) -> Result<()> {
    let far = TcpStream::connect(target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
        let mut source = from.try_clone()?;
        thread::spawn(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            while let Ok(length @ 1..) = source.read(&mut chunk) {
                let bytes = chunk.get(..length).unwrap_or_default().to_vec();
                if sender.send((Instant::now() + delay, bytes)).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            let mut target = &to;
            while let Ok((due, bytes)) = receiver.recv() {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if target.write_all(&bytes).is_err() {
                    break;
                }
            }
            // The end of one direction is the end of a link.
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

/// Datagrams: each sender gets a port of its own towards the target, so that answers find back.
fn pass(
    near: &UdpSocket,
    target: SocketAddr,
    delay: Duration,
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    near.set_read_timeout(Some(LOOK_AGAIN))?;
    let mut senders: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let outbound = delayed(delay);
    let mut buffer = vec![0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = near.recv_from(&mut buffer) else { continue };
        if !senders.contains_key(&from) {
            if senders.len() >= SENDERS_MAX {
                continue;
            }
            let far = UdpSocket::bind((near.local_addr()?.ip(), 0))?;
            answer(far.try_clone()?, near.try_clone()?, from, delay, stop.clone())?;
            senders.insert(from, far);
        }
        if let Some(far) = senders.get(&from) {
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let _ = outbound.send((Instant::now() + delay, far.try_clone()?, target, bytes));
        }
    }
    Ok(())
}

type Datagram = (Instant, UdpSocket, SocketAddr, Vec<u8>);

/// Send what is put in when its time has come.
fn delayed(delay: Duration) -> mpsc::Sender<Datagram> {
    let (sender, receiver) = mpsc::channel::<Datagram>();
    thread::spawn(move || {
        while let Ok((due, socket, to, bytes)) = receiver.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()).min(delay));
            let _ = socket.send_to(&bytes, to);
        }
    });
    sender
}

fn answer(
    far: UdpSocket,
    near: UdpSocket,
    to: SocketAddr,
    delay: Duration,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    far.set_read_timeout(Some(LOOK_AGAIN))?;
    thread::spawn(move || {
        let inbound = delayed(delay);
        let mut buffer = vec![0; 2048];
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, _)) = far.recv_from(&mut buffer) else { continue };
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let Ok(socket) = near.try_clone() else { return };
            if inbound.send((Instant::now() + delay, socket, to, bytes)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The shortest of some round trips of one byte through a relay: what it adds, measured before
/// anything relies on it.
pub fn measure(ip: IpAddr, delay: Duration) -> Result<Duration> {
    let echo = TcpListener::bind((ip, 0))?;
    let relay = Relay::start(ip, echo.local_addr()?, delay)?;
    let mut near = TcpStream::connect(relay.address())?;
    near.set_nodelay(true)?;
    let (mut far, _) = echo.accept()?;
    far.set_nodelay(true)?;
    let mut least = Duration::MAX;
    for _ in 0..10 {
        let (begun, mut byte) = (Instant::now(), [7]);
        near.write_all(&byte)?;
        far.read_exact(&mut byte)?;
        far.write_all(&byte)?;
        near.read_exact(&mut byte)?;
        least = least.min(begun.elapsed());
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    /// If this fails, what is measured between zones is not what a relay adds.
    #[test]
    fn a_round_trip_takes_twice_the_delay() {
        let took = measure([127, 0, 0, 1].into(), DELAY).unwrap();
        assert!((DELAY * 2..DELAY * 4).contains(&took), "{took:?}");
    }

    /// If this fails, bulletins do not pass, or their answers do not find back.
    #[test]
    fn datagrams_pass_both_ways() {
        let ip = [127, 0, 0, 1].into();
        let (one, two) = (UdpSocket::bind((ip, 0)).unwrap(), UdpSocket::bind((ip, 0)).unwrap());
        let relay = Relay::start(ip, two.local_addr().unwrap(), DELAY).unwrap();
        let begun = Instant::now();
        one.send_to(b"there", relay.address()).unwrap();
        let mut buffer = [0; 8];
        let (length, from) = two.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"there");
        two.send_to(b"back", from).unwrap();
        let (length, from) = one.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"back"[..], relay.address()));
        assert!(begun.elapsed() >= DELAY * 2);
    }
}
