//! Finishing: what ended in doubt is asked for again by the process that has its body, though nobody
//! waits, so that the application's next ask gets the answer (`finish` of a rule, opt-in).
//!
//! It makes the same journey as any asker ([`drive::operation`]), and so goes through the same gates:
//!
//! - **The claim**: it takes over (A11) by compare and swap, and respects whoever has the operation.
//!   It goes on only with the very record that this process left in doubt
//!   ([`decide::finish`](crate::decide::finish)): it begins nothing and replays nothing.
//! - **The key**: same key, same content (I1, I4). The body kept is what was sent; header fields are
//!   kept as well, without how they were spelled. I6 is looked at for each step, by the table, and
//!   before the attempt.
//! - **I11**: its wish lasts until the claim stands. The attempt is made, and then nobody waits, as if
//!   an asker had hung up: no other follows, unless somebody has joined. Who drains wishes nothing,
//!   and waits for what is on the wire.
//! - **The policy** as it is now: the same way, a rule that still says `finish`, enforced. (Another
//!   process may have another policy: it finds this record by its other identity, as ever.)
//! - **The store**: without it nothing is finished. `store_down = "derive"` is for who waits.
//! - **The budget** of retries grants each attempt, or it is put off.
//!
//! What it learns settles the record as if the asker had lost the answer (A13, A14). A decline that
//! the provider does not keep would be executed anew; in v1 those come before anything is done, in v2
//! all are such. So v2 is finished only where no process sends without a store that never forgets:
//! else one may have told such a decline, and the record not know of it.
//!
//! A single call has no record and no next ask to answer: it is left to people (`notes`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{Asked, Exchange, api_key, derives_without_ledger, drive};
use crate::clock::Timestamp;
use crate::decide::finish::{Doubt, LEAST, Left, Next, Stands};
use crate::decide::guard::{Facts, findings};
use crate::decide::operation::Retention;
use crate::decide::operation::record::Record;
use crate::decide::operation::table::Verdict;
use crate::decide::outcome::Conclusion;
use crate::decide::path::{Api, Target};
use crate::decide::policy::{Action, Class, Mode, Policy, Rule};
use crate::finishing::Ticket;
use crate::forward::Message;
use crate::inflight::Entered;
use crate::ledger::Ledger;
use crate::seams::{self, Mistake};
use crate::upstream::Upstream;

/// One request that is held, and how far it has come. Clones share the request.
#[derive(Clone)]
pub struct Kept {
    request: Arc<Held>,
    left: Left,
    doubt: Doubt,
    /// How many steps were made.
    made: usize,
}

/// A request as it was sent. Body and API key are wiped when it is dropped; its `Debug` shows
/// neither (I8).
struct Held {
    /// Without body and API key.
    asked: Asked,
    body: Zeroizing<Vec<u8>>,
    authorization: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, doubt, made, .. } = self;
        write!(f, "Kept({}, {doubt:?}, {made} made)", request.asked.identified.operation)
    }
}

impl Held {
    /// Copies what is needed: what came with a request shares its buffer with the API key.
    fn of(asked: &Asked) -> Self {
        let Message { headers, uri, body, .. } = &asked.message;
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let mut plain = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers.iter().filter(|(name, _)| **name != AUTHORIZATION) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                plain.append(name.clone(), value);
            }
        }
        let message = Message {
            headers: plain,
            uri: uri.clone(),
            extensions: http::Extensions::new(),
            body: Bytes::new(),
            method: asked.message.method.clone(),
            ..asked.message
        };
        Self {
            asked: asked.for_nobody(message, [0; 16], None),
            body: Zeroizing::new(body.to_vec()),
            authorization: Zeroizing::new(authorization.unwrap_or_default().to_vec()),
        }
    }

    fn bytes(&self) -> usize {
        let Message { headers, uri, .. } = &self.asked.message;
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
        fields.sum::<usize>() + path + self.body.len() + self.authorization.len()
    }

    /// The same request once more, now, under a claim of its own.
    fn again(&self, left: &Left, now: Timestamp, nonce: [u8; 16]) -> Asked {
        let mut message = self.asked.message.clone();
        message.body = Bytes::copy_from_slice(&self.body);
        message.arrived = now;
        if let Ok(mut value) = HeaderValue::from_bytes(&self.authorization) {
            value.set_sensitive(true);
            message.headers.insert(AUTHORIZATION, value);
        }
        let finishes = Finishes { left: left.clone(), came: OnceLock::new() };
        self.asked.for_nobody(message, nonce, Some(finishes))
    }
}

/// What makes a request one that nobody asked for.
#[derive(Debug)]
pub(super) struct Finishes {
    left: Left,
    came: OnceLock<Came>,
}

/// What a step came to.
#[derive(Clone, Debug)]
enum Came {
    Succeeded,
    Declined,
    /// It is in doubt still, and left like this if it is to be asked for again.
    Unknown(Option<Left>),
    /// Nothing of it was executed: not sent, turned away, or not even claimed.
    NotSent,
    /// The provider will have nothing of it: the API key, or the content for its key.
    TurnedAway,
    /// Somebody has it.
    Busy,
    /// It has gone on without.
    Moved,
}

impl Came {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Unknown(_) => "unknown",
            Self::NotSent | Self::TurnedAway => "not_sent",
            Self::Busy | Self::Moved => "overtaken",
        }
    }
}

impl Finishes {
    fn came(&self, came: Came) {
        // What it came to first is what it came to.
        drop(self.came.set(came));
    }

    /// Whether the operation stands as it was left, so that its key may be sent.
    pub(super) fn goes_on(
        &self,
        stored: Option<&Record>,
        found: Option<&Record>,
        verdict: &Verdict,
    ) -> bool {
        if seams::mistake(Mistake::FinishesAnything) {
            return true;
        }
        match self.left.stands(stored, found, verdict) {
            Stands::AsLeft => return true,
            Stands::Claimed => self.came(Came::Busy),
            Stands::Missing => self.came(Came::NotSent),
            Stands::Moved => self.came(Came::Moved),
        }
        false
    }
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Asks again for what is held, each when it is due, until shutdown begins. Nothing is held then.
    pub async fn finish_what_is_held(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                (ticket, kept) = self.finishing.due(&self.clock) => {
                    let exchange = self.clone();
                    self.tasks.spawn(async move {
                        let _held_until_then = exchange.finishing.until(ticket);
                        Box::pin(exchange.step(ticket, kept)).await;
                    });
                }
            }
        }
        let left = self.finishing.close();
        if left > 0 {
            warn!(
                left,
                "operations in doubt are not asked for again by this process, which ends: they are \
                in doubt as before, and whoever asks again sends the same key"
            );
        }
    }

    /// An exchange has ended in doubt and left `left`; `saved_500`: the provider keeps an error for
    /// its key, and would only say that again.
    pub(super) fn left_in_doubt(&self, asked: &Asked, left: &Record, saved_500: bool) {
        let stands = Left::of(left).filter(|_| !saved_500);
        match (&asked.finishes, stands) {
            (Some(finishes), left) => finishes.came(Came::Unknown(left)),
            (None, Some(stands)) => self.hold(asked, left, stands),
            (None, None) => self.finishing.let_go(asked.record()),
        }
    }

    /// An exchange is answered: with an outcome, or with nothing that was executed; `turned_away`:
    /// for a reason that does not pass by itself.
    pub(super) fn finishing_learns(
        &self,
        asked: &Asked,
        conclusion: Conclusion,
        turned_away: bool,
    ) {
        let came = match conclusion {
            Conclusion::InDoubt { .. } => return,
            Conclusion::Succeeded => Came::Succeeded,
            Conclusion::Declined { .. } => Came::Declined,
            Conclusion::NotExecuted if turned_away => Came::TurnedAway,
            Conclusion::NotExecuted => Came::NotSent,
        };
        match (&asked.finishes, conclusion) {
            (Some(finishes), _) => finishes.came(came),
            // Somebody asks: that is better than asking for nobody at the same time.
            (None, Conclusion::NotExecuted) => {
                self.finishing.put_off(asked.record(), self.clock.now().plus(LEAST));
            }
            (None, _outcome) => self.finishing.let_go(asked.record()),
        }
    }

    /// Holds a request that ended in doubt, if its rule says so.
    fn hold(&self, asked: &Asked, record: &Record, left: Left) {
        let Some(finish) = asked.rule.finish else { return };
        if self.may_be_told_otherwise(asked, &asked.rule) {
            return;
        }
        let safe = record.first_sent.plus(Retention::of(record.api).safe);
        let now = self.clock.now();
        let doubt = Doubt { ended: now, safe, finish };
        match doubt.next(0, now, self.chance.share()) {
            Next::At(due) => {
                let request = Arc::new(Held::of(asked));
                let bytes = request.bytes();
                let kept = Kept { request, left, doubt, made: 0 };
                self.finishing.hold(asked.record(), kept, bytes, due);
            }
            Next::Horizon => self.metrics.finishing_dropped("horizon", 1),
            Next::Over => {}
        }
    }

    /// One step for one operation.
    async fn step(&self, ticket: Ticket, mut kept: Kept) {
        if let Some(catch_up) = self.policies.catch_up() {
            catch_up.await;
        }
        let now = self.clock.now();
        if !self.still_to_be_finished(&mut kept) {
            return self.metrics.finishing_dropped("policy", 1);
        }
        if now > kept.doubt.ended.plus(kept.doubt.finish) {
            // The rule says less now, or the clock leapt.
            return;
        }
        if now >= kept.doubt.safe {
            return self.metrics.finishing_dropped("horizon", 1);
        }
        if !self.forwarder.may_spend() {
            self.metrics.limit_reached("retry.budget");
            let next = kept.doubt.put_off(now, self.chance.share());
            return self.go_on(ticket, kept, next);
        }
        let came = self.ask_again(&kept).await;
        self.metrics.finishing_attempt(&kept.request.asked.rule.name, came.as_str());
        match came {
            Came::Succeeded
            | Came::Declined
            | Came::TurnedAway
            | Came::Moved
            | Came::Unknown(None) => return,
            Came::Unknown(Some(left)) => kept.left = left,
            Came::NotSent | Came::Busy => {}
        }
        kept.made += 1;
        let next = kept.doubt.next(kept.made, self.clock.now(), self.chance.share());
        self.go_on(ticket, kept, next);
    }

    fn go_on(&self, ticket: Ticket, kept: Kept, next: Next) {
        match next {
            Next::At(due) => self.finishing.again(ticket, kept, due),
            Next::Horizon => self.metrics.finishing_dropped("horizon", 1),
            Next::Over => {
                let operation_id = kept.request.asked.identified.operation;
                info!(%operation_id, "an operation stays in doubt: it is not asked for again until \
                    somebody asks");
            }
        }
    }

    /// Whether the policy in force still says so, and in the same way; takes over for how long.
    fn still_to_be_finished(&self, kept: &mut Kept) -> bool {
        let asked = &kept.request.asked;
        let policy = self.policies.current();
        let path = asked.message.uri.path_and_query().map_or("", |path| path.as_str());
        let Ok(target) = Target::parse(path) else { return false };
        let rule = policy.judge(&asked.message.method, &target);
        let enforced = rule.class == Class::Critical
            && policy.mode_of(rule) == Mode::Enforce
            && !self.config.bypass
            && asked.way.as_deref() == Some(policy.way())
            && !self.may_be_told_otherwise(asked, rule)
            && !forbids(&policy, &kept.request.authorization);
        match rule.finish.filter(|_| enforced) {
            Some(finish) => {
                kept.doubt.finish = finish;
                true
            }
            None => false,
        }
    }

    /// Whether a process that could not ask the store may have told a decline that the provider does
    /// not keep (v2), under `rule`.
    fn may_be_told_otherwise(&self, asked: &Asked, rule: &Rule) -> bool {
        let Asked { identified, message, .. } = asked;
        let without_store = derives_without_ledger(rule, identified.kind, message.api);
        message.api == Api::V2 && (!self.ledger.never_forgets() || without_store)
    }

    /// Makes the journey once. Its wish ends when the claim stands, or when shutdown begins.
    async fn ask_again(&self, kept: &Kept) -> Came {
        let (now, nonce) = (self.clock.now(), self.chance.bytes());
        let asked = Arc::new(kept.request.again(&kept.left, now, nonce));
        let turn = match self.inflight.enter(asked.record()) {
            Entered::Turn(turn) => turn,
            Entered::Busy(_table) => return Came::Busy,
            Entered::Full => return Came::NotSent,
        };
        let table = Arc::clone(turn.table());
        let Ok(seat) = table.sit(None) else { return Came::NotSent };
        let wish = async {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => {}
                _claimed_or_over = table.standing() => {}
            }
            drop(seat);
        };
        let journey = Box::pin(drive::operation(self.clone(), turn, Arc::clone(&asked)));
        tokio::join!(biased; wish, journey);
        let came = asked.finishes.as_ref().and_then(|finishes| finishes.came.get());
        came.cloned().unwrap_or(Came::NotSent)
    }
}

/// Whether the policy refuses requests that bear this API key: it may have leaked since.
fn forbids(policy: &Policy, authorization: &[u8]) -> bool {
    let key = Zeroizing::new(api_key(authorization));
    let facts = Facts { api_key: Some(&key), foreign: false, own_key: None, reused: false };
    findings(policy.guard(), &facts).iter().any(|(_, action)| *action == Action::Refuse)
}
