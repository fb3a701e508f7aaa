//! Did the client get its answer? A wrapper around each client connection knows.
//!
//! A lost answer is what makes the same request again a *retry* and not a second purchase, so the
//! verdict is drawn from what the connection did, never from what was written alone:
//!
//! | seen on the connection | verdict |
//! |---|---|
//! | gone, or a FIN, before the whole answer was accepted by the kernel | lost |
//! | a read or write error, or a pending `SO_ERROR`, after that | lost |
//! | payonce dropped the connection itself before anything else was seen | lost |
//! | accepted, then more bytes from the client (its next request) | yes |
//! | accepted, then a FIN and no socket error | yes |
//! | accepted, then nothing for [`QUIET`] | yes |
//!
//! **What "accepted" rests on** (hyper 1.12, `proto/h1`): the dispatcher drops an answer's body
//! once its last frame is in the write buffer, and `Buffered::poll_flush` reaches `poll_flush` of
//! the connection only when that buffer is empty (with `pipeline_flush` off, as it is here). So
//! the first completed flush after the body was dropped means that the kernel took every byte.
//! `tests/it/delivery.rs` holds this to account on real sockets.
//!
//! **What a reset means.** Linux answers data for a closed socket, and a close with unread bytes,
//! with a RST: `ECONNRESET` on the next read. After a FIN it shows only as `EPIPE` in `SO_ERROR`
//! while reads give a clean end, so that is looked at when the FIN is read and once more when the
//! connection is let go. A Unix socket closed with unread bytes gives `ECONNRESET` likewise.
//!
//! **What this cannot see.** A client on another machine whose FIN crosses the answer on the wire:
//! its RST comes a round trip later, perhaps after the connection was let go. A client that sends
//! its next request before it reads the answer (pipelining; no SDK does): those bytes speak for the
//! answer if they are read after it was accepted, and if they were read before, a hang-up shows
//! only when the answer is written. An answer given while the request's own body is still coming:
//! the rest of that body looks like a next request (operations are buffered whole first). An
//! answer that was read and then not committed by the application (DESIGN §1).
//!
//! **A client that half-closes** (`shutdown(SHUT_WR)`) while it awaits the answer counts as gone:
//! hyper without `half_close` ends the connection, which drops the service's future; that is how
//! an exchange learns that nobody waits (I11). No SDK half-closes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::upstream::Body;

mod body;
mod io;
mod line;
#[cfg(feature = "seams")]
mod simulated;

pub use io::{Remains, Stream, Watched};
use line::{Line, Stage};
#[cfg(feature = "seams")]
pub use simulated::Simulated;

/// How long a connection must stay quiet after an answer for the answer to count as delivered.
pub const QUIET: Duration = Duration::from_secs(2);

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Wholly accepted by the client's connection, which then went on.
    Yes,
    /// The client was gone, or reset the connection: it has not read the whole answer.
    Lost,
}

/// Watches the answers of one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Line>>);

impl Watch {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Line::default())))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `response` tell what becomes of it. Must be the last thing done to it before it goes
    /// to the server: an answer that is dropped instead is *lost*.
    pub fn track(&self, response: Response<Body>) -> (Response<Body>, Receipt) {
        let (id, stage) = self.line().track();
        let watch = self.clone();
        let tracked = response.map(|inner| body::Tracked::new(inner, id, watch).boxed_unsync());
        (tracked, Receipt { stage })
    }
}

/// The claim to know what became of one answer.
#[derive(Debug)]
#[must_use = "an answer whose delivery nobody awaits counts for nothing"]
pub struct Receipt {
    stage: watch::Receiver<Stage>,
}

impl Receipt {
    /// Waits until it is known what became of the answer. It ends [`QUIET`] after the answer was
    /// accepted at the latest; before that it waits as long as the connection writes (which the
    /// server limits).
    pub async fn delivery(mut self, clock: &Clock) -> Delivery {
        match reached(&mut self.stage, |stage| *stage != Stage::Sending).await {
            Stage::Accepted => {}
            Stage::Over(delivery) => return delivery,
            Stage::Sending => return Delivery::Lost,
        }
        let over = reached(&mut self.stage, |stage| matches!(stage, Stage::Over(_)));
        match clock.timeout(QUIET, over).await {
            Ok(Stage::Over(delivery)) => delivery,
            Ok(Stage::Sending | Stage::Accepted) => Delivery::Lost,
            Err(_quiet) => Delivery::Yes,
        }
    }
}

/// The first stage that `wanted` accepts; *lost* if the connection vanished without a word.
async fn reached(stage: &mut watch::Receiver<Stage>, wanted: impl FnMut(&Stage) -> bool) -> Stage {
    match stage.wait_for(wanted).await {
        Ok(stage) => *stage,
        Err(_vanished) => Stage::Over(Delivery::Lost),
    }
}
