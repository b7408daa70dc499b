//! One connection, with its time limits.
//!
//! While no request is being worked on, reading ends with an error once the connection has been idle for too long, or
//! once the head of a request takes too long. Writing ends with an error once the client takes nothing for too long. At
//! the end the stream reads for a moment what the client still sends, because a connection that is closed while the
//! client sends is reset, and the answer is lost with it.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    connections::{Connections, Limits},
    slots::{HeldSlot, Slot},
};

/// How long a connection without a request stays open once the server stops, because an answer may still be leaving.
const REST: Duration = Duration::from_secs(1);
/// How long the stream reads what a client still sends at the end of its connection.
const LINGER: Duration = Duration::from_secs(2);

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A TCP connection that keeps to [`Limits`].
pub struct LimitedStream {
    stream: TcpStream,
    taken: HeldSlot,
    limits: Limits,
    /// `None` once the stop has begun.
    stop: Option<Stop>,
    /// When the first byte of a head came, and how many requests had begun before it.
    head: Option<(Instant, usize)>,
    reading: Timer,
    writing: Timer,
    lingering: Timer,
}

/// A point in time that may move, and that wakes the task that waits for it.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether the time has come. If not, the task is woken when it comes.
    fn has_come(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }

    /// The same for `time` after the first call since the last [`Timer::forget`].
    fn has_passed(&mut self, time: Duration, cx: &mut Context<'_>) -> bool {
        let at = self.0.as_ref().map_or_else(|| Instant::now() + time, |sleep| sleep.deadline());
        self.has_come(at, cx)
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

impl LimitedStream {
    pub(crate) fn new(stream: TcpStream, taken: HeldSlot, connections: &Connections) -> Self {
        Self {
            stream,
            taken,
            limits: connections.limits(),
            stop: Some(Box::pin(connections.stopped())),
            head: None,
            reading: Timer::default(),
            writing: Timer::default(),
            lingering: Timer::default(),
        }
    }

    fn slot(&self) -> &Arc<Slot> {
        &self.taken.slot
    }

    /// When the first byte came of a head that is not complete yet.
    fn head_since(&self) -> Option<Instant> {
        self.head.filter(|(_, begun)| *begun == self.slot().begun()).map(|(since, _)| since)
    }

    /// Whether the connection has kept its slot for too long without a request.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(stop) = &mut self.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            self.stop = None;
        }
        let idle = self.slot().after(self.limits.idle);
        let mut until = self.head_since().map_or(idle, |since| since + self.limits.head);
        if self.stop.is_none() {
            until = until.min(self.slot().after(REST));
        }
        self.reading.has_come(until, cx)
    }

    /// Notes the outcome of a write. Ends a connection whose client takes nothing.
    fn written<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.slot().touch();
            self.writing.forget();
            return outcome;
        }
        if self.writing.has_passed(self.limits.stall, cx) {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client takes nothing")));
        }
        Poll::Pending
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buf);
        // The reader waits for the socket and would not come back by itself when an answer has left, so it is woken
        // then.
        this.slot().wake_at_end(cx.waker());
        if this.slot().is_working() {
            // Bodies have time limits of their own, and so has the request as a whole.
            return outcome;
        }
        if outcome.is_ready() {
            if this.head_since().is_none() {
                this.head = Some((Instant::now(), this.slot().begun()));
            }
            return outcome;
        }
        if this.is_overdue(cx) {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "no request came in time")));
        }
        Poll::Pending
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(outcome, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.0.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let mut scratch = [0; 4096];
        loop {
            if this.lingering.has_passed(LINGER, cx) {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The client has closed as well, or is gone.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
