//! The whole sandbox without its sockets: a call and a time in, an answer out.
//!
//! A call is begun (its key is looked up and marked as running) and ended (it is executed and its
//! outcome saved); [`State::execute`] does both at once. Faults that take time come in between.

use std::collections::HashMap;

use serde_json::Value;

use crate::clock::Timestamp;

use super::answer::unrecognized;
use super::answer::{Answer, Fail, Keep, api_error, full, idempotency_mismatch, key_in_use};
use super::call::{Call, Family};
use super::ctx::{Ctx, Done};
use super::effects::{Draft, Effect};
use super::events::{self, Outbox};
use super::expand::expand;
use super::keys::{self, Found, Keys, Running, Saved, Use};
use super::mint::Mint;
use super::routes::{self, Route};
use super::store::Account;
use super::{Limits, Rules};

/// The version that answers name when the call names none.
const VERSION: &str = "2026-08-26.dahlia";

/// How a call began.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is answered without being executed: a replay, a conflict, an unknown path.
    Answered(Answer),
    /// It is to be executed.
    Running(Ticket),
}

/// The right to execute one call.
#[derive(Debug)]
pub(crate) struct Ticket {
    key: Option<Running>,
    request: String,
    age: u64,
}

/// What a fault makes of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forced {
    /// Nothing: it goes its way.
    No,
    /// A 500 that is saved under the key, with or without the effect.
    Saved500 { executed: bool },
}

/// All that the sandbox knows.
#[derive(Debug)]
pub(crate) struct State {
    limits: Limits,
    rules: Rules,
    seed: u64,
    mint: Mint,
    accounts: HashMap<String, Account>,
    objects: usize,
    v1: Keys,
    v2: Keys,
    effects: Vec<Effect>,
    /// What Stripe would tell of them.
    outbox: Outbox,
    /// How often everything was forgotten: a call that began before is not executed after.
    age: u64,
}

impl State {
    /// An empty sandbox.
    pub(crate) fn new(seed: u64, limits: Limits, rules: Rules) -> Self {
        Self {
            limits,
            rules,
            seed,
            mint: Mint::new(seed),
            accounts: HashMap::new(),
            objects: 0,
            v1: Keys::new(keys::V1, limits.keys),
            v2: Keys::new(keys::V2, limits.keys),
            effects: Vec::new(),
            outbox: Outbox::default(),
            age: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        let age = self.age + 1;
        let Outbox { open, news, .. } = std::mem::take(&mut self.outbox);
        let outbox = Outbox { open, news, ..Outbox::default() };
        *self = Self { outbox, age, ..Self::new(self.seed, self.limits, self.rules) };
    }

    /// All effects, oldest first.
    pub(crate) fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The events that were not sent yet.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Forgets the effects alone.
    pub(crate) fn clear_effects(&mut self) {
        self.effects.clear();
    }

    /// A new request id.
    pub(crate) fn request_id(&mut self) -> String {
        self.mint.request()
    }

    /// Changes the rules.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Lets the payer authenticate a payment intent of any scope, so that the next confirmation
    /// succeeds. Says whether there was one that waited for it.
    pub(crate) fn authenticate(&mut self, intent: &str) -> bool {
        let waiting = self.accounts.values_mut().find_map(|account| account.get_mut(intent));
        let Some(object) = waiting else { return false };
        if object.fields.get("status").and_then(Value::as_str) != Some("requires_action") {
            return false;
        }
        for (name, value) in [
            ("status", Value::from("requires_confirmation")),
            ("next_action", Value::Null),
            ("sandbox_authenticated", Value::from(true)),
        ] {
            object.fields.insert(name.to_owned(), value);
        }
        true
    }

    /// Begins and ends a call at once.
    pub(crate) fn execute(&mut self, call: &Call, now: Timestamp) -> Answer {
        match self.begin(call, now) {
            Begun::Answered(answer) => answer,
            Begun::Running(ticket) => self.end(ticket, call, now, Forced::No),
        }
    }

    /// Begins a call: what needs no execution is answered.
    pub(crate) fn begin(&mut self, call: &Call, now: Timestamp) -> Begun {
        let request = self.mint.request();
        if routes::find(&call.method, &call.segments).is_none() {
            let fail = unrecognized(&call.method, &call.path);
            return Begun::Answered(dress(fail.into(), call, request));
        }
        let Some(key) = call.effective_key() else {
            return match self.room(call) {
                Ok(()) => Begun::Running(Ticket { key: None, request, age: self.age }),
                Err(fail) => Begun::Answered(dress(fail.into(), call, request)),
            };
        };
        let used = Use::new(&call.method, &call.segments, &call.params);
        let fail = match self.keys(call).begin(&call.scope, key, used, now) {
            Found::Fresh(running) => match self.room(call) {
                Ok(()) => {
                    return Begun::Running(Ticket { key: Some(running), request, age: self.age });
                }
                Err(fail) => {
                    self.keys(call).end(&running, None);
                    fail
                }
            },
            Found::Saved(saved) => return Begun::Answered(self.replay(call, saved, request)),
            Found::InUse => key_in_use(),
            Found::Mismatch { same_endpoint } => idempotency_mismatch(same_endpoint),
            Found::Full => full("idempotency keys"),
        };
        Begun::Answered(dress(fail.into(), call, request))
    }

    /// Executes a call that was begun, and saves its outcome as the rules of keys say.
    pub(crate) fn end(
        &mut self,
        ticket: Ticket,
        call: &Call,
        now: Timestamp,
        forced: Forced,
    ) -> Answer {
        if ticket.age != self.age {
            return dress(api_error(503).into(), call, ticket.request);
        }
        let failed = || Answer::from(api_error(500));
        // What is told, and what is kept: v2 never keeps a failure, so an effect that happened
        // behind a 500 keeps its true outcome there, lest the same key make it twice.
        let (mut answer, kept, keep, object) = match forced {
            Forced::Saved500 { executed: false } => (failed(), failed(), Keep::Yes, None),
            Forced::No => {
                let (answer, keep, object) = self.run(call, &ticket.request, now);
                (answer.clone(), answer, keep, object)
            }
            Forced::Saved500 { executed: true } => {
                let (answer, keep, object) = self.run(call, &ticket.request, now);
                match call.family() {
                    Family::V1 => (failed(), failed(), Keep::Yes, object),
                    Family::V2 => (failed(), answer, keep, object),
                }
            }
        };
        if let Some(running) = ticket.key {
            let stays = match (call.family(), keep) {
                (Family::V1, Keep::Yes) => true,
                (Family::V1, Keep::Refusal) => self.rules.save_refusals,
                (Family::V1 | Family::V2, Keep::No) => false,
                (Family::V2, Keep::Yes | Keep::Refusal) => kept.status < 300,
            };
            let saved = stays.then(|| Saved {
                status: kept.status,
                body: kept.body,
                object,
                request: ticket.request.clone(),
            });
            self.keys(call).end(&running, saved);
        }
        if call.method == http::Method::POST && [400, 402, 404].contains(&answer.status) {
            answer.set("stripe-should-retry", "false");
        }
        dress(answer, call, ticket.request)
    }

    /// Gives a call up before it was executed: its key is free again.
    pub(crate) fn abandon(&mut self, ticket: Ticket, call: &Call) {
        if let Some(running) = ticket.key.filter(|_| ticket.age == self.age) {
            self.keys(call).end(&running, None);
        }
    }

    fn keys(&mut self, call: &Call) -> &mut Keys {
        match call.family() {
            Family::V1 => &mut self.v1,
            Family::V2 => &mut self.v2,
        }
    }

    /// The log of effects is the truth: nothing is executed that could not be written down.
    fn room(&self, call: &Call) -> Result<(), Fail> {
        if !call.writes() {
            return Ok(());
        }
        if self.effects.len() >= self.limits.effects {
            return Err(full("effects"));
        }
        if self.objects >= self.limits.objects {
            return Err(full("objects"));
        }
        let known = self.accounts.contains_key(&call.scope);
        if !known && self.accounts.len() >= self.limits.scopes {
            return Err(full("accounts"));
        }
        Ok(())
    }

    fn run(
        &mut self,
        call: &Call,
        request: &str,
        now: Timestamp,
    ) -> (Answer, Keep, Option<String>) {
        let Some((route, ids)) = routes::find(&call.method, &call.segments) else {
            return (unrecognized(&call.method, &call.path).into(), Keep::No, None);
        };
        let mut nobody = Account::default();
        let account = if call.writes() {
            self.accounts.entry(call.scope.clone()).or_default()
        } else {
            self.accounts.get_mut(&call.scope).unwrap_or(&mut nobody)
        };
        let before = account.len();
        let mint = &mut self.mint;
        let handled =
            (route.handler)(&mut Ctx { call, route, ids, account: &mut *account, mint, now });
        self.objects = (self.objects + account.len()).saturating_sub(before);
        let (answer, keep, effect) = match handled {
            Ok(Done { mut body, effect }) => {
                expand(account, &call.params, &mut body);
                (Answer::json(200, &body), Keep::Yes, effect)
            }
            Err(mut fail) => {
                let (keep, effect) = (fail.keep, fail.effect.take());
                (Answer::from(fail), keep, effect.map(|draft| *draft))
            }
        };
        let object = effect.as_ref().map(|draft| draft.object.clone());
        if let Some(draft) = effect {
            if self.outbox.open {
                let mint = &mut self.mint;
                let told = events::of(&draft, call, route, account, mint, request, now);
                self.outbox.put(told);
            }
            self.record(draft, call, route, now);
        }
        (answer, keep, object)
    }

    fn record(&mut self, draft: Draft, call: &Call, route: &Route, now: Timestamp) {
        let n = self.effects.last().map_or(0, |last| last.n + 1);
        self.effects.push(Effect {
            n,
            at: now,
            operation: route.operation.clone(),
            path: call.path.clone(),
            object: draft.object,
            amount: draft.amount,
            currency: draft.currency,
            key: call.key.clone(),
            scope: call.scope.clone(),
            intent: call.intent.clone(),
            money: draft.money,
            outcome: draft.outcome,
        });
    }

    /// v1 repeats what it said; v2 shows the object as it is now.
    fn replay(&self, call: &Call, saved: Saved, request: String) -> Answer {
        let account = self.accounts.get(&call.scope);
        let object = saved.object.as_ref().and_then(|id| account?.get(id));
        let (mut answer, marked) = match (call.family(), object) {
            (Family::V1, _) => (None, true),
            (Family::V2, Some(object)) if call.method == http::Method::POST => {
                let body = Value::Object(object.fields.clone());
                (Some(Answer::json(saved.status, &body)), self.rules.mark_v2_replays)
            }
            (Family::V2, _) => (None, self.rules.mark_v2_replays),
        };
        let mut answer = answer.take().unwrap_or_else(|| Answer {
            status: saved.status,
            headers: Vec::new(),
            body: saved.body,
        });
        if marked {
            answer.set("idempotent-replayed", "true");
            answer.set("original-request", saved.request);
        }
        if [400, 402, 404].contains(&answer.status) {
            answer.set("stripe-should-retry", "false");
        }
        dress(answer, call, request)
    }
}

/// The fields that every answer of the API has.
pub(crate) fn dress(mut answer: Answer, call: &Call, request: String) -> Answer {
    answer.set("request-id", request);
    answer.set("stripe-version", call.version.as_deref().unwrap_or(VERSION));
    if let Some(key) = call.effective_key() {
        answer.set("idempotency-key", key);
    }
    if answer.status == 409 {
        answer.set("stripe-should-retry", "true");
    }
    answer
}

#[cfg(test)]
mod tests;
