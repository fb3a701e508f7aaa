//! `exchange::drive`, `exchange::settle` and the attempts of `forward`, step by step.

use std::time::Duration;

use http::StatusCode;

use super::claim::{DEADLINE, digest};
use super::state::{
    Answer, Asked, Call, Held, Holding, Key, Phase, Rec, Says, Seated, Sent, State, Told, Turn,
};
use super::store::{Down, Heard, Op, Reply};
use super::{Mistake, Model, Outcome, Road};
use crate::clock::Timestamp;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::identity::Kind;
use crate::decide::operation::Retention;
use crate::decide::operation::change::{
    Follows, Learnt, advanced, follows, forgotten, passed_over, put_back, settled,
};
use crate::decide::operation::record::{Outcome as Ended, Record, Settled, Standing};
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
const WRITES: usize = 3;
const CALLS: u64 = 15 * 60_000;

impl Turn {
    pub(super) fn closed(&self) -> bool {
        matches!(self.phase, Phase::Write { .. })
    }
}

fn meaning(answer: Answer) -> Meaning {
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
    fn now_holding(state: &State, proxy: usize) -> Holding {
        state.proxies[proxy].turn.as_ref().unwrap().holding.unwrap()
    }

    fn turn_mut(state: &mut State, proxy: usize) -> &mut Turn {
        state.proxies[proxy].turn.as_mut().unwrap()
    }

    /// The claim is won: it is used, or put back.
    pub(super) fn held(&self, state: &mut State, proxy: usize, holding: Holding) -> Outcome {
        let turn = Self::turn_mut(state, proxy);
        turn.holding = Some(holding);
        let asked = turn.asked;
        if !turn.wanted() {
            return self.put_back_now(state, proxy);
        }
        if let Some(says) = self.too_late(state, &asked, &holding) {
            self.answer_all(state, proxy, says, false)?;
            return self.put_back_now(state, proxy);
        }
        self.begin_send(state, proxy);
        Ok(())
    }

    fn too_late(&self, state: &State, asked: &Asked, holding: &Holding) -> Option<Says> {
        if !Self::has_time(state, asked) {
            return Some(Says::Unknown);
        }
        let record = self.desk.record(holding.record);
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

    /// An attempt.
    pub(super) fn attempt(&self, state: &mut State, proxy: usize, road: Road) -> Outcome {
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
            Road::Arrives => match self.arrive(state, sent)? {
                Some(answer) => answer,
                None => {
                    Self::turn_mut(state, proxy).phase = Phase::Wire;
                    return Ok(());
                }
            },
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

    fn conclusion(turn: &Turn) -> Conclusion {
        let mut tally = Tally::default();
        turn.answers.iter().for_each(|answer| tally.add(meaning(*answer)));
        tally.conclusion()
    }

    /// A run of the forwarder is over: the next occurrence, or the end.
    fn conclude(&self, state: &mut State, proxy: usize) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let holding = turn.holding.unwrap();
        let record = self.desk.record(holding.record);
        let last = *turn.answers.last().unwrap();
        let (first, advances) = (turn.answers.len() == 1, turn.advances);
        let conclusion = Self::conclusion(turn);
        let follows = follows(&record, holding.way, conclusion, replayed(last), first, advances);
        let goes_on = follows == Follows::Advance
            && turn.asked.recalled.is_none()
            && turn.wanted()
            && Self::has_time(state, &turn.asked);
        if goes_on {
            return self.advance(state, proxy, &record);
        }
        self.finish(state, proxy, follows, conclusion)
    }

    fn advance(&self, state: &mut State, proxy: usize, record: &Record) -> Outcome {
        let epoch = self.epoch(state.now);
        let key = self.key(record.occurrence.next(epoch));
        let next = self.desk.put(advanced(record, epoch, key, self.at(state.now)));
        let turn = Self::turn_mut(state, proxy);
        let client = digest(turn.asked.client, turn.asked.content);
        let mut declined = passed_over(record);
        declined.client_keys.retain(|seen| Some(seen.digest) != client);
        let declined = self.desk.put(declined);
        turn.phase = Phase::Advance { next, declined };
        if turn.holding.unwrap().version.is_none() {
            self.go_on(state, proxy, None);
        }
        Ok(())
    }

    pub(super) fn advance_write(&self, state: &mut State, proxy: usize, heard: Heard) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let Phase::Advance { next, .. } = turn.phase else { return Ok(()) };
        let op = Op::Replace(turn.holding.unwrap().version, next);
        match self.operate(state, op, heard)? {
            Ok(Reply::Done(version)) => self.go_on(state, proxy, version),
            Err(Down) => self.go_on(state, proxy, None),
            Ok(Reply::Moved(_)) => {
                self.note("taken over");
                let turn = state.proxies[proxy].turn.as_ref().unwrap();
                let conclusion = Self::conclusion(turn);
                return self.finish(state, proxy, Follows::Advance, conclusion);
            }
            Ok(Reply::Fresh(_) | Reply::Found(_) | Reply::Got(_)) => {
                return Err("the store answers another".to_owned());
            }
        }
        Ok(())
    }

    fn go_on(&self, state: &mut State, proxy: usize, version: Option<usize>) {
        let turn = Self::turn_mut(state, proxy);
        let Phase::Advance { next, declined } = turn.phase else { return };
        let first_call = turn.holding.unwrap().first_call;
        let way = Way::New { repeat: false, abandoned: false };
        let found = Some(declined);
        turn.holding = Some(Holding { found, record: next, version, way, first_call });
        turn.advances += 1;
        self.begin_send(state, proxy);
    }

    /// Tells the askers; what is learnt is written once the delivery is known.
    fn finish(
        &self,
        state: &mut State,
        proxy: usize,
        follows: Follows,
        conclusion: Conclusion,
    ) -> Outcome {
        let now = state.now;
        let turn = Self::turn_mut(state, proxy);
        let holding = turn.holding.as_mut().unwrap();
        if follows == Follows::Forgotten {
            self.note("forgotten");
            let record = self.desk.record(holding.record);
            holding.record = self.desk.put(forgotten(Record::clone(&record), &self.operation));
        }
        let found = holding.found.map(|found| self.desk.record(found));
        let says = Self::says(turn, conclusion, found.as_deref())?;
        if follows == Follows::Alarm && self.config.kind != Kind::OwnKey && !state.blind {
            return Err("P1: a saved answer was executed again".to_owned());
        }
        let told = Told { says, at: now };
        self.check_told(state, proxy, told)?;
        let turn = Self::turn_mut(state, proxy);
        turn.told = Some(told);
        match conclusion {
            Conclusion::NotExecuted => {
                self.answer_all(state, proxy, says, false)?;
                self.put_back_now(state, proxy)
            }
            Conclusion::InDoubt { .. } => {
                self.answer_all(state, proxy, says, false)?;
                if self.config.mistake == Some(Mistake::ReleaseAfterBytes) {
                    return self.put_back_now(state, proxy);
                }
                self.settle_now(state, proxy, false)
            }
            Conclusion::Succeeded | Conclusion::Declined { .. } => {
                for seat in turn.seats.iter_mut().filter(|seat| seat.is == Seated::Waiting) {
                    seat.is = Seated::Handed;
                }
                turn.phase = Phase::Deliver;
                self.delivery(state, proxy)
            }
        }
    }

    fn says(turn: &Turn, conclusion: Conclusion, found: Option<&Record>) -> Result<Says, String> {
        let last = *turn.answers.last().unwrap();
        let nothing_before = found
            .is_none_or(|found| found.settled().is_some_and(|it| it.result == Ended::Declined));
        let nothing = match meaning(last) {
            Meaning::NotExecuted | Meaning::Conflict | Meaning::NotSent | Meaning::RateLimited => {
                true
            }
            Meaning::Unknown
            | Meaning::Indeterminate { .. }
            | Meaning::Succeeded
            | Meaning::Declined { .. } => false,
        };
        Ok(match conclusion {
            Conclusion::Succeeded => match last {
                Answer::Read { effect: Some(effect), .. } => Says::Success(effect),
                Answer::Read { .. } | Answer::NotSent | Answer::Unknown => {
                    return Err("P3: a success without an effect".to_owned());
                }
            },
            Conclusion::Declined { .. } => Says::Declined,
            Conclusion::NotExecuted if nothing_before && nothing => Says::Nothing,
            Conclusion::NotExecuted | Conclusion::InDoubt { .. } => Says::Unknown,
        })
    }

    /// Settles once it is known whether the latest asker got the answer.
    pub(super) fn delivery(&self, state: &mut State, proxy: usize) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        if turn.phase != Phase::Deliver {
            return Ok(());
        }
        let too_early = self.config.mistake == Some(Mistake::DeliveredTooEarly);
        match turn.last_seat() {
            Seated::Waiting | Seated::Handed => Ok(()),
            Seated::Got => self.settle_now(state, proxy, true),
            Seated::Lost => self.settle_now(state, proxy, too_early),
        }
    }

    fn settle_now(&self, state: &mut State, proxy: usize, delivered: bool) -> Outcome {
        let now = state.now;
        let turn = Self::turn_mut(state, proxy);
        let holding = turn.holding.unwrap();
        let record = Record::clone(&self.desk.record(holding.record));
        let joined: Vec<ClientKeyDigest> =
            turn.seats.iter().filter_map(|seat| digest(seat.client, seat.content)).collect();
        let learnt = Learnt {
            conclusion: Self::conclusion(turn),
            attempts: 0,
            object: None,
            request_id: None,
            last_sent: self.at(turn.began),
            answered: self.at(turn.told.map_or(now, |told| told.at)),
        };
        let asked = turn.asked;
        let record = settled(record, &learnt, delivered, &joined, self.at(now));
        let key = self.desk.key(&record.key);
        let target = self.desk.put(record);
        state.proxies[proxy].memory = Some((target, now));
        Self::remember_call(state, proxy, &asked, key);
        self.note(if delivered { "known as delivered" } else { "not delivered" });
        let version = holding.version;
        Self::turn_mut(state, proxy).phase =
            Phase::Write { target: Some(target), version, tries: 0, absent: false };
        Ok(())
    }

    fn put_back_now(&self, state: &mut State, proxy: usize) -> Outcome {
        let holding = Self::now_holding(state, proxy);
        let asked = state.proxies[proxy].turn.as_ref().unwrap().asked;
        if holding.first_call {
            let call = (asked.client, asked.content);
            state.proxies[proxy].calls.retain(|it| (it.client, it.content) != call);
        }
        let found = holding.found.map(|found| Record::clone(&self.desk.record(found)));
        let target = put_back(found).map(|record| self.desk.put(record));
        state.proxies[proxy].memory = target.map(|target| (target, state.now));
        self.note("put back");
        Self::turn_mut(state, proxy).phase =
            Phase::Write { target, version: holding.version, tries: 0, absent: false };
        Ok(())
    }

    /// One operation of the write that ends a turn.
    pub(super) fn end_write(&self, state: &mut State, proxy: usize, heard: Heard) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let Phase::Write { target, version, tries, absent } = turn.phase else { return Ok(()) };
        let op = match (version, target, absent) {
            (Some(version), Some(target), _) => Op::Replace(Some(version), target),
            (Some(version), None, _) => Op::Remove(version),
            (None, Some(target), true) => Op::Claim(target),
            (None, _, _) => Op::Get,
        };
        match self.operate(state, op, heard)? {
            Err(Down) => self.write_again(state, proxy, None, tries),
            Ok(Reply::Fresh(_) | Reply::Done(_)) => self.written(state, proxy, target),
            Ok(Reply::Got(None)) if target.is_none() => self.written(state, proxy, target),
            Ok(Reply::Got(None)) => {
                Self::turn_mut(state, proxy).phase =
                    Phase::Write { target, version: None, tries, absent: true };
                Ok(())
            }
            Ok(Reply::Moved(None)) => self.left(state, proxy, "taken over"),
            Ok(Reply::Got(Some(held)) | Reply::Found(held) | Reply::Moved(Some(held))) => {
                self.found_instead(state, proxy, target, tries, held)
            }
        }
    }

    fn found_instead(
        &self,
        state: &mut State,
        proxy: usize,
        target: Option<Rec>,
        tries: usize,
        held: Held,
    ) -> Outcome {
        let holding = Self::now_holding(state, proxy);
        if target == Some(held.record) {
            return self.written(state, proxy, target);
        }
        let token =
            |record: Rec| self.desk.record(record).claim.as_ref().map(|claim| claim.token.clone());
        let ours = token(held.record).is_some() && token(held.record) == token(holding.record);
        if ours || holding.found == Some(held.record) {
            self.write_again(state, proxy, Some(held.version), tries)
        } else {
            self.left(state, proxy, "taken over")
        }
    }

    fn write_again(
        &self,
        state: &mut State,
        proxy: usize,
        version: Option<usize>,
        tries: usize,
    ) -> Outcome {
        let turn = Self::turn_mut(state, proxy);
        let Phase::Write { target, .. } = turn.phase else { return Ok(()) };
        if tries + 1 >= WRITES {
            return self.left(state, proxy, "not written");
        }
        turn.phase = Phase::Write { target, version, tries: tries + 1, absent: false };
        Ok(())
    }

    fn left(&self, state: &mut State, proxy: usize, why: &str) -> Outcome {
        self.note(why);
        self.end_turn(state, proxy)
    }

    /// Answers that are still on their way, to others than the latest asker, arrive.
    fn end_turn(&self, state: &mut State, proxy: usize) -> Outcome {
        let Some(turn) = state.proxies[proxy].turn.take() else { return Ok(()) };
        for seat in turn.seats.iter().filter(|seat| seat.is == Seated::Handed) {
            if let Some(told) = turn.told {
                self.say(state, seat.caller, told.says)?;
            }
        }
        Ok(())
    }

    fn written(&self, state: &mut State, proxy: usize, target: Option<Rec>) -> Outcome {
        let told = state.proxies[proxy].turn.as_ref().unwrap().told;
        self.end_turn(state, proxy)?;
        let standing = target.map(|target| self.desk.record(target).standing);
        let delivered = matches!(
            standing,
            Some(Standing::Settled(Settled { result: Ended::Succeeded, delivered: true, .. }))
        );
        if let (true, Some(Told { says: Says::Success(effect), .. })) = (delivered, told)
            && !state.recorded.contains(&effect)
        {
            state.recorded.push(effect);
            state.recorded.sort_unstable();
        }
        Ok(())
    }
}
