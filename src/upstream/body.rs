//! An answer's body on its way from the connection, and the claim on that connection it holds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::BoxError;
use super::pool::Claim;
use crate::clock::Clock;

/// The other side went silent within a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream sent nothing of its answer's body for {} s", .0.as_secs_f64())]
pub(super) struct Silent(Duration);

/// Lets go of the connection when the body has ended, broken off, or been dropped, whichever comes
/// first: a body that was read to its end may be kept for long. Bytes may come slowly, yet not stop.
pub(super) struct Held {
    incoming: Incoming,
    claim: Option<Claim>,
    clock: Clock,
    patience: Duration,
    /// Runs only while a frame is waited for.
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Held {
    /// Without a claim if the connection has ended.
    pub(super) fn new(
        incoming: Incoming,
        claim: Option<Claim>,
        clock: &Clock,
        patience: Duration,
    ) -> Self {
        let claim = claim.filter(|_claim| !incoming.is_end_stream());
        Self { incoming, claim, clock: clock.clone(), patience, silence: None }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (clock, patience) = (&self.clock, self.patience);
        let silence = self.silence.get_or_insert_with(|| {
            let clock = clock.clone();
            Box::pin(async move { clock.sleep(patience).await })
        });
        silence.as_mut().poll(cx)
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.poll_silence(cx).map(|()| {
                self.claim = None;
                Some(Err(Silent(self.patience).into()))
            });
        };
        self.silence = None;
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
