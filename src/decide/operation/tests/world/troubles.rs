//! What befalls the world from outside: callers, the process, the store, time, another card.

use std::time::Duration;

use super::super::provider::Fault;
use super::World;
use crate::decide::identity::Kind;

impl World {
    /// The caller of the exchange that is in flight goes away.
    pub(in super::super) fn hang_up(&mut self) {
        if let Some(intent) = self.flight.as_mut().and_then(|flight| flight.intent.take()) {
            self.intents[intent].waiting = false;
            self.lost_answers = true;
        }
    }

    /// The proxy dies; `sent`: after one attempt of the exchange in flight.
    pub(in super::super) fn crash(&mut self, sent: Option<Fault>) {
        if let Some(flight) = self.flight.take() {
            if let Some(fault) = sent {
                self.attempt(&flight.record.key, flight.content, fault);
            }
            self.lost_answers = true;
        }
        self.waiters.clear();
        for intent in &mut self.intents {
            intent.waiting = false;
        }
    }

    /// The store loses the record.
    pub(in super::super) fn forget(&mut self) {
        if self.flight.is_none() && self.record.take().is_some() {
            self.forgot = true;
        }
    }

    pub(in super::super) fn pass(&mut self, time: Duration) {
        if self.flight.is_none() {
            self.now = self.now.plus(time);
        }
    }

    /// The shopper takes another card, whether or not the first was declined.
    pub(in super::super) fn other_card(&mut self, intent: usize) {
        let named = matches!(self.setting.kind, Kind::Header | Kind::Fields);
        let it = &mut self.intents[intent];
        if named && it.told.is_none() && !it.waiting {
            self.cards += 1;
            it.earlier.push(it.content);
            it.content = self.cards;
            self.fresh_key(intent, false);
        }
    }
}
