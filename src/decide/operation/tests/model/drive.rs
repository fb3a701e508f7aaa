//! `exchange::drive` up to its last answer, with the attempts of `forward`, step by step.

use std::time::Duration;

use http::StatusCode;

use super::claim::{DEADLINE, LEASE, digest};
use super::state::{
    Answer, Asked, Call, Holding, Key, Phase, Rec, Says, Sent, State, Then, Turn, Writing,
};
use super::{Mistake, Model, Outcome, Road};
use crate::clock::Timestamp;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::change::{Follows, advanced, follows, passed_over};
use crate::decide::operation::record::{Outcome as Ended, Record, Standing};
use crate::decide::operation::table::Way;
use crate::decide::outcome::{self, Conclusion, ErrorBody, Meaning, Signals, Tally};
use crate::decide::path::Api;
use crate::decide::retry::{self, Limits, Next, Situation};

const LIMITS: Limits = Limits {
    deadline: Duration::from_millis(DEADLINE),
    attempt: Duration::from_secs(40),
    attempts: 2,
    backoff: Duration::from_millis(500),
    backoff_max: Duration::from_secs(5),
};
/// Within less than this nothing is begun.
const LEAST: u64 = 2_000;
const CALLS: u64 = 15 * 60_000;

impl Turn {
    pub(super) fn closed(&self) -> bool {
        matches!(self.phase, Phase::Write(writing) if writing.then == Then::End)
    }
}

pub(super) fn meaning(answer: Answer) -> Meaning {
    match answer {
        Answer::NotSent => Meaning::NotSent,
        Answer::Unknown => Meaning::Unknown,
        Answer::Read { status, conflict, replayed, effect: _ } => {
            let kind = conflict.then(|| "idempotency_error".to_owned());
            let error = ErrorBody { kind, code: None };
            let signals = Signals { replayed, ..Signals::default() };
            outcome::read(StatusCode::from_u16(status).unwrap(), signals, Some(&error), Api::V1)
        }
    }
}

const fn replayed(answer: Answer) -> bool {
    matches!(answer, Answer::Read { replayed: true, .. })
}

impl Model {
    pub(super) fn now_holding(state: &State, proxy: usize) -> Holding {
        state.proxies[proxy].turn.as_ref().unwrap().holding.unwrap()
    }

    pub(super) fn turn_mut(state: &mut State, proxy: usize) -> &mut Turn {
        state.proxies[proxy].turn.as_mut().unwrap()
    }

    /// The claim is won: it is used, or put back.
    pub(super) fn held(&self, state: &mut State, proxy: usize, holding: Holding) -> Outcome {
        let turn = Self::turn_mut(state, proxy);
        turn.holding = Some(holding);
        let asked = turn.asked;
        if !turn.wanted() {
            self.put_back_now(state, proxy);
            return Ok(());
        }
        if let Some(says) = self.too_late(state, &asked, &holding) {
            self.answer_all(state, proxy, says, false)?;
            self.put_back_now(state, proxy);
            return Ok(());
        }
        self.begin_send(state, proxy);
        Ok(())
    }

    fn too_late(&self, state: &State, asked: &Asked, holding: &Holding) -> Option<Says> {
        let record = self.desk.record(holding.record);
        // I6: the key may have become too old since it was judged.
        let old = Self::safe_until(&record).is_some_and(|until| self.at(state.now) >= until);
        if old || !Self::has_time(state, asked) {
            return Some(Says::Unknown);
        }
        let key = self.desk.key(&record.key);
        let other = asked.recalled.is_some_and(|sent| sent != key);
        let client = digest(asked.client, asked.content);
        let known = holding.found.is_some_and(|found| {
            let found = self.desk.record(found);
            found.occurrence == record.occurrence
                && found
                    .client_keys
                    .iter()
                    .any(|seen| Some(seen.digest) == client && seen.occurrence == found.occurrence)
        });
        (other && !known).then_some(Says::Superseded)
    }

    const fn has_time(state: &State, asked: &Asked) -> bool {
        state.now + LEAST <= asked.arrived + DEADLINE
    }

    /// One run of the forwarder begins.
    fn begin_send(&self, state: &mut State, proxy: usize) {
        // No two exchanges of one process begin in the same millisecond.
        state.now += 1;
        let now = state.now;
        let holding = Self::now_holding(state, proxy);
        let asked = state.proxies[proxy].turn.as_ref().unwrap().asked;
        state.proxies[proxy].memory = Some((holding.record, now));
        let key = self.desk.key(&self.desk.record(holding.record).key);
        let first = Self::remember_call(state, proxy, &asked, key);
        let turn = Self::turn_mut(state, proxy);
        turn.holding.as_mut().unwrap().first_call |= first;
        turn.shown = Some(holding.record);
        turn.began = now;
        turn.answers.clear();
        turn.phase = Phase::Ready;
    }

    /// True if the call was not known before.
    pub(super) fn remember_call(state: &mut State, proxy: usize, asked: &Asked, key: Key) -> bool {
        let now = state.now;
        let calls = &mut state.proxies[proxy].calls;
        let new = !calls.iter().any(|it| (it.client, it.content) == (asked.client, asked.content));
        calls.retain(|it| (it.client, it.content) != (asked.client, asked.content));
        let Asked { client, content, .. } = *asked;
        calls.push(Call { client, content, key, at: now });
        calls.sort_unstable_by_key(|call| (call.client, call.content));
        new
    }

    pub(super) fn forget_old_calls(state: &mut State) {
        let now = state.now;
        for proxy in &mut state.proxies {
            proxy.calls.retain(|call| now - call.at < CALLS);
        }
    }

    /// When the key becomes too old (I6).
    fn safe_until(record: &Record) -> Option<Timestamp> {
        let declined = match record.standing {
            Standing::Settled(settled) => settled.result == Ended::Declined,
            Standing::Begun | Standing::InDoubt { .. } => false,
        };
        if record.kind == Kind::OwnKey && declined {
            return None;
        }
        Some(record.first_sent.plus(Retention::of(Api::V1).safe))
    }

    /// Whether it looks at the store before it sends, for its lease ended before the first attempt:
    /// `exchange::write::still_ours`.
    pub(super) fn looks_first(&self, state: &State, turn: &Turn) -> bool {
        let Some(Holding { record, version: Some(_), .. }) = turn.holding else { return false };
        let record = self.desk.record(record);
        record.claim.as_ref().is_some_and(|claim| claim.lease <= self.at(state.now))
            && turn.answers.is_empty()
            && turn.advances == 0
            && self.config.mistake != Some(Mistake::LeaseNotLookedAt)
    }

    /// An attempt, or the look before it.
    pub(super) fn attempt(&self, state: &mut State, proxy: usize, road: Road) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        if !self.looks_first(state, turn) {
            return self.send(state, proxy, road);
        }
        let Holding { record, version, .. } = turn.holding.unwrap();
        let record = self.desk.record(record);
        let mut renewed = Record::clone(&record);
        if let Some(claim) = &mut renewed.claim {
            claim.lease = self.at(state.now).plus(LEASE);
        }
        let target = Some(self.desk.put(renewed));
        Self::turn_mut(state, proxy).phase =
            Phase::Write(Writing { target, version, tries: 0, absent: false, then: Then::Renew });
        Ok(())
    }

    /// Another took the operation over: it is claimed anew.
    pub(super) fn claim_anew(state: &mut State, proxy: usize) {
        let holding = Self::now_holding(state, proxy);
        let asked = state.proxies[proxy].turn.as_ref().unwrap().asked;
        if holding.first_call {
            let call = (asked.client, asked.content);
            state.proxies[proxy].calls.retain(|it| (it.client, it.content) != call);
        }
        state.proxies[proxy].memory = holding.found.map(|found| (found, state.now));
        let turn = Self::turn_mut(state, proxy);
        (turn.holding, turn.shown, turn.phase) = (None, None, Phase::Look);
    }

    pub(super) fn send(&self, state: &mut State, proxy: usize, road: Road) -> Outcome {
        let holding = Self::now_holding(state, proxy);
        let record = self.desk.record(holding.record);
        let now = state.now;
        let turn = Self::turn_mut(state, proxy);
        let again = !turn.answers.is_empty();
        let old = Self::safe_until(&record).is_some_and(|until| self.at(now) >= until);
        if again && (!turn.wanted() || old) {
            return self.conclude(state, proxy);
        }
        turn.began = now;
        let Asked { caller, content, .. } = turn.asked;
        let mut key = self.desk.key(&record.key);
        if again && self.config.mistake == Some(Mistake::NewKeyPerAttempt) {
            key = self.desk.key(&Self::key_for(record.occurrence.next(0).next(0)));
        }
        let sent = Sent { key, content, caller, from: Some(proxy) };
        if road != Road::NotSent {
            self.check_send(state, proxy, key)?;
        }
        let answer = match road {
            Road::NotSent => Answer::NotSent,
            Road::Lost => Answer::Unknown,
            Road::Delayed => {
                state.provider.delayed.push(Sent { from: None, ..sent });
                Answer::Unknown
            }
            Road::Unauthorised => {
                Answer::Read { status: 401, conflict: false, replayed: false, effect: None }
            }
            Road::Arrives => {
                let Some(answer) = self.arrive(state, sent)? else {
                    Self::turn_mut(state, proxy).phase = Phase::Wire;
                    return Ok(());
                };
                answer
            }
        };
        self.answered(state, proxy, answer)
    }

    /// The proxy gives up on an attempt, which goes on.
    pub(super) fn time_out(&self, state: &mut State, proxy: usize) -> Outcome {
        for sent in &mut state.provider.running {
            if sent.from == Some(proxy) {
                sent.from = None;
            }
        }
        self.answered(state, proxy, Answer::Unknown)
    }

    pub(super) fn answered(&self, state: &mut State, proxy: usize, answer: Answer) -> Outcome {
        let now = state.now;
        let turn = Self::turn_mut(state, proxy);
        turn.answers.push(answer);
        let record = self.desk.record(turn.holding.unwrap().record);
        let safe_until = Self::safe_until(&record);
        let failures = turn
            .answers
            .iter()
            .filter(|it| matches!(meaning(**it), Meaning::Indeterminate { .. }))
            .count();
        let situation = Situation {
            attempts: u32::try_from(turn.answers.len()).unwrap(),
            elapsed: Duration::from_millis(now - turn.asked.arrived),
            meaning: meaning(answer),
            signals: Signals { replayed: replayed(answer), ..Signals::default() },
            indeterminate: u32::try_from(failures).unwrap(),
            wanted: turn.wanted(),
            closing: false,
            key_is_safe: safe_until.is_none_or(|until| self.at(now) < until),
        };
        match retry::after(&LIMITS, &situation, 0.0) {
            Next::Resend(_pause) => {
                turn.phase = Phase::Ready;
                Ok(())
            }
            Next::Stop(_why) => self.conclude(state, proxy),
        }
    }

    pub(super) fn conclusion(turn: &Turn) -> Conclusion {
        let mut tally = Tally::default();
        turn.answers.iter().for_each(|answer| tally.add(meaning(*answer)));
        tally.conclusion()
    }

    /// Whether no attempt before the last can have been executed.
    fn first(turn: &Turn) -> bool {
        let mut tally = Tally::default();
        let before = turn.answers.len() - 1;
        turn.answers.iter().take(before).for_each(|answer| tally.add(meaning(*answer)));
        !tally.touched()
    }

    /// A run of the forwarder is over: the next occurrence, or the end.
    fn conclude(&self, state: &mut State, proxy: usize) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let holding = turn.holding.unwrap();
        let record = self.desk.record(holding.record);
        let last = *turn.answers.last().unwrap();
        let (first, advances) = (Self::first(turn), turn.advances);
        let conclusion = Self::conclusion(turn);
        let follows = follows(&record, holding.way, conclusion, replayed(last), first, advances);
        let goes_on = follows == Follows::Advance
            && turn.asked.recalled.is_none()
            && turn.wanted()
            && Self::has_time(state, &turn.asked);
        if goes_on {
            self.advance(state, proxy, &record);
            return Ok(());
        }
        self.finish(state, proxy, follows, conclusion)
    }

    fn advance(&self, state: &mut State, proxy: usize, record: &Record) {
        let epoch = self.epoch(state.now);
        let key = self.key(record.occurrence.next(epoch));
        let next = self.desk.put(advanced(record, epoch, key, self.at(state.now)));
        let turn = Self::turn_mut(state, proxy);
        let client = digest(turn.asked.client, turn.asked.content);
        let mut declined = passed_over(record);
        declined.client_keys.retain(|seen| Some(seen.digest) != client);
        let declined = self.desk.put(declined);
        let version = turn.holding.unwrap().version;
        let then = Then::Advance { declined };
        turn.phase =
            Phase::Write(Writing { target: Some(next), version, tries: 0, absent: false, then });
    }

    /// The next occurrence stands in the store, or the store did not answer.
    pub(super) fn go_on(
        &self,
        state: &mut State,
        proxy: usize,
        declined: Rec,
        next: Rec,
        version: Option<usize>,
    ) {
        let turn = Self::turn_mut(state, proxy);
        let first_call = turn.holding.unwrap().first_call;
        let way = Way::New { repeat: false, abandoned: false };
        let found = Some(declined);
        turn.holding = Some(Holding { found, record: next, version, way, first_call });
        turn.advances += 1;
        self.begin_send(state, proxy);
    }
}
