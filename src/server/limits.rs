//! What a client may do, and how slowly.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock::{Clock, Timestamp};
use crate::upstream::BoxError;

/// The limits of one server. Times are of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once; more wait in the listen queue. At least 1.
    pub connections: usize,
    /// A whole head must come within this time of its first byte (the first head: of the accept).
    pub head_time: Duration,
    /// How long a connection may stay idle between requests. Long, because a client may send into
    /// a connection that is being closed and then repeat the request unseen (FACTS §1.3).
    pub idle_time: Duration,
    /// Bytes of a head, request line included; 431 beyond. hyper's buffers take at least 8 KiB.
    pub head_bytes: usize,
    /// Header fields of a head; 431 beyond.
    pub headers: usize,
    /// How slowly a body may come.
    pub body: BodyPace,
    /// How long a client may take no byte of an answer that is being written.
    pub write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head_time: Duration::from_secs(15),
            idle_time: Duration::from_mins(5),
            head_bytes: 64 * 1024,
            headers: HYPER_HEADERS,
            body: BodyPace::default(),
            write_stall: Duration::from_mins(1),
        }
    }
}

/// hyper's own limit, kept in a stack array; any other costs an allocation for each head.
pub(super) const HYPER_HEADERS: usize = 100;

/// How slowly a request's body may come. Only time spent waiting for the client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPace {
    /// The longest pause between two frames.
    pub idle: Duration,
    /// Waiting that is free, whatever came.
    pub grace: Duration,
    /// Beyond the grace: bytes that must have come for each second waited. At least 1.
    pub bytes_per_second: u32,
}

impl Default for BodyPace {
    fn default() -> Self {
        let (idle, grace) = (Duration::from_secs(15), Duration::from_secs(20));
        Self { idle, grace, bytes_per_second: 1024 }
    }
}

impl BodyPace {
    /// How much longer to wait for a frame, `received` bytes after `waited` in all.
    fn patience(&self, received: u64, waited: Duration) -> Duration {
        let earned = Duration::from_secs(received / u64::from(self.bytes_per_second.max(1)));
        self.idle.min(self.grace.saturating_add(earned).saturating_sub(waited))
    }
}

/// The client sent its body too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body came too slowly")]
pub struct TooSlow;

/// A request body that must keep its pace.
pub(super) struct Paced {
    inner: Incoming,
    pace: BodyPace,
    clock: Clock,
    received: u64,
    waited: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Timestamp,
    limit: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Paced {
    pub(super) fn new(inner: Incoming, pace: BodyPace, clock: Clock) -> Self {
        Self { inner, pace, clock, received: 0, waited: Duration::ZERO, waiting: None }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let waiting = self.waiting.get_or_insert_with(|| {
            let patience = self.pace.patience(self.received, self.waited);
            let clock = self.clock.clone();
            let limit = Box::pin(async move { clock.sleep(patience).await });
            Waiting { since: self.clock.now(), limit }
        });
        waiting.limit.as_mut().poll(cx).map(|()| TooSlow)
    }

    fn came(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let Some(waiting) = self.waiting.take() {
            let waited = self.clock.now().since(waiting.since);
            self.waited = self.waited.saturating_add(waited);
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                let bytes = data.map_or(0, Bytes::len);
                self.came(bytes);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => self.wait(cx).map(|slow| Some(Err(slow.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_pause_limit_until_the_rate_falls_behind() {
        let pace = BodyPace {
            idle: Duration::from_secs(10),
            grace: Duration::from_secs(20),
            bytes_per_second: 100,
        };
        assert_eq!(pace.patience(0, Duration::ZERO), Duration::from_secs(10));
        assert_eq!(pace.patience(0, Duration::from_secs(15)), Duration::from_secs(5));
        assert_eq!(pace.patience(0, Duration::from_secs(25)), Duration::ZERO);
        assert_eq!(pace.patience(1_000, Duration::from_secs(25)), Duration::from_secs(5));
    }
}
