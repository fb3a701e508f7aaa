//! Reading a body whole, within its own limit and within what all connections may hold together.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::limits::TooSlow;
use crate::upstream::{Body, BoxError};

/// Bytes that one permit stands for: a semaphore counts 32-bit amounts, bodies need not be exact.
const UNIT: usize = 1024;

/// How many bytes of request bodies all connections together may hold in memory.
#[derive(Clone, Debug)]
pub struct InFlightBytes(Arc<Semaphore>);

impl InFlightBytes {
    /// At most `bytes` (counted in KiB, rounded up for each body).
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Bytes that may still be taken.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.available_permits().saturating_mul(UNIT)
    }
}

/// A body's share of [`InFlightBytes`]; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Share {
    units: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Makes the share hold `bytes` in all. Never waits: bodies that wait for each other's shares
    /// could wait for ever.
    ///
    /// # Errors
    /// [`BodyError::Busy`] if there is no room.
    pub fn grow(&mut self, bytes: usize, budget: &InFlightBytes) -> Result<(), BodyError> {
        let more = bytes.div_ceil(UNIT).saturating_sub(self.units);
        let Ok(count) = u32::try_from(more) else { return Err(BodyError::Busy) };
        let Ok(permit) = Arc::clone(&budget.0).try_acquire_many_owned(count) else {
            return Err(BodyError::Busy);
        };
        self.units += more;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

/// A whole body in memory, and its share of what may be in memory.
#[derive(Debug, Default)]
pub struct Buffered {
    bytes: Bytes,
    _share: Share,
}

impl Buffered {
    /// The body. A clone of these bytes may outlive the share: keep `self` while it is in use.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a body was not read whole. Nothing was sent.
pub enum BodyError {
    /// It is longer than `limit` bytes.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// All of it: what was read already, then the remainder as it comes.
        rest: Body,
    },
    /// The client hung up: there is nobody to answer.
    ClientGone,
    /// The client sent too slowly; it may still read an answer.
    TooSlow,
    /// All connections together hold as much as they may.
    Busy,
    /// The body is not framed as its head said: a bad chunk. The client may still read an answer.
    Malformed,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit, .. } => {
                write!(f, "the request body is longer than {limit} bytes")
            }
            Self::ClientGone => f.write_str("the client hung up before its request was complete"),
            Self::TooSlow => f.write_str("the request body came too slowly"),
            Self::Busy => f.write_str("too many bytes of request bodies are in flight"),
            Self::Malformed => f.write_str("the request body is not validly framed"),
        }
    }
}

impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyError({self})")
    }
}

impl std::error::Error for BodyError {}

impl BodyError {
    /// What an error of a client's body means.
    fn of(error: &BoxError) -> Self {
        if error.is::<TooSlow>() {
            return Self::TooSlow;
        }
        let cause = error.downcast_ref::<hyper::Error>().and_then(std::error::Error::source);
        let kind = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Malformed,
            Some(_) | None => Self::ClientGone,
        }
    }
}

/// Reads `body` whole, if it is no longer than `limit_bytes` and `budget` has room for it.
/// Trailers are dropped: nothing that payonce forwards announces them.
///
/// # Errors
/// [`BodyError`]; for [`BodyError::TooLarge`] the body comes back whole.
pub async fn buffer(
    mut body: Body,
    limit_bytes: usize,
    budget: &InFlightBytes,
) -> Result<Buffered, BodyError> {
    let mut read = VecDeque::new();
    let mut length = 0_usize;
    let mut share = Share::default();
    // A length that was announced is refused before a byte of it is asked for.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut too_large = announced > limit_bytes;
    while !too_large {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| BodyError::of(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        too_large = length > limit_bytes;
        if !too_large {
            share.grow(length, budget)?;
        }
        read.push_back(data);
    }
    if too_large {
        let rest = Replay { read, _share: share, body }.boxed_unsync();
        return Err(BodyError::TooLarge { limit: limit_bytes, rest });
    }
    Ok(Buffered { bytes: join(read, length), _share: share })
}

fn join(mut read: VecDeque<Bytes>, length: usize) -> Bytes {
    if read.len() < 2 {
        return read.pop_front().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(length);
    for piece in read {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

/// A body that begins with what was read of it already.
#[must_use]
pub fn rejoin(read: Bytes, rest: Body) -> Body {
    Replay { read: VecDeque::from([read]), _share: Share::default(), body: rest }.boxed_unsync()
}

/// What was read of a body, then the remainder. It keeps its share while it is sent.
struct Replay {
    read: VecDeque<Bytes>,
    _share: Share,
    body: Body,
}

impl HttpBody for Replay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self.read.iter().map(Bytes::len).sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let remainder = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(remainder.lower().saturating_add(read));
        if let Some(upper) = remainder.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of pieces whose length nobody announced.
    fn pieces(pieces: &[&'static str]) -> Body {
        let read = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        let end = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        Hidden(Replay { read, _share: Share::default(), body: end }).boxed_unsync()
    }

    struct Hidden(Replay);

    impl HttpBody for Hidden {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_its_share_is_given_back() {
        let budget = InFlightBytes::new(4 * UNIT);
        let body = buffer(pieces(&["ab", "", "cd"]), 4, &budget).await.unwrap();
        assert_eq!(&body.bytes()[..], b"abcd");
        assert_eq!(budget.free(), 3 * UNIT);
        drop(body);
        assert_eq!(budget.free(), 4 * UNIT);
    }

    #[tokio::test]
    async fn an_empty_body_takes_no_share() {
        let budget = InFlightBytes::new(0);
        assert!(buffer(pieces(&[]), 0, &budget).await.unwrap().bytes().is_empty());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_comes_back_whole() {
        let budget = InFlightBytes::new(4 * UNIT);
        let error = buffer(pieces(&["abc", "def", "ghi"]), 5, &budget).await.unwrap_err();
        let BodyError::TooLarge { limit: 5, rest } = error else { panic!("{error}") };
        assert_eq!(&rest.collect().await.unwrap().to_bytes()[..], b"abcdefghi");
        assert_eq!(budget.free(), 4 * UNIT);
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_unread_and_keeps_its_length() {
        let full = http_body_util::Full::new(Bytes::from_static(b"abcdef"));
        let body = full.map_err(|never| match never {}).boxed_unsync();
        let error = buffer(body, 5, &InFlightBytes::new(0)).await.unwrap_err();
        let BodyError::TooLarge { rest, .. } = error else { panic!("{error}") };
        assert_eq!(rest.size_hint().exact(), Some(6));
    }

    #[tokio::test]
    async fn a_body_beyond_what_may_be_in_flight_is_refused_at_once() {
        let budget = InFlightBytes::new(UNIT);
        let held = buffer(pieces(&["a"]), 10, &budget).await.unwrap();
        let refused = buffer(pieces(&["b"]), 10, &budget).await.unwrap_err();
        assert!(matches!(refused, BodyError::Busy));
        drop(held);
        buffer(pieces(&["b"]), 10, &budget).await.unwrap();
    }
}
