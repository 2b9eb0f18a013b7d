//! A client's socket with everything that a hostile client must not do to it kept away from hyper:
//! heads are held back until they are whole and sound, and waiting has an end.

use std::{
    future::Future,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    framing::{Framer, Progress},
    limits::Limits,
    refusal::Refusal,
};

const PIECE_BYTES: usize = 16 << 10;
/// After its last response a connection is read from for so long and so much, so that the client
/// can take the response before it hears that its own bytes went nowhere.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// A client's socket.
pub(crate) struct Guard {
    stream: TcpStream,
    limits: Arc<Limits>,
    framer: Framer,
    /// Bytes read and not yet passed on, the first `passable` of which may be.
    held: BytesMut,
    passable: usize,
    requests: Arc<Requests>,
    refusal: Option<Refusal>,
    /// Whether hyper was told of the refusal: the connection ends with it, and with nothing else.
    refused: bool,
    wait: Wait,
    read_timer: Pin<Box<Sleep>>,
    /// How many requests were begun when the timer was set.
    begun_before: u64,
    /// Set while what is written is not taken.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Who reads, while it waits for that to end.
    held_back: Option<Waker>,
}

/// How many requests of a connection were begun and how many of them answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: AtomicU64,
    answered: AtomicU64,
    /// Who waits for the next answer.
    waiting: Mutex<Option<Waker>>,
}

impl Requests {
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(cx.waker().clone());
    }

    fn moved_since(&self, begun: u64) -> bool {
        self.in_work() || self.begun.load(Ordering::Relaxed) != begun
    }

    fn in_work(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }
}

/// What is waited for, and so which limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A body: others keep the time.
    Body,
    /// The first byte of a request, or the answer to the last one.
    Idle,
    /// The rest of a head.
    Head,
}

impl Guard {
    pub(crate) fn new(stream: TcpStream, limits: Arc<Limits>, requests: Arc<Requests>) -> Self {
        let read_timer = Box::pin(sleep(limits.header_timeout));
        Self {
            stream,
            limits,
            framer: Framer::new(),
            held: BytesMut::new(),
            passable: 0,
            requests,
            refusal: None,
            refused: false,
            // A new connection has as long to begin as a head has to end.
            wait: Wait::Idle,
            read_timer,
            begun_before: 0,
            write_timer: None,
            held_back: None,
        }
    }

    /// Say why, if something was refused, and close without cutting off what was said.
    pub(crate) async fn close(mut self) {
        let last = async {
            if let Some(refusal) = self.refusal.take().filter(|_| self.refused) {
                self.stream.write_all(&refusal.to_http()).await?;
            }
            self.stream.shutdown().await?;
            let (mut piece, mut taken) = ([0; 4096], 0);
            while taken < LINGER_BYTES_MAX {
                match self.stream.read(&mut piece).await? {
                    0 => break,
                    count => taken += count,
                }
            }
            io::Result::Ok(())
        };
        // The client is gone already, or stays away: both are its own affair.
        let _ = timeout(LINGER, last).await;
    }

    /// Move on as far as the bytes at hand allow; whether some may be passed on.
    fn advance(&mut self) -> bool {
        if self.passable == 0 && self.refusal.is_none() {
            match self.framer.advance(&self.held, &self.limits) {
                Ok(Progress::Pass(count)) => self.passable = count,
                Ok(Progress::Head(count)) => {
                    self.passable = count;
                    self.requests.begun.fetch_add(1, Ordering::Relaxed);
                    // The next head has its own time, even if its first bytes are here already.
                    if self.wait == Wait::Head {
                        self.wait = Wait::Body;
                    }
                }
                Ok(Progress::Skip(count)) => {
                    self.held.advance(count);
                    return self.advance();
                }
                Ok(Progress::More) => {}
                Err(refusal) => self.refusal = Some(refusal),
            }
        }
        self.passable > 0
    }

    /// Note what is waited for now, and whether that has lasted too long.
    ///
    /// Hyper does not read again between an answer and the next request, so that the idle timer
    /// runs through both, and only counts when no request was begun since it was set.
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let wait = match self.framer.at_head() {
            true if self.held.is_empty() => Wait::Idle,
            true => Wait::Head,
            false => Wait::Body,
        };
        if wait != self.wait {
            self.wait = wait;
            self.set_timer();
        }
        if wait == Wait::Body || self.read_timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        if wait == Wait::Head || !self.requests.moved_since(self.begun_before) {
            return true;
        }
        self.set_timer();
        // Polled once more, to be woken by it.
        self.read_timer.as_mut().poll(cx).is_ready()
    }

    fn set_timer(&mut self) {
        self.begun_before = self.requests.begun.load(Ordering::Relaxed);
        let limit = match self.wait {
            Wait::Body => return,
            Wait::Idle => self.limits.idle_timeout,
            Wait::Head => self.limits.header_timeout,
        };
        self.read_timer.as_mut().reset(Instant::now() + limit);
    }

    /// The end of waiting: what hyper is told.
    fn give_up(&mut self) -> io::Result<()> {
        if self.wait == Wait::Idle {
            return Ok(());
        }
        let seconds = self.limits.header_timeout.as_secs();
        self.refusal = Some(Refusal::Slow { what: "headers", seconds });
        self.refused = true;
        Err(ErrorKind::TimedOut.into())
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
        read.map_ok(|()| {
            self.held.extend_from_slice(piece.filled());
            piece.filled().len()
        })
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            // What was answered goes out before more is taken in: else the answers to requests in a
            // row would be kept for a client that reads none of them.
            if this.write_timer.is_some() && this.framer.at_head() && this.passable == 0 {
                this.held_back = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if this.advance() {
                let count = this.passable.min(buffer.remaining());
                buffer.put_slice(this.held.get(..count).unwrap_or_default());
                this.held.advance(count);
                this.passable -= count;
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = &this.refusal {
                if !this.framer.at_head() {
                    // Who reads the body of the request in work answers it.
                    return Poll::Ready(Err(io::Error::new(
                        ErrorKind::InvalidData,
                        refusal.clone(),
                    )));
                }
                // Requests before the refused one are answered first.
                if this.requests.in_work() {
                    this.requests.wait(cx);
                    return Poll::Pending;
                }
                this.refused = true;
                return Poll::Ready(Err(ErrorKind::InvalidData.into()));
            }
            match this.poll_more(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if this.overdue(cx) => return Poll::Ready(this.give_up()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Guard {
    fn stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_timer = None;
            if let Some(reader) = self.held_back.take() {
                reader.wake();
            }
            return poll;
        }
        let limit = self.limits.write_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.stalled(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.stalled(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
