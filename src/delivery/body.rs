//! An answer's body that tells its connection when the server let go of it.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Watch;
use crate::upstream::{Body, BoxError};

/// Forwards `inner`, and reports its drop.
pub(super) struct Tracked {
    inner: Body,
    id: u64,
    watch: Watch,
    /// The server asked for it. It need not read it all: the body of an answer to HEAD is dropped
    /// unread, and one with a `Content-Length` as soon as that many bytes were read.
    taken: Cell<bool>,
    failed: bool,
}

impl Tracked {
    pub(super) fn new(inner: Body, id: u64, watch: Watch) -> Self {
        Self { inner, id, watch, taken: Cell::new(false), failed: false }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.taken.set(true);
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &frame {
            self.failed = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.taken.set(true);
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.watch.line().body_dropped(self.id, self.taken.get() && !self.failed);
    }
}
