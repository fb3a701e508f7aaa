//! An application, payonce's decisions and a provider, without sockets: what the histories drive.
//!
//! The application wants *intents*. It asks for one, and asks again until it has an answer that is
//! final. Everything that payonce does here it does by the real functions; what the wiring around
//! them does (write, wait, deliver) is told as shortly as possible.

use std::time::Duration;

use super::provider::{Answer, Effect, Fault, Mood, Provider};
use crate::clock::Timestamp;
use crate::decide::digest::{ClientKeyDigest, OperationId, Secret, WholeDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::change::{
    Claiming, Follows, Learnt, advanced, claimed, follows, forgotten, kept, put_back, settled,
};
use crate::decide::operation::record::{About, Claim, MAX_CLIENT_KEYS, Record};
use crate::decide::operation::table::{Ask, Owner, Refused, Send, Then, Way, judge};
use crate::decide::operation::{Occurrence, Retention, codec};
use crate::decide::outcome::{Conclusion, Meaning, Tally};
use crate::decide::path::Api;

mod troubles;

/// What stays the same through one history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) kind: Kind,
    pub(super) window: Duration,
    pub(super) next_after_saved_500: bool,
    /// How far into its epoch the operation begins.
    pub(super) into_epoch: Duration,
}

/// One effect that the application wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Intent {
    pub(super) content: u8,
    /// What it was asked for with before.
    earlier: Vec<u8>,
    pub(super) client_key: Option<u16>,
    pub(super) asked: Option<Timestamp>,
    /// When it was first asked for, nobody else was still without an answer.
    pub(super) in_turn: bool,
    /// The effect that it was told of first, and when.
    pub(super) told: Option<(Effect, Timestamp)>,
    pub(super) declined: bool,
    pub(super) refused: Option<Refused>,
    /// Its caller waits for an answer.
    pub(super) waiting: bool,
}

#[derive(Clone, Debug)]
struct Exchange {
    intent: Option<usize>,
    content: u8,
    found: Option<Record>,
    record: Record,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    intent: usize,
    share: bool,
    key: Option<ClientKeyDigest>,
}

pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) twins: bool,
    pub(super) now: Timestamp,
    pub(super) intents: Vec<Intent>,
    pub(super) provider: Provider,
    pub(super) record: Option<Record>,
    expires: Timestamp,
    flight: Option<Exchange>,
    waiters: Vec<Waiter>,
    operation: OperationId,
    secret: Secret,
    keys_used: u16,
    cards: u8,
    claims: u64,
    /// A caller did not get the answer that was written for it.
    pub(super) lost_answers: bool,
    /// The store lost the record at least once.
    pub(super) forgot: bool,
    /// The epoch in which the first request came.
    pub(super) first_epoch: u64,
    /// The rows that decided, so that a test can tell that it tests something.
    pub(super) rows: Vec<crate::decide::operation::table::Row>,
}

impl World {
    pub(super) fn new(setting: Setting, intents: usize, twins: bool) -> Self {
        let operation = OperationId([0x5a; 32]);
        let retention = Retention::of(Api::V1);
        let some_day = Timestamp::from_millis(1_800_000_000_000);
        let epoch = retention.epoch_at(&operation, some_day);
        let now = retention.epoch_end(&operation, epoch).plus(setting.into_epoch);
        Self {
            setting,
            twins,
            now,
            intents: (0..intents)
                .map(|n| Intent { client_key: u16::try_from(n).ok(), ..Intent::default() })
                .collect(),
            provider: Provider::default(),
            record: None,
            expires: now,
            flight: None,
            waiters: Vec::new(),
            operation,
            secret: Secret::configured(b"the secret of the histories"),
            keys_used: 100,
            cards: 0,
            claims: 0,
            lost_answers: false,
            forgot: false,
            first_epoch: epoch + 1,
            rows: Vec::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        Retention::of(Api::V1).epoch_at(&self.operation, self.now)
    }

    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The application's next call for `intent` bears a fresh client key (or none).
    pub(super) fn fresh_key(&mut self, intent: usize, keyless: bool) {
        if self.setting.kind != Kind::OwnKey {
            self.keys_used += 1;
            self.intents[intent].client_key = (!keyless).then_some(self.keys_used);
        }
    }

    /// The application calls.
    pub(super) fn ask(&mut self, intent: usize) {
        let now = self.now;
        let in_turn = self.intents.iter().all(|it| it.asked.is_none() || it.told.is_some());
        let it = &mut self.intents[intent];
        if it.waiting {
            return;
        }
        if it.asked.is_none() {
            it.asked = Some(now);
            it.in_turn = in_turn;
        }
        it.declined = false;
        it.waiting = true;
        let key = it.client_key.map(|key| client_key(key, it.content));
        self.arrive(intent, key);
    }

    fn arrive(&mut self, intent: usize, client_key: Option<ClientKeyDigest>) {
        if self.record.is_some() && self.now >= self.expires {
            self.record = None;
        }
        let content = self.intents[intent].content;
        let fingerprint = fingerprint(content);
        let ask = Ask {
            kind: self.setting.kind,
            fingerprint: &fingerprint,
            client_key,
            twins: self.twins,
            repeat_window: self.setting.window,
            next_after_saved_500: self.setting.next_after_saved_500,
            epoch: self.epoch(),
            arrived: self.now,
            waited: false,
            now: self.now,
        };
        let owner = if self.flight.is_some() { Owner::Alive } else { Owner::Gone };
        let verdict = judge(self.record.as_ref(), owner, &ask);
        self.rows.push(verdict.row);
        match verdict.then {
            Then::Send(send) => {
                assert!(self.flight.is_none(), "two exchanges of one operation at once");
                self.claims += 1;
                let with = self.claiming(send);
                let found = self.record.clone();
                let record = claimed(found.as_ref(), &ask, send, with);
                self.write(Some(record.clone()));
                let way = send.way;
                self.flight = Some(Exchange { intent: Some(intent), content, found, record, way });
            }
            Then::ReplayEarlier(past) => {
                let answer = self.attempt(&past.key, content, Fault::None(Mood::Succeed));
                assert!(answer.replayed, "an earlier occurrence was executed, not replayed");
                self.tell(intent, answer, true);
            }
            Then::Wait { share } => {
                self.waiters.push(Waiter { intent, share, key: client_key });
            }
            Then::Refuse(refused) => {
                let it = &mut self.intents[intent];
                it.waiting = false;
                if let Refused::Conflict(_fields) = &refused {
                    it.content = it.earlier.pop().expect("a conflict, and the content is the same");
                }
                it.refused = Some(refused);
            }
        }
    }

    fn claiming(&self, send: Send) -> Claiming {
        Claiming {
            claim: Claim {
                owner: "one".to_owned(),
                token: self.claims.to_string(),
                lease: self.now.plus(Duration::from_secs(15)),
            },
            key: self.key(send.occurrence),
            request: "POST /v1/charges".to_owned(),
            api: Api::V1,
            about: About::default(),
        }
    }

    fn key(&self, occurrence: Occurrence) -> IdempotencyKey {
        match self.setting.kind {
            Kind::OwnKey => IdempotencyKey::parse(b"order-42").unwrap(),
            Kind::Header | Kind::Fields | Kind::Content | Kind::Call => {
                IdempotencyKey::derived(&self.secret, &self.operation, occurrence)
            }
        }
    }

    /// The exchange that is in flight goes on to its end; what is missing of `faults` is clean.
    pub(super) fn run(&mut self, faults: &[Fault], delivered: bool) {
        let Some(flight) = self.flight.take() else { return };
        let Exchange { mut record, mut way, content, found, intent } = flight;
        let mut faults = faults.iter().copied();
        let mut advances = 0;
        let (conclusion, attempts, answer) = loop {
            let (tally, attempts, answer, first) = self.attempts(&record, content, &mut faults);
            let conclusion = tally.conclusion();
            match follows(&record, way, conclusion, answer.replayed, first, advances) {
                Follows::Advance => {
                    advances += 1;
                    let next = record.occurrence.next(self.epoch());
                    record = advanced(&record, self.epoch(), self.key(next), self.now);
                    assert_eq!(record.occurrence, next, "advanced to another occurrence");
                    way = Way::New { repeat: false, abandoned: false };
                    self.write(Some(record.clone()));
                }
                Follows::Forgotten => {
                    assert!(self.forgot, "a success was called forgotten, and nothing was");
                    record = forgotten(record, &self.operation);
                    break (conclusion, attempts, answer);
                }
                Follows::Older => {
                    record = forgotten(record, &self.operation);
                    break (conclusion, attempts, answer);
                }
                Follows::Alarm => {
                    // An own key may outlive what the provider remembers of its decline.
                    assert_eq!(
                        self.setting.kind,
                        Kind::OwnKey,
                        "a saved answer was executed again"
                    );
                    break (conclusion, attempts, answer);
                }
                Follows::Settle => break (conclusion, attempts, answer),
            }
        };
        let delivered = delivered && intent.is_some();
        self.lost_answers |= !delivered;
        let waiters = std::mem::take(&mut self.waiters);
        let joined: Vec<ClientKeyDigest> =
            waiters.iter().filter(|it| it.share).filter_map(|it| it.key).collect();
        let got_it = delivered || waiters.iter().any(|it| it.share);
        if conclusion == Conclusion::NotExecuted {
            self.write(put_back(found));
        } else {
            let learnt = Learnt {
                conclusion,
                attempts,
                object: answer.effect.map(|effect| format!("ch_{effect}")),
                request_id: None,
                last_sent: self.now,
                answered: self.now,
                trail: Vec::new(),
            };
            let was = record.clone();
            let record = settled(record, &learnt, got_it, &joined, self.now);
            assert!(was.unresolved() || !record.unresolved(), "a known outcome became unknown");
            self.write(Some(record));
        }
        if let Some(intent) = intent {
            self.tell(intent, answer, delivered);
        }
        for waiter in waiters {
            if waiter.share {
                self.tell(waiter.intent, answer, true);
            } else {
                self.arrive(waiter.intent, waiter.key);
            }
        }
    }

    fn attempts(
        &mut self,
        record: &Record,
        content: u8,
        faults: &mut impl Iterator<Item = Fault>,
    ) -> (Tally, u32, Answer, bool) {
        let mut tally = Tally::default();
        let mut attempts = 0;
        let mut failures = 0;
        loop {
            let fault = faults.next().unwrap_or(Fault::None(Mood::Succeed));
            let answer = self.attempt(&record.key, content, fault);
            attempts += 1;
            let first = !tally.touched();
            tally.add(answer.meaning);
            let again = match answer.meaning {
                Meaning::NotSent | Meaning::Unknown | Meaning::RateLimited => true,
                Meaning::Indeterminate { saved } => {
                    failures += 1;
                    !saved && failures < 2
                }
                Meaning::Succeeded
                | Meaning::NotExecuted
                | Meaning::Conflict
                | Meaning::Declined { .. } => false,
            };
            if !again || attempts == 4 {
                return (tally, attempts, answer, first);
            }
            self.now = self.now.plus(Duration::from_secs(1));
        }
    }

    fn attempt(&mut self, key: &IdempotencyKey, content: u8, fault: Fault) -> Answer {
        let key = key.as_str();
        // An own key whose outcome was a decline may be as old as it likes.
        let may_be_old = self.setting.kind == Kind::OwnKey && self.provider.declined.contains(key);
        let age = self.provider.first_seen.get(key).map(|at| self.now.since(*at));
        if let Some(age) = age.filter(|_age| !may_be_old) {
            let safe = Retention::of(Api::V1).safe + Duration::from_mins(1);
            assert!(age < safe, "I6: a key was sent {age:?} after it was first sent");
        }
        if may_be_old {
            self.provider.forget_old(key, self.now);
        }
        self.provider.attempt(key, content, fault, self.now)
    }

    fn tell(&mut self, intent: usize, answer: Answer, delivered: bool) {
        let it = &mut self.intents[intent];
        it.waiting = false;
        if !delivered {
            return;
        }
        match (answer.meaning, answer.effect) {
            (Meaning::Succeeded, Some(effect)) => {
                it.told.get_or_insert((effect, self.now));
            }
            (Meaning::Declined { .. }, _) => it.declined = true,
            (
                Meaning::NotSent
                | Meaning::Unknown
                | Meaning::RateLimited
                | Meaning::Indeterminate { .. }
                | Meaning::Succeeded
                | Meaning::NotExecuted
                | Meaning::Conflict,
                _,
            ) => {}
        }
    }

    fn write(&mut self, record: Option<Record>) {
        if let Some(record) = &record {
            let bytes = codec::encode(record).unwrap();
            assert_eq!(codec::decode(&bytes).as_ref(), Ok(record), "the bytes say something else");
            assert!(record.client_keys.len() <= MAX_CLIENT_KEYS, "too many client keys");
            assert!(record.past.len() <= record.client_keys.len(), "`past` is not bounded");
            self.expires = self.now.plus(kept(record, &self.operation, self.now));
        }
        self.record = record;
    }
}

pub(super) fn fingerprint(content: u8) -> Fingerprint {
    Fingerprint { whole: WholeDigest([content; 16]), fields: Vec::new() }
}

/// As in identity: the key is hashed with what it bore.
pub(super) fn client_key(key: u16, content: u8) -> ClientKeyDigest {
    let mut digest = [content; 16];
    digest[..2].copy_from_slice(&key.to_be_bytes());
    ClientKeyDigest(digest)
}
