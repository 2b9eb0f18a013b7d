//! The writing end of a link. Any thread writes: what a step sends goes out on the step's own
//! thread, without waking the thread of the socket first. What may wait, and what the socket does
//! not take at once, is written by the link's task ([`peer_links`](crate::peer_links)).
//!
//! Messages go out in the order in which their places were taken ([`Writer::reserve`]), whichever
//! thread fills them first.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::ordered::Turns;

/// Bytes that wait in one link, those of places whose turn has not come included.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Room that is kept when all has been written.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// The bytes of a message's length, before each message.
const LENGTH_BYTES: usize = 4;

/// A stream that carries messages one way, each behind its length.
pub(crate) struct Writer {
    /// The number of the next place.
    places: AtomicU64,
    inner: Mutex<Inner>,
    /// Wakes the link's task: there is something that could not be written at once.
    waiting: Notify,
}

/// What a link writes to: TLS over TCP, or a pipe in tests.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Inner {
    stream: Box<dyn Stream>,
    turns: Turns<(Bytes, Flush)>,
    /// The bytes in `turns`: of messages that wait for one before them.
    early_bytes: usize,
    queue: BytesMut,
    /// All of the queue was given to the stream, which has not passed all of it on.
    unflushed: bool,
    broken: Option<io::Error>,
}

/// When a message is written, once its turn has come. The later of these are the more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flush {
    /// With the next message that is not held, or when [`Writer::wake`] is called, which the sender
    /// does.
    Held,
    /// When the link's task has its turn: all that this thread has to do before goes out with one
    /// write.
    Later,
    /// At once, on the calling thread.
    Now,
}

/// The other side reads so slowly, or not at all, that [`QUEUE_BYTES_MAX`] wait. The link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side reads too slowly: {} MiB waited to be sent", QUEUE_BYTES_MAX >> 20)]
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

/// The place of one message among those of a link. It can be filled by any thread, and at any later
/// time: what has a place behind it waits. Dropped without a message it is given up.
#[must_use]
pub(crate) struct Place {
    writer: Arc<Writer>,
    number: u64,
    settled: bool,
}

impl Place {
    /// The message is ready. It is on its way, or waits, or is lost with the link.
    pub(crate) fn fill(mut self, frame: Bytes, flush: Flush) -> Result<(), Full> {
        self.settled = true;
        self.writer.settle(self.number, Some((frame, flush)))
    }

    /// Of which link.
    pub(crate) fn writer(&self) -> &Arc<Writer> {
        &self.writer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.settled {
            // What is given up takes no room.
            let _ = self.writer.settle(self.number, None);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        let inner = Inner {
            stream: Box::new(stream),
            turns: Turns::default(),
            early_bytes: 0,
            queue: BytesMut::new(),
            unflushed: false,
            broken: None,
        };
        Self { places: AtomicU64::new(0), inner: Mutex::new(inner), waiting: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take the next place. Costs one addition: who decides about order calls this within the lock
    /// under which it decides, and encodes the message after it.
    pub(crate) fn reserve(self: &Arc<Self>) -> Place {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        Place { writer: self.clone(), number, settled: false }
    }

    fn settle(&self, number: u64, content: Option<(Bytes, Flush)>) -> Result<(), Full> {
        let mut inner = self.lock();
        let bytes = content.as_ref().map_or(0, |(frame, _)| frame.len() + LENGTH_BYTES);
        let Inner { turns, early_bytes, queue, .. } = &mut *inner;
        let waiting = queue.len() + *early_bytes;
        if waiting + bytes > QUEUE_BYTES_MAX || turns.is_too_far(number) {
            inner.broken = Some(io::Error::other(Full));
            drop(inner);
            self.waiting.notify_one();
            return Err(Full);
        }
        *early_bytes += bytes;
        let (mut flush, given_up) = (None, content.is_none());
        turns.settle(number, content, |(frame, when)| {
            *early_bytes -= frame.len() + LENGTH_BYTES;
            // A message has at most some megabytes: see `FRAME_BYTES_MAX` of the links.
            #[expect(clippy::cast_possible_truncation, reason = "it is less than 64 MiB")]
            queue.put_u32(frame.len() as u32);
            queue.put_slice(&frame);
            flush = flush.max(Some(when));
        });
        let Some(flush) = flush else { return Ok(()) };
        // Nobody who held a message back comes again to wake for one that waited for this.
        let flush = if given_up { flush.max(Flush::Later) } else { flush };
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

    /// What waits is written when the link's task has its turn.
    pub(crate) fn wake(&self) {
        if !self.lock().queue.is_empty() {
            self.waiting.notify_one();
        }
    }

    /// Bytes that wait: what the socket has taken is not among them.
    pub(crate) fn unsent_bytes(&self) -> usize {
        let inner = self.lock();
        inner.queue.len() + inner.early_bytes
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

impl Inner {
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

    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    impl Writer {
        fn send(self: &Arc<Self>, frame: Bytes, flush: Flush) -> Result<(), Full> {
            self.reserve().fill(frame, flush)
        }
    }

    fn message(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    /// If this fails, what a step sends waits for the thread of the socket.
    #[test]
    fn another_thread_writes_at_once() {
        let (here, mut there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        writer.send(message(b"one"), Flush::Now).unwrap();
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
            (0..200u8).for_each(|n| sender.send(message(&[n; 30]), flush(n)).unwrap());
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

    /// The messages that can be read, each of which is one number.
    async fn read_numbers(there: &mut DuplexStream, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            assert_eq!(there.read_u32().await.unwrap(), 4);
            numbers.push(there.read_u32().await.unwrap());
        }
        numbers
    }

    /// If this fails, messages leave in the order in which threads have encoded them, not in the
    /// order in which core has decided them.
    #[test]
    fn threads_that_fill_in_other_orders_change_nothing() {
        const THREADS: usize = 4;
        const EACH: u32 = 2000;
        let (here, mut there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        // As core does: one lock for the decision, and the place is taken within it.
        let decided = Arc::new(Mutex::new(0u32));
        let fill = |index: usize| {
            let (writer, decided) = (writer.clone(), decided.clone());
            move || {
                let mut taken = Vec::new();
                for round in 0..EACH {
                    let mut decided = decided.lock().unwrap();
                    taken.push((*decided, writer.reserve()));
                    *decided += 1;
                    drop(decided);
                    // Now and then all at once, the newest first.
                    if round % 7 == index as u32 {
                        for (number, place) in taken.drain(..).rev() {
                            let flush = [Flush::Now, Flush::Later][number as usize % 2];
                            place.fill(message(&number.to_be_bytes()), flush).unwrap();
                        }
                    }
                }
                for (number, place) in taken {
                    place.fill(message(&number.to_be_bytes()), Flush::Later).unwrap();
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|index| thread::spawn(fill(index))).collect();
        let count = THREADS * EACH as usize;
        let read = block(async {
            tokio::select! {
                read = read_numbers(&mut there, count) => read,
                ended = writer.run() => panic!("{ended:?}"),
            }
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(read, (0..count as u32).collect::<Vec<_>>());
        assert_eq!(writer.unsent_bytes(), 0);
    }

    /// If this fails, what must be on disk first is told before it is, or nobody is told after it.
    #[test]
    fn a_place_may_wait_for_a_condition() {
        let (here, mut there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        let after_the_disk = writer.reserve();
        writer.send(message(b"second"), Flush::Now).unwrap();
        writer.send(message(b"third"), Flush::Held).unwrap();
        assert_eq!(writer.unsent_bytes(), 6 + 5 + 2 * LENGTH_BYTES);
        let mut nothing = [0];
        let read = block(async { poll!(pin!(there.read(&mut nothing))) });
        assert!(read.is_pending());
        after_the_disk.fill(message(b"first"), Flush::Held).unwrap();
        let mut read = [0; 28];
        block(there.read_exact(&mut read)).unwrap();
        assert_eq!(&read, b"\0\0\0\x05first\0\0\0\x06second\0\0\0\x05third");
    }

    /// If this fails, a message that could not be encoded stops all that was decided after it.
    #[test]
    fn a_place_that_is_dropped_is_given_up() {
        let (here, mut there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        let place = writer.reserve();
        writer.send(message(b"held"), Flush::Held).unwrap();
        // Its sender wakes too early.
        writer.wake();
        drop(place);
        let read = block(async {
            let mut read = [0; 8];
            tokio::select! {
                _ = there.read_exact(&mut read) => read,
                ended = writer.run() => panic!("{ended:?}"),
            }
        });
        assert_eq!(&read, b"\0\0\0\x04held");
    }

    /// If this fails, an acceptance costs a write of its own, or is never sent.
    #[test]
    fn what_is_held_goes_out_with_the_next_or_when_it_is_told() {
        let (here, _there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        writer.send(message(b"a"), Flush::Held).unwrap();
        assert_eq!(writer.unsent_bytes(), 5);
        writer.send(message(b"b"), Flush::Now).unwrap();
        assert_eq!(writer.unsent_bytes(), 0);

        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut ctx = Context::from_waker(&waker);
        let mut running = pin!(writer.run());
        assert!(running.as_mut().poll(&mut ctx).is_pending());
        writer.send(message(b"c"), Flush::Held).unwrap();
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
        let writer = Arc::new(Writer::new(here));
        writer.send(message(&[1; 96]), Flush::Now).unwrap();
        assert_eq!(writer.unsent_bytes(), 100 - 64);
        writer.send(message(b"more"), Flush::Later).unwrap();
        assert_eq!(writer.unsent_bytes(), 100 - 64 + 8);
        block(there.read_exact(&mut [0; 64])).unwrap();
        writer.send(message(b""), Flush::Now).unwrap();
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
        let writer = Arc::new(Writer::new(here));
        drop(there);
        let _ = writer.send(message(b"into nothing"), Flush::Now);
        assert!(matches!(block(writer.run()), Ended::Failed(_)));
    }

    /// If this fails, a node that reads slowly fills this node's memory.
    #[test]
    fn queue_bytes_max() {
        let (here, _there) = duplex(64);
        let writer = Arc::new(Writer::new(here));
        let large = Bytes::from(vec![0; 9 << 20]);
        let fitting = (0..20).take_while(|_| writer.send(large.clone(), Flush::Later).is_ok());
        assert_eq!(fitting.count(), 7);
        assert_eq!(writer.send(large.clone(), Flush::Later), Err(Full));
        assert!(matches!(block(writer.run()), Ended::Failed(_)));
        // What waits for a place before it counts too.
        let writer = Arc::new(Writer::new(duplex(64).0));
        let _open = writer.reserve();
        let fitting = (0..20).take_while(|_| writer.send(large.clone(), Flush::Later).is_ok());
        assert_eq!(fitting.count(), 7);
    }
}
