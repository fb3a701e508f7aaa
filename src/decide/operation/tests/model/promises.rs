//! What must hold, said without the table: checked at every step of every trace.

use super::state::{Done, Effect, Key, Phase, Rec, Says, State, Told};
use super::{Model, Outcome};
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::record::{Settled, Standing};
use crate::decide::path::Api;

/// The properties, for the tally.
pub(super) const PROPERTIES: [&str; 9] = [
    "P1 effects(intent) <= 1 where the design promises it",
    "P2a one occurrence, one key (I1)",
    "P2b one key, one content (I4)",
    "P2c no key is sent when too old (I6)",
    "P3 a success told is an effect, and \"nothing was sent\" is none",
    "P4 no merge after a delivery",
    "P5 a known outcome stays known, and no write is blind",
    "P6 no lock-out",
    "P7 who holds the operation at once sends one key",
];

const SAFE: u64 = 23 * 3_600_000;
/// How long the record of an open operation is kept; nobody knows of it afterwards.
const KEPT: u64 = 8 * 24 * 3_600_000;
/// From the claim, where the age of a key is looked at, to the last byte of an attempt.
const SLACK: u64 = 100_000;

impl Model {
    pub(super) const fn named(&self) -> bool {
        !matches!(self.config.kind, Kind::Content)
    }

    fn intents(&self, state: &State) -> usize {
        let asked = state.callers.iter().filter(|caller| caller.asks > 0).count();
        if self.named() { asked.min(1) } else { asked }
    }

    /// P1.
    pub(super) fn check_once(&self, state: &State) -> Outcome {
        let effects = &state.provider.effects;
        if effects.len() <= self.intents(state) {
            return Ok(());
        }
        let epoch = |done: &Done| self.epoch(done.at);
        let one_epoch = effects.windows(2).all(|pair| epoch(&pair[0]) == epoch(&pair[1]));
        let at_once = effects.iter().all(|done| done.at - effects[0].at < SAFE);
        let kept = effects.iter().all(|done| done.at - effects[0].at < KEPT);
        let promised = ((self.named() && kept) || at_once) && (one_epoch || !state.blind);
        if promised {
            return Err(format!(
                "P1: {} effects of {} intents",
                effects.len(),
                self.intents(state)
            ));
        }
        Ok(())
    }

    /// P2 and P7, before a byte leaves.
    pub(super) fn check_send(&self, state: &State, proxy: usize, key: Key) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let record = self.desk.record(turn.holding.unwrap().record);
        if self.config.kind != Kind::OwnKey
            && self.desk.key(&Self::key_for(record.occurrence)) != key
        {
            return Err("P2a: an occurrence was sent with another key".to_owned());
        }
        let first = state.provider.first_seen.iter().find(|(seen, _at)| *seen == key);
        let effect = state.provider.effects.iter().any(|done| done.key == key);
        let old = first.is_some_and(|(_key, at)| (SAFE + SLACK..KEPT).contains(&(state.now - at)));
        if old && (effect || self.config.kind != Kind::OwnKey) {
            return Err("P2c: a key was sent that the provider may have forgotten".to_owned());
        }
        self.check_one_key(state, 1 - proxy, record.occurrence, key)
    }

    /// P7: another key may be sent only when the earlier one's outcome is saved.
    fn check_one_key(
        &self,
        state: &State,
        other: usize,
        occurrence: crate::decide::operation::Occurrence,
        key: Key,
    ) -> Outcome {
        let Some(turn) = &state.proxies[other].turn else { return Ok(()) };
        let ready = turn.phase == Phase::Ready && !self.looks_first(state, turn);
        if !(ready || turn.phase == Phase::Wire) {
            return Ok(());
        }
        let theirs = self.desk.record(turn.holding.unwrap().record);
        let their_key = self.desk.key(&theirs.key);
        if their_key == key {
            return Ok(());
        }
        let earlier = if theirs.occurrence < occurrence { their_key } else { key };
        let saved = state.provider.saved.iter().any(|saved| saved.key == earlier);
        let epochs = theirs.occurrence.epoch != occurrence.epoch;
        if saved || epochs {
            return Ok(());
        }
        Err("P7: two proxies sent two keys at once".to_owned())
    }

    /// P3: what is told.
    pub(super) fn check_told(&self, state: &State, proxy: usize, told: Told) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let Some(holding) = turn.holding else { return Ok(()) };
        let key = self.desk.key(&self.desk.record(holding.record).key);
        let caller = turn.asked.caller;
        let provider = &state.provider;
        let mut sent = provider.running.iter().chain(&provider.delayed);
        let may_be = sent.any(|sent| (sent.key, sent.caller) == (key, caller))
            || provider.effects.iter().any(|done| (done.key, done.caller) == (key, caller));
        match told.says {
            Says::Nothing if may_be && !state.blind => {
                Err("P3: \"nothing was sent\", and something was".to_owned())
            }
            Says::Success(effect) if effect >= provider.effects.len() => {
                Err("P3: a success without an effect".to_owned())
            }
            Says::Success(_)
            | Says::Nothing
            | Says::Declined
            | Says::Unknown
            | Says::Superseded
            | Says::Conflict
            | Says::WindowElapsed
            | Says::AlreadyDone => Ok(()),
        }
    }

    /// P3, P4: what a caller has got.
    pub(super) fn check_got(&self, state: &State, caller: usize) -> Outcome {
        let caller = &state.callers[caller];
        if caller.last == Some(Says::AlreadyDone) && state.provider.effects.is_empty() {
            return Err("P3: it is said to be done, and is not".to_owned());
        }
        let merged = |effect: Effect| caller.after.contains(&effect);
        let may_merge = self.named() || self.config.twins || state.blind;
        if !may_merge && caller.done().is_some_and(merged) {
            return Err("P4: an intent got the effect of one that was delivered before".to_owned());
        }
        Ok(())
    }

    /// P5, and P3 for what is put back: `now` is about to stand where `was` stood.
    pub(super) fn check_write(
        &self,
        state: &State,
        was: Option<Rec>,
        now: Option<Rec>,
        seen: bool,
    ) -> Outcome {
        let Some(was) = was.map(|was| self.desk.record(was)) else { return Ok(()) };
        if !seen {
            return Err("P5: a record was overwritten by one who had not seen it".to_owned());
        }
        let now = now.map(|now| self.desk.record(now));
        let same = now.as_ref().is_some_and(|now| now.occurrence == was.occurrence);
        let spent = |standing| matches!(standing, Standing::Settled(Settled { spent: true, .. }));
        if same && spent(was.standing) && now.as_ref().is_some_and(|it| !spent(it.standing)) {
            return Err("P5: a known outcome became unknown".to_owned());
        }
        let back = now.as_ref().is_none_or(|now| now.occurrence < was.occurrence);
        let key = self.desk.key(&was.key);
        let provider = &state.provider;
        let may_be = provider.effects.iter().any(|done| done.key == key)
            || provider.running.iter().chain(&provider.delayed).any(|sent| sent.key == key);
        let expired = state.now >= Retention::of(Api::V1).safe.as_secs() * 1000;
        if back && may_be && !state.blind && !expired {
            return Err("P3: an occurrence was put back that happened or may happen".to_owned());
        }
        Ok(())
    }
}
