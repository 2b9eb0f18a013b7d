//! The writing end of a link. Any thread writes: what a step sends goes out on the step's own
//! thread, without waking the sockets' thread first. What may wait, and what the socket does not
//! take at once, is written by the link's task ([`links`](crate::links)).

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// Bytes that wait in one link.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Room that is kept when all has been written.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A stream that carries messages one way, each behind its length.
pub(crate) struct Writer<S> {
    inner: Mutex<Inner<S>>,
    /// Wakes the link's task: there is something that could not be written at once.
    waiting: Notify,
}

struct Inner<S> {
    stream: S,
    queue: BytesMut,
    /// All of the queue was given to the stream, which has not passed all of it on.
    unflushed: bool,
    broken: Option<io::Error>,
}

/// When a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// At once, on the calling thread.
    Now,
    /// When the sockets' thread is through with what it does: all that this brings about goes out
    /// with one write.
    Later,
    /// With the next message that is not held, or when [`Writer::wake`] is called, which the sender
    /// does.
    Held,
}

/// The other side reads so slowly, or not at all, that [`QUEUE_BYTES_MAX`] wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Why a link ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The other side closed it.
    Closed,
    /// It sent something where it has nothing to say.
    Unexpected,
    Failed(io::Error),
}

impl<S> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Writer<S> {
    pub(crate) fn new(stream: S) -> Self {
        let inner = Inner { stream, queue: BytesMut::new(), unflushed: false, broken: None };
        Self { inner: Mutex::new(inner), waiting: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Send one message. It is on its way, or waits, or is lost with the link.
    pub(crate) fn send(&self, frame: &[u8], flush: Flush) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.queue.len() + frame.len() > QUEUE_BYTES_MAX {
            return Err(Full);
        }
        // A message has at most some megabytes: see `FRAME_BYTES_MAX` of the links.
        #[expect(clippy::cast_possible_truncation, reason = "it is less than 64 MiB")]
        inner.queue.put_u32(frame.len() as u32);
        inner.queue.put_slice(frame);
        if flush == Flush::Now {
            let mut ctx = Context::from_waker(Waker::noop());
            match inner.poll_write(&mut ctx) {
                Poll::Ready(Ok(())) => return Ok(()),
                Poll::Ready(Err(error)) => inner.broken = Some(error),
                // The task has to ask again: the socket would wake nobody.
                Poll::Pending => {}
            }
        }
        drop(inner);
        if flush != Flush::Held {
            self.waiting.notify_one();
        }
        Ok(())
    }

    /// What waits is written when the sockets' thread has done what else it was woken for so far.
    pub(crate) fn wake(&self) {
        if self.unsent_bytes() > 0 {
            self.waiting.notify_one();
        }
    }

    /// Bytes that wait: what the socket has taken is not among them.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.lock().queue.len()
    }

    /// Write what waits, until the link ends. Only one may be at it.
    pub(crate) async fn run(&self) -> Ended {
        loop {
            let ended = std::future::poll_fn(|ctx| self.lock().poll(ctx));
            tokio::select! {
                biased;
                ended = ended => return ended,
                () = self.waiting.notified() => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Ended::Failed(error));
        }
        if let Poll::Ready(Err(error)) = self.poll_write(ctx) {
            return Poll::Ready(Ended::Failed(error));
        }
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_read(ctx, &mut read)) {
            Ok(()) if read.filled().is_empty() => Ended::Closed,
            Ok(()) => Ended::Unexpected,
            Err(error) => Ended::Failed(error),
        })
    }

    /// Ready when nothing waits.
    fn poll_write(&mut self, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            self.unflushed = true;
            match ready!(Pin::new(&mut self.stream).poll_write(ctx, &self.queue))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.queue.advance(count),
            }
        }
        if self.queue.capacity() > KEPT_BYTES_MAX {
            self.queue = BytesMut::new();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(ctx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
        thread,
    };

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// If this fails, what a step sends waits for the sockets' thread.
    #[test]
    fn another_thread_writes_at_once() {
        let (here, mut there) = duplex(64);
        let writer = Writer::new(here);
        writer.send(b"one", Flush::Now).unwrap();
        let mut read = [0; 7];
        block(there.read_exact(&mut read)).unwrap();
        assert_eq!(&read, b"\0\0\0\x03one");
    }

    /// If this fails, what the socket did not take at once is stuck, or comes in another order.
    #[test]
    fn what_does_not_fit_is_written_by_the_task() {
        let (here, mut there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        let sender = writer.clone();
        let flush = |n| if n % 3 == 0 { Flush::Later } else { Flush::Now };
        let sending = thread::spawn(move || {
            (0..200u8).for_each(|n| sender.send(&[n; 30], flush(n)).unwrap());
        });
        let read = block(async {
            let reading = async {
                let mut read = vec![0; 200 * 34];
                there.read_exact(&mut read).await.unwrap();
                read
            };
            tokio::select! {
                read = reading => read,
                ended = writer.run() => panic!("{ended:?}"),
            }
        });
        sending.join().unwrap();
        for (n, frame) in read.chunks(34).enumerate() {
            assert_eq!(frame[..4], [0, 0, 0, 30]);
            assert_eq!(frame[4..], [u8::try_from(n).unwrap(); 30]);
        }
    }

    /// If this fails, an acceptance costs a write of its own, or is never sent.
    #[test]
    fn what_is_held_goes_out_with_the_next_or_when_it_is_told() {
        let (here, _there) = duplex(64);
        let writer = Writer::new(here);
        writer.send(b"a", Flush::Held).unwrap();
        assert_eq!(writer.unsent_bytes(), 5);
        writer.send(b"b", Flush::Now).unwrap();
        assert_eq!(writer.unsent_bytes(), 0);

        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut ctx = Context::from_waker(&waker);
        let mut running = pin!(writer.run());
        assert!(running.as_mut().poll(&mut ctx).is_pending());
        writer.send(b"c", Flush::Held).unwrap();
        assert!(!woken.0.load(Ordering::Relaxed));
        writer.wake();
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(running.as_mut().poll(&mut ctx).is_pending());
        assert_eq!(writer.unsent_bytes(), 0);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// If this fails, a node whose links are slow looks as good as any.
    #[test]
    fn what_waits_is_counted() {
        let (here, mut there) = duplex(64);
        let writer = Writer::new(here);
        writer.send(&[1; 96], Flush::Now).unwrap();
        assert_eq!(writer.unsent_bytes(), 100 - 64);
        writer.send(b"more", Flush::Later).unwrap();
        assert_eq!(writer.unsent_bytes(), 100 - 64 + 8);
        block(there.read_exact(&mut [0; 64])).unwrap();
        writer.send(b"", Flush::Now).unwrap();
        assert_eq!(writer.unsent_bytes(), 0);
    }

    /// If this fails, a link whose other side is gone is kept.
    #[test]
    fn the_end_of_the_other_side_is_seen() {
        let (here, there) = duplex(64);
        drop(there);
        assert!(matches!(block(Writer::new(here).run()), Ended::Closed));
        let (here, mut there) = duplex(64);
        block(there.write_all(b"x")).unwrap();
        assert!(matches!(block(Writer::new(here).run()), Ended::Unexpected));
        let (here, there) = duplex(64);
        let writer = Writer::new(here);
        drop(there);
        let _ = writer.send(b"into nothing", Flush::Now);
        assert!(matches!(block(writer.run()), Ended::Failed(_)));
    }

    /// If this fails, a node that reads slowly fills this node's memory.
    #[test]
    fn queue_bytes_max() {
        let (here, _there) = duplex(64);
        let writer = Writer::new(here);
        let large = vec![0; 9 << 20];
        let fitting = (0..20).take_while(|_| writer.send(&large, Flush::Later).is_ok()).count();
        assert_eq!(fitting, 7);
        assert_eq!(writer.send(&large, Flush::Later), Err(Full));
    }
}
