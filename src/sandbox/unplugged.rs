//! The same provider without its sockets: a simulated network hands it requests, and does with the
//! answers what networks do. What breaks on the wire is that network's to play.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::call::Call;
use super::play::{Played, play};
use super::serve::{refused, response};
use super::{Config, Effect, Fault, Shared};

/// A sandbox that listens nowhere. Clones share everything.
#[derive(Clone)]
pub struct Unplugged(Arc<Shared>);

impl Unplugged {
    /// A provider; where `config` says to listen is not looked at.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Shared::new(config)))
    }

    /// Answers a request that came whole; `None` if `fault` breaks the connection instead. Faults in
    /// the bytes of an answer change nothing here. A stalled call is executed also if this is
    /// dropped meanwhile, as it would be when its client hangs up.
    pub async fn answer(
        &self,
        head: &Parts,
        body: &[u8],
        fault: Option<&Fault>,
    ) -> Option<Response<Bytes>> {
        let played = match Call::read(head, body) {
            Ok(call) => play(&self.0, call, fault).await,
            Err(fail) => Played::Answered(refused(&self.0, fail)),
        };
        match played {
            Played::Answered(answer) => Some(response(&answer, answer.body.clone())),
            Played::Broken { clean: _ } => None,
        }
    }

    /// Everything that was executed, oldest first.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.0.lock().state.effects().to_vec()
    }
}

impl fmt::Debug for Unplugged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unplugged").finish_non_exhaustive()
    }
}
