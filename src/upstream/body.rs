//! An answer's body on its way from the connection, and the claim on that connection it holds.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::BoxError;
use super::pool::Claim;

/// Lets go of the connection when the body has ended, broken off, or been dropped, whichever comes
/// first: a body that was read to its end may be kept for long.
pub(super) struct Held {
    incoming: Incoming,
    claim: Option<Claim>,
}

impl Held {
    pub(super) fn new(incoming: Incoming, claim: Claim) -> Self {
        let claim = (!incoming.is_end_stream()).then_some(claim);
        Self { incoming, claim }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.incoming.is_end_stream() {
            self.claim = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
