//! Two time limits that hyper has not: for a head once it has begun, and for a client that stops
//! taking its answer.
//!
//! hyper's `header_read_timeout` also runs while a connection is idle, so it is set to the idle
//! time; a head that drips in is caught here, by its own, shorter limit. (A head whose first bytes
//! came together with the previous request is in hyper's buffer already and has the idle time.)
//! Timers are made only when something is really waited for: a head that comes in one piece, and
//! an answer that the kernel takes at once, need none.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::Clock;
use crate::upstream::{Body, BoxError};

/// Which requests of a connection have begun and which are over.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request from its head to the last frame of its answer.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer that keeps its connection [`Busy`].
pub(super) struct Answering {
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the next head stands.
enum Head {
    /// None has begun.
    Idle,
    /// It is coming; the alarm is set once it must be waited for.
    Coming(Option<Alarm>),
}

/// A connection under the two limits.
pub(super) struct Timed<S> {
    inner: S,
    activity: Arc<Activity>,
    clock: Clock,
    head_time: Duration,
    write_stall: Duration,
    heads_seen: u64,
    head: Head,
    stalled: Option<Alarm>,
}

impl<S> Timed<S> {
    pub(super) fn new(
        inner: S,
        activity: Arc<Activity>,
        clock: Clock,
        head_time: Duration,
        write_stall: Duration,
    ) -> Self {
        // The first head is under way from the start: nobody connects to say nothing.
        let head = Head::Coming(None);
        Self { inner, activity, clock, head_time, write_stall, heads_seen: 0, head, stalled: None }
    }

    /// Whether a request is being served; forgets the head that became one.
    fn serving(&mut self) -> bool {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.heads_seen {
            self.heads_seen = begun;
            self.head = Head::Idle;
        }
        begun != self.activity.ended.load(Ordering::Relaxed)
    }

    fn await_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.head {
            Head::Idle => Poll::Pending,
            Head::Coming(alarm) => poll_alarm(alarm, &self.clock, self.head_time, cx),
        }
    }

    fn await_room<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match poll_alarm(&mut self.stalled, &self.clock, self.write_stall, cx) {
            Poll::Ready(Err(stalled)) => Poll::Ready(Err(stalled)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Sets `alarm` if it is not set, and fails when it rings.
fn poll_alarm(
    alarm: &mut Option<Alarm>,
    clock: &Clock,
    after: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let alarm = alarm.get_or_insert_with(|| {
        let clock = clock.clone();
        Box::pin(async move { clock.sleep(after).await })
    });
    alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let serving = self.serving();
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                let more = buf.filled().len() > before;
                if more && !serving && matches!(self.head, Head::Idle) {
                    self.head = Head::Coming(None);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending if serving => Poll::Pending,
            Poll::Pending => self.await_head(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Ready(written) => {
                self.stalled = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.await_room(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, bufs) {
            Poll::Ready(written) => {
                self.stalled = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.await_room(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
