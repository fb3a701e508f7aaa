//! An answer's body that passes unchanged, and tells at its end whether it broke off and what an
//! error said.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::upstream::{Body, BoxError};

/// How much of a body is looked at, in bytes. Stripe's errors are far shorter.
const MOST: usize = 16 * 1024;

/// How a body ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Through {
    /// The provider broke it off. (A client that hangs up does not: the answer's head was there.)
    pub broke: bool,
    /// What it said, if that was asked for and is no more than is looked at.
    pub said: Vec<u8>,
}

/// `body` unchanged, and how it ended. `listen`: what it says is told as well.
#[must_use]
pub fn tee(body: Body, listen: bool) -> (Body, oneshot::Receiver<Through>) {
    let (tell, told) = oneshot::channel();
    let through = Through::default();
    let tee = Tee { inner: body, through, listen, tell: Some(tell) };
    (tee.boxed_unsync(), told)
}

struct Tee {
    inner: Body,
    through: Through,
    listen: bool,
    tell: Option<oneshot::Sender<Through>>,
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Err(_))) => self.through.broke = true,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref().filter(|_| self.listen) {
                    if self.through.said.len().saturating_add(data.len()) <= MOST {
                        self.through.said.extend_from_slice(data);
                    } else {
                        self.listen = false;
                        self.through.said.clear();
                    }
                }
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            // Whoever listened may have stopped listening.
            drop(tell.send(std::mem::take(&mut self.through)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::full;

    #[tokio::test]
    async fn a_body_passes_unchanged_and_what_it_says_is_told() {
        let (body, told) = tee(full(Bytes::from_static(b"{\"error\":{}}")), true);
        assert_eq!(body.size_hint().exact(), Some(12));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "{\"error\":{}}");
        let through = told.await.unwrap();
        assert!(!through.broke && through.said == b"{\"error\":{}}");
    }

    #[tokio::test]
    async fn a_body_that_the_provider_broke_off_is_told_as_that_and_one_that_was_dropped_is_not() {
        let (body, told) = tee(full(Bytes::from_static(b"abc")), false);
        drop(body);
        assert_eq!(told.await.unwrap(), Through::default());
        let frames = [Ok(Frame::data(Bytes::from_static(b"ab"))), Err("reset".into())];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let (body, told) = tee(body.boxed_unsync(), true);
        assert!(body.collect().await.is_err());
        assert!(told.await.unwrap().broke);
    }

    #[tokio::test]
    async fn a_long_body_passes_and_is_not_kept() {
        let long = Bytes::from(vec![b'x'; MOST + 1]);
        let (body, told) = tee(full(long), true);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), MOST + 1);
        assert_eq!(told.await.unwrap(), Through::default());
    }
}
