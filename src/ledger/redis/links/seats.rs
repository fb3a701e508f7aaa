//! The servers that were asked, each with a breaker of its own: one that does not answer is not
//! asked for a while, and the others of a Cluster are asked as ever.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use tracing::{info, warn};

use super::super::breaker::Change;
use super::super::fault::Fault;
use super::super::link::Seat;
use super::super::node::Node;
use super::{Links, MOST_NODES};

/// The servers that one call waits for, so that its time-out can be counted against them.
#[derive(Default)]
pub(super) struct Awaited(Mutex<Vec<(Node, Arc<Seat>)>>);

impl Awaited {
    pub(super) fn begin(&self, node: &Node, seat: &Arc<Seat>) {
        self.servers().push((node.clone(), Arc::clone(seat)));
    }

    pub(super) fn end(&self, seat: &Arc<Seat>) {
        self.servers().retain(|(_, awaited)| !Arc::ptr_eq(awaited, seat));
    }

    /// Nothing awaits while this is held; likewise below.
    fn servers(&self) -> MutexGuard<'_, Vec<(Node, Arc<Seat>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// Lets go of every connection.
    pub(in crate::ledger::redis) fn close(&self) {
        self.seats().clear();
    }

    pub(super) fn seat(&self, node: &Node) -> Arc<Seat> {
        let mut seats = self.seats();
        if !seats.contains_key(node) && seats.len() >= MOST_NODES {
            self.let_go(&mut seats, |_| false);
        }
        Arc::clone(seats.entry(node.clone()).or_default())
    }

    /// Keeps the seats of these servers alone.
    pub(super) fn keep(&self, masters: &[&Node]) {
        self.let_go(&mut self.seats(), |node| masters.contains(&node));
    }

    fn let_go(&self, seats: &mut HashMap<Node, Arc<Seat>>, stays: impl Fn(&Node) -> bool) {
        seats.retain(|node, seat| {
            let stays = stays(node);
            // What was told to be suspended does not stay so for ever in who counts.
            if !stays && seat.breaker().answered().is_some() {
                self.metrics.store_breaker(false);
                info!(%node, "the store's server that did not answer is no longer needed");
            }
            stays
        });
    }

    /// The servers that are known, beside those of the settings.
    pub(super) fn known(&self) -> Vec<Node> {
        self.seats().keys().filter(|node| !self.config.nodes.contains(node)).cloned().collect()
    }

    /// Counts what came of asking one server.
    pub(super) fn heard(&self, node: &Node, seat: &Arc<Seat>, silence: Option<&Fault>) {
        let (now, share) = (self.clock.now(), self.chance.share());
        let change = {
            let seats = self.seats();
            // Let go meanwhile: nobody would ever hear of its end.
            if !seats.get(node).is_some_and(|known| Arc::ptr_eq(known, seat)) {
                return;
            }
            match silence {
                None => seat.breaker().answered(),
                Some(_) => seat.breaker().failed(now, share),
            }
        };
        self.tell(change, node, silence);
    }

    /// Counts a call's time-out against all that had not answered.
    pub(super) fn unheard(&self, awaited: &Awaited, silence: &Fault) {
        let left = std::mem::take(&mut *awaited.servers());
        for (node, seat) in left {
            self.heard(&node, &seat, Some(silence));
        }
    }

    /// Says when a server is gone and when it is back.
    pub(super) fn tell(
        &self,
        change: Option<Change>,
        server: &impl Display,
        silence: Option<&Fault>,
    ) {
        match change {
            None => {}
            Some(Change::Opened) => {
                self.metrics.store_breaker(true);
                let error = silence.map(ToString::to_string);
                warn!(node = %server, error, "the store's server does not answer and is not asked for a \
                    while; operations that need it go on as store_down says");
            }
            Some(Change::Closed) => {
                self.metrics.store_breaker(false);
                info!(node = %server, "the store's server answers again");
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Node, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a server is to be taken for silent, if it is.
pub(super) fn silence_in(answers: &Result<Vec<Result<Value, Fault>>, Fault>) -> Option<&Fault> {
    let fault = match answers {
        Err(fault) => return Some(fault).filter(|fault| fault.is_silence()),
        Ok(answers) => answers.iter().filter_map(|answer| answer.as_ref().err()),
    };
    fault.into_iter().find(|fault| fault.is_silence())
}
