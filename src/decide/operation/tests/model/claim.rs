//! `exchange::claim`, step by step: one step is one operation of the store and what follows at once.

use std::rc::Rc;
use std::time::Duration;

use super::state::{Asked, Desk, Held, Holding, Phase, Says, Seat, State, Turn};
use super::store::{Heard, Op, Reply};
use super::{Mistake, Model, Outcome};
use crate::clock::Timestamp;
use crate::decide::digest::ClientKeyDigest;
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::change::{Claiming, claimed, further};
use crate::decide::operation::record::{About, Claim, Past, Record};
use crate::decide::operation::table::{Ask, Owner, Refused, Send, Then, Way, judge};
use crate::decide::operation::{Occurrence, Retention};
use crate::decide::path::Api;

pub(super) const LEASE: Duration = Duration::from_secs(15);
pub(super) const DEADLINE: u64 = 70_000;
const MEMORY: u64 = 24 * 3_600_000;

/// As in identity: the key is hashed with what it bore.
pub(super) fn digest(client: u16, content: u8) -> Option<ClientKeyDigest> {
    (client != 0).then(|| super::super::world::client_key(client, content))
}

impl Model {
    pub(super) fn at(&self, now: u64) -> Timestamp {
        self.begin.plus(Duration::from_millis(now))
    }

    pub(super) fn epoch(&self, now: u64) -> u64 {
        Retention::of(Api::V1).epoch_at(&self.operation, self.at(now))
    }

    pub(super) fn with_ask<T>(
        &self,
        state: &State,
        asked: &Asked,
        then: impl FnOnce(&Ask<'_>) -> T,
    ) -> T {
        let fingerprint = Desk::fingerprint(asked.content);
        then(&Ask {
            kind: self.config.kind,
            fingerprint: &fingerprint,
            client_key: digest(asked.client, asked.content),
            twins: self.config.twins,
            repeat_window: self.config.window,
            next_after_saved_500: self.config.next_after_saved_500,
            epoch: self.epoch(state.now),
            arrived: self.at(asked.arrived),
            // All clocks are one here.
            waited: false,
            now: self.at(state.now),
        })
    }

    pub(super) fn turn(asked: Asked, seat: Seat) -> Turn {
        Turn {
            asked,
            seats: vec![seat],
            phase: Phase::Look,
            holding: None,
            shown: None,
            told: None,
            advances: 0,
            began: 0,
            answers: Vec::new(),
        }
    }

    pub(super) fn remembered(&self, state: &State, proxy: usize) -> Option<Rc<Record>> {
        let (record, at) = state.proxies[proxy].memory?;
        (state.now - at < MEMORY).then(|| self.desk.record(record))
    }

    /// One look at the store.
    pub(super) fn look(&self, state: &mut State, proxy: usize, heard: Heard) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        let asked = turn.asked;
        if !turn.wanted() {
            state.proxies[proxy].turn = None;
            return Ok(());
        }
        let remembered = self.remembered(state, proxy);
        let candidate = self.candidate(state, proxy, &asked, remembered.as_deref());
        let op = candidate.map_or(Op::Get, |candidate| Op::Claim(candidate.record));
        match self.operate(state, op, heard)? {
            Err(super::store::Down) => self.without_store(state, proxy, &asked),
            Ok(Reply::Fresh(version)) => {
                let holding = candidate.unwrap();
                self.held(state, proxy, Holding { version: Some(version), ..holding })
            }
            Ok(Reply::Found(held)) => self.judged(state, proxy, Some(held), remembered),
            Ok(Reply::Got(held)) => self.judged(state, proxy, held, remembered),
            Ok(Reply::Done(_) | Reply::Moved(_)) => Err("the store answers another".to_owned()),
        }
    }

    fn judged(
        &self,
        state: &mut State,
        proxy: usize,
        held: Option<Held>,
        remembered: Option<Rc<Record>>,
    ) -> Outcome {
        let asked = state.proxies[proxy].turn.as_ref().unwrap().asked;
        let stored = held.map(|held| self.desk.record(held.record));
        let found = match (stored, remembered) {
            (Some(stored), Some(remembered)) => {
                let owner = Self::owner_of(state, proxy, &stored, self);
                Some(Rc::new(further(&stored, &remembered, owner).clone()))
            }
            (stored, remembered) => stored.or(remembered),
        };
        if let Some(found) = found.as_ref().filter(|found| found.claim.is_none()) {
            let number = self.desk.put(Record::clone(found));
            state.proxies[proxy].memory = Some((number, state.now));
        }
        let owner = found.as_ref().map_or(Owner::Gone, |it| Self::owner_of(state, proxy, it, self));
        let verdict = self.with_ask(state, &asked, |ask| judge(found.as_deref(), owner, ask));
        self.note(verdict.row.as_str());
        let send = match verdict.then {
            Then::Wait { .. } => return self.look_again(state, proxy),
            Then::ReplayEarlier(past) => {
                let says = self.earlier(state, &asked, &past)?;
                return self.answer_all(state, proxy, says, true);
            }
            // It may be answered already, and how it is settled decides about other content.
            Then::Refuse(Refused::Conflict(_)) if owner == Owner::Alive => {
                return self.look_again(state, proxy);
            }
            Then::Refuse(refused) => {
                return self.answer_all(state, proxy, Self::refusal(&refused), true);
            }
            Then::Send(send) => send,
        };
        let Some(held) = held else { return self.look_again(state, proxy) };
        let mut holding = self.holding(state, proxy, &asked, found.as_deref(), send);
        holding.version = Some(held.version);
        let turn = state.proxies[proxy].turn.as_mut().unwrap();
        turn.holding = Some(holding);
        turn.phase = Phase::Swap;
        Ok(())
    }

    /// The swap of the claim.
    pub(super) fn swap(&self, state: &mut State, proxy: usize, heard: Heard) -> Outcome {
        if !state.proxies[proxy].turn.as_ref().unwrap().wanted() {
            state.proxies[proxy].turn = None;
            return Ok(());
        }
        let holding = state.proxies[proxy].turn.as_mut().unwrap().holding.take().unwrap();
        let op = Op::Replace(holding.version, holding.record);
        match self.operate(state, op, heard)? {
            Ok(Reply::Done(version)) => self.held(state, proxy, Holding { version, ..holding }),
            Ok(Reply::Moved(_)) => {
                state.proxies[proxy].turn.as_mut().unwrap().phase = Phase::Look;
                self.look_again(state, proxy)
            }
            // What was read is better than what is remembered, or than nothing.
            Err(super::store::Down) => {
                self.held(state, proxy, Holding { version: None, ..holding })
            }
            Ok(Reply::Fresh(_) | Reply::Found(_) | Reply::Got(_)) => {
                Err("the store answers another".to_owned())
            }
        }
    }

    /// Another pause, unless nobody waits any more or no time is left.
    fn look_again(&self, state: &mut State, proxy: usize) -> Outcome {
        let turn = state.proxies[proxy].turn.as_ref().unwrap();
        if state.now >= turn.asked.arrived + DEADLINE {
            return self.answer_all(state, proxy, Says::Unknown, true);
        }
        if !turn.wanted() {
            state.proxies[proxy].turn = None;
        }
        Ok(())
    }

    fn candidate(
        &self,
        state: &State,
        proxy: usize,
        asked: &Asked,
        remembered: Option<&Record>,
    ) -> Option<Holding> {
        let verdict = self.with_ask(state, asked, |ask| judge(remembered, Owner::Gone, ask));
        match verdict.then {
            Then::Send(send) => Some(self.holding(state, proxy, asked, remembered, send)),
            Then::ReplayEarlier(_) | Then::Wait { .. } | Then::Refuse(_) => None,
        }
    }

    fn holding(
        &self,
        state: &State,
        proxy: usize,
        asked: &Asked,
        found: Option<&Record>,
        mut send: Send,
    ) -> Holding {
        if let (Some(Mistake::TakeOverTheNext), Way::TakeOver { .. }) =
            (self.config.mistake, send.way)
        {
            send.occurrence = send.occurrence.next(self.epoch(state.now));
        }
        let with = Claiming {
            claim: Claim {
                owner: Self::owner(state, proxy),
                token: asked.token.to_string(),
                lease: self.at(state.now).plus(LEASE),
            },
            key: self.key(send.occurrence),
            request: String::new(),
            api: Api::V1,
            about: About::default(),
        };
        let record = self.with_ask(state, asked, |ask| claimed(found, ask, send, with));
        Holding {
            found: found.map(|found| self.desk.put(found.clone())),
            record: self.desk.put(record),
            version: None,
            way: send.way,
            first_call: false,
        }
    }

    /// Each occurrence has a key of its own; how it is derived is tested elsewhere.
    pub(super) fn key_for(occurrence: Occurrence) -> IdempotencyKey {
        let Occurrence { epoch, n } = occurrence;
        IdempotencyKey::parse(format!("key-{epoch}-{n}").as_bytes()).unwrap()
    }

    pub(super) fn key(&self, occurrence: Occurrence) -> IdempotencyKey {
        if self.config.kind == crate::decide::identity::Kind::OwnKey {
            IdempotencyKey::parse(b"order-42").unwrap()
        } else {
            Self::key_for(occurrence)
        }
    }

    fn owner(state: &State, proxy: usize) -> String {
        format!("{proxy}.{}", state.proxies[proxy].life)
    }

    fn owner_of(state: &State, proxy: usize, record: &Record, model: &Self) -> Owner {
        let own = Self::owner(state, proxy);
        match &record.claim {
            Some(claim) if claim.owner != own && claim.lease > model.at(state.now) => Owner::Alive,
            Some(_) | None => Owner::Gone,
        }
    }

    /// `store_down = "derive"`.
    fn without_store(&self, state: &mut State, proxy: usize, asked: &Asked) -> Outcome {
        let remembered = self.remembered(state, proxy);
        let verdict =
            self.with_ask(state, asked, |ask| judge(remembered.as_deref(), Owner::Gone, ask));
        self.note(&format!("{} without the store", verdict.row.as_str()));
        match verdict.then {
            Then::Send(send) => {
                let holding = self.holding(state, proxy, asked, remembered.as_deref(), send);
                self.held(state, proxy, holding)
            }
            Then::ReplayEarlier(past) => {
                let says = self.earlier(state, asked, &past)?;
                self.answer_all(state, proxy, says, true)
            }
            Then::Refuse(refused) => self.answer_all(state, proxy, Self::refusal(&refused), true),
            Then::Wait { .. } => self.answer_all(state, proxy, Says::Unknown, true),
        }
    }

    /// The key of an earlier occurrence, sent again for its saved answer: told at once.
    pub(super) fn earlier(
        &self,
        state: &State,
        asked: &Asked,
        past: &Past,
    ) -> Result<Says, String> {
        let key = self.desk.key(&past.key);
        let saved = state.provider.saved.iter().find(|saved| saved.key == key);
        match saved.map(|saved| (saved.content == asked.content, saved.status, saved.effect)) {
            Some((true, 200, Some(effect))) => Ok(Says::Success(effect)),
            Some((true, 402, None)) => Ok(Says::Declined),
            Some(_) => Err("an earlier occurrence is not what was asked for".to_owned()),
            None => Err("P1: an earlier occurrence was executed, not replayed".to_owned()),
        }
    }

    /// All who sit are told, and nothing more follows from it; `over`: the turn ends.
    pub(super) fn answer_all(
        &self,
        state: &mut State,
        proxy: usize,
        says: Says,
        over: bool,
    ) -> Outcome {
        let turn = state.proxies[proxy].turn.as_mut().unwrap();
        let mut told = Vec::new();
        for seat in &mut turn.seats {
            if seat.is == super::state::Seated::Waiting {
                seat.is = super::state::Seated::Lost;
                told.push(seat.caller);
            }
        }
        if over {
            state.proxies[proxy].turn = None;
        }
        for caller in told {
            self.say(state, caller, says)?;
        }
        Ok(())
    }
}
